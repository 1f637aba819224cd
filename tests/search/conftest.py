"""A data set and a space so small that a trial takes a tenth of a second."""

import pytest

from minidl.search import go_on, open_search
from tests.test_cli import paint

pytest.importorskip("optuna", reason="Optuna is not installed")

SPACE = {
    "depth": {"low": 1, "high": 3},
    "width": [2, 3],
    "body": "plain",
    "init": "he_normal",
    "init-scale": 1.0,
    "optimizer": ["sgd", "adam"],
    "lr": {"low": 1e-3, "high": 1.0, "log": True},
    "schedule": "constant",
    "warmup": 0,
    "clip": ["none", "norm"],
    "weight-decay": 0.0,
    "batch-size": [4, 8],
    "augment": "none",
}
SMALL = {"model": "deep_plain_cnn", "epochs": 3, "audit": 0.0, "best_seeds": 0, "space": SPACE}


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search-images")
    paint(folder / "train", count=12)
    paint(folder / "test", seed=1, count=4)
    return folder


@pytest.fixture(scope="session")
def small(images):
    """Options of a search that takes a second or two."""
    return SMALL | {"data": str(images), "trials": 8}


@pytest.fixture(scope="session")
def done(small, tmp_path_factory):
    """A search that has ended, by one worker."""
    out = tmp_path_factory.mktemp("searches") / "done"
    return go_on(open_search(out, small | {"audit": 1.0, "best_seeds": 2}), progress=False)


def drawn(search):
    """What each trial drew and what came of it, without the times."""
    return [
        (row.number, row.outcome, row.options, row.accuracy, row.epochs)
        for row in search.summary.rows
    ]
