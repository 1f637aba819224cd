"""Pictures of each epoch, and events for TensorBoard, in the folder of a run."""

import numpy as np
import pytest

from minidl.errors import ConfigError
from minidl.runs import Config, Run, keepsakes, train

SMALL = {"model": "deep_plain_cnn", "depth": 1, "width": 4, "batch_size": 256}


class Stop:
    def __init__(self, at):
        self.at = at

    def after_update(self, trainer, step):
        if step == self.at:
            raise KeyboardInterrupt


def test_pictures_after_each_epoch_also_of_a_resumed_run(tmp_path):
    config = Config(**SMALL, epochs=3, keep_pictures=True)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "run", progress=False, monitors=[Stop(8)])
    result = train(config, tmp_path / "run", progress=False, resume=True)
    files = sorted(path.name for path in (tmp_path / "run/pictures").iterdir())
    assert files == [f"epoch-000{k}.npz" for k in range(4)] and "pictures.png" in result.figures
    with np.load(tmp_path / "run/pictures/epoch-0003.npz") as last:
        weight = next(iter(result.trainer.model.parameters())).numpy()
        np.testing.assert_array_equal(last["filters"], weight)
        assert last["saliency"].shape == (28, 28)
    with pytest.raises(ConfigError, match="keep-pictures: expected a model with convolutions"):
        Config(model="mlp", keep_pictures=True).check()


def test_pictures_change_nothing_of_the_training(tmp_path):
    results = [
        train(Config(**SMALL, epochs=1, keep_pictures=kept), tmp_path / str(kept), progress=False)
        for kept in (False, True)
    ]
    for a, b in zip(*(r.trainer.model.parameters() for r in results), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert Run.open(tmp_path / "True").config.keep_pictures


def events(folder):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = accumulator.EventAccumulator(str(folder))
    found.Reload()
    return {tag: [(e.step, e.value) for e in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_reads_the_history(tmp_path):
    config = Config(model="mlp", epochs=2, batch_size=256)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "run", progress=False, monitors=[Stop(8)])
    history = train(config, tmp_path / "run", progress=False, resume=True).history
    found = events(tmp_path / "run/tensorboard")
    assert [step for step, _ in found["loss"]] == history.steps["step"].tolist()
    np.testing.assert_allclose([x for _, x in found["loss"]], history.steps["loss"], rtol=1e-6)
    for name in ("train_loss", "validation_accuracy"):
        values = [x for _, x in found[f"epoch/{name}"]]
        np.testing.assert_allclose(values, history.epochs[name], rtol=1e-6)
    assert any(tag.startswith("gradient_norm/") for tag in found)


def test_without_tensorboard_a_run_has_no_events(tmp_path, monkeypatch):
    monkeypatch.setattr(keepsakes, "tensorboard_writer", lambda folder, say: None)
    monkeypatch.setattr("minidl.runs.training.tensorboard_writer", lambda folder, say: None)
    train(Config(model="mlp", epochs=1, batch_size=512), tmp_path / "run", progress=False)
    assert not (tmp_path / "run/tensorboard").exists()


def test_a_full_disk_costs_the_events_and_not_the_run(tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")

    def full(self, data):
        raise OSError(28, "No space left on device")

    said = []
    monkeypatch.setattr("tensorboard.summary.writer.record_writer.RecordWriter.write", full)
    config = Config(model="mlp", epochs=1, batch_size=512)
    result = train(config, tmp_path / "run", progress=False, say=said.append)
    assert result.steps == 3
    assert [line for line in said if "TensorBoard: No space left on device" in line] != []
