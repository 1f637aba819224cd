import os
import shutil

import numpy as np
import pytest

from minidl import runs
from minidl.errors import CheckpointError
from minidl.runs import Config, Run


@pytest.fixture
def images(tmp_path):
    cv2 = pytest.importorskip("cv2")
    rng = np.random.default_rng(0)
    for name, low in (("dark", 0), ("light", 150)):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(10):
            pixels = rng.integers(low, low + 100, (8, 8, 3), dtype=np.uint8)
            cv2.imwrite(str(tmp_path / "images" / name / f"{i}.png"), pixels)
    return tmp_path / "images"


def test_a_full_or_read_only_disk_is_found_before_training(images, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, 1000))
    with pytest.raises(CheckpointError, match="free some space"):
        runs.train(Config(data=str(images), model="mlp"), tmp_path / "a", progress=False)
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot write"):
        runs.train(Config(data=str(images)), tmp_path / "file" / "a", progress=False)


def test_several_seeds_share_their_test_images(images, tmp_path):
    config = Config(data=str(images), model="mlp", epochs=1, batch_size=4, lr=0.01)
    results = runs.train_seeds(config, [0, 1], tmp_path / "out", progress=False)
    assert sorted(os.listdir(tmp_path / "out")) == ["seed-0", "seed-1"]
    losses = [result.history.steps["loss"] for result in results]
    assert (losses[0] != losses[1]).any()
    first, second = (runs.load_data(r.config, progress=False).test.images for r in results)
    np.testing.assert_array_equal(first, second)
    for result in results:
        assert result.test == Run.open(result.out).evaluate(progress=False)
