"""What to try next follows from the numbers of the run."""

import pytest

from minidl.runs import Config
from minidl.runs.next_steps import next_steps
from minidl.train import History


def history(train, losses):
    made = History([], ["loss", "accuracy"])
    for epoch, loss in enumerate(losses, 1):
        made.add_epoch([epoch, 0.5, train, loss, 0.5, 1.0])
    return made


FLAT = (1.0, 0.8, 0.8)


@pytest.mark.parametrize(
    ("options", "train", "losses", "accuracy", "said"),
    [
        ({"model": "vgg_small"}, 0.9, FLAT, 0.7, ["--augment crop-flip --label-smoothing 0.1"]),
        ({"model": "vgg_small", "augment": "crop"}, 0.9, FLAT, 0.7, ["test): --label-smoothing"]),
        ({"model": "vgg_small"}, 0.71, (1.0, 0.8, 0.6), 0.7, ["still falling: --epochs 10"]),
        ({"model": "vgg_small"}, 0.71, (1.0,), 0.7, ["--epochs 10"]),
        ({"model": "article"}, 0.6, FLAT, 0.55, ["--model vgg_small"]),
        ({"model": "article"}, 0.99, FLAT, 0.98, []),
        ({"model": "article"}, 0.1, FLAT, 0.12, ["hardly better than a guess (10%)"]),
        ({"model": "mlp"}, 0.8, (1.0, 0.5), 0.6, ["by heart", "falling", "vgg_small"]),
    ],
)  # fmt: skip
def test_reasons_and_options(options, train, losses, accuracy, said):
    found = next_steps(Config(**options), history(train, losses), {"accuracy": accuracy}, 10)
    assert len(found) == len(said)
    for line, part in zip(found, said, strict=True):
        assert part in line


def test_nothing_is_said_where_nothing_is_known():
    assert next_steps(Config(), History(), {"accuracy": 0.5}, 10) == []
    assert next_steps(Config(), history(0.5, FLAT), {"loss": 0.5}, 10) == []
