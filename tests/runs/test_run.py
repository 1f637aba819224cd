import json
import os
import shutil

import numpy as np
import pytest

from minidl import runs
from minidl.errors import CheckpointError, GradientError
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


@pytest.mark.parametrize("kept", [True, False])
def test_a_run_that_explodes_keeps_its_weights_and_says_what_the_doctor_says(
    images, tmp_path, kept
):
    config = Config(data=str(images), model="mlp", optimizer="sgd", lr=1e8, epochs=3, batch_size=4)
    out = tmp_path / "out" if kept else None
    with pytest.raises(GradientError) as caught:
        runs.train(config, out, progress=False)
    text = str(caught.value)
    assert "The source: the forward pass of" in text
    assert f"The gradient doctor says of the {'weights that' if kept else 'first weights'}" in text
    assert "will diverge\n  update-ratio" in text and "-> lower the learning rate to about" in text
    if kept:
        weights = Run.open(out).model.state_dict()
        first = config.build_model((3, 8, 8), 2).state_dict()
        for name, array in weights.items():
            np.testing.assert_array_equal(array, first[name])


def test_runs_repeat_bit_for_bit_and_seeds_differ(images, tmp_path):
    options = {"data": str(images), "model": "vgg_small", "augment": "crop-flip", "batch_size": 8}
    config = Config(**options, epochs=2)
    once, again = (runs.train(config, tmp_path / n, progress=False) for n in ("once", "again"))
    other = runs.train(Config(**options, epochs=2, seed=1), tmp_path / "other", progress=False)
    content = [(tmp_path / n / "model.safetensors").read_bytes() for n in ("once", "again")]
    assert content[0] == content[1] != (tmp_path / "other" / "model.safetensors").read_bytes()
    assert (once.history.steps["loss"] != other.history.steps["loss"]).all()
    for name, column in once.history.steps.items():
        np.testing.assert_array_equal(column, again.history.steps[name])
    facts = json.loads((tmp_path / "other" / "config.json").read_text())
    assert facts["options"]["seed"] == 1
    assert {"minidl", "numpy", "python"} <= set(facts["versions"])
    assert {"platform", "processor", "cpus"} <= set(facts["machine"])
