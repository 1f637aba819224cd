"""When to stop, and which weights to keep: those of the lowest validation loss."""

import numpy as np
import pytest

import minidl as md
from minidl.errors import CheckpointError, ConfigError
from minidl.runs import Config, Run
from minidl.runs import train as run_train


class Rates:
    """A rate for each epoch of three steps: learn, learn, then away from what was learned."""

    def __init__(self, rates):
        self.rates = rates

    def __call__(self, step):
        return self.rates[int(step) // 3]

    def __repr__(self):
        return f"Rates({self.rates})"


X = np.random.default_rng(0).standard_normal((24, 6)).astype("f")
Y = (X[:, 0] > 0).astype(int)


def trainer(rates, monitors=()):
    md.manual_seed(0)
    model = md.nn.Sequential(md.nn.Dense(6, 2))
    optimizer = md.optim.SGD(model.parameters(), 0.1)
    return md.Trainer(model, optimizer=optimizer, schedule=Rates(rates), seed=1, monitors=monitors)


def fit(job, tmp_path=None, **options):
    given = {"validation": (X, Y), "epochs": 6, "batch_size": 8, "progress": False, "patience": 2}
    return job.fit((X, Y), out=tmp_path, **given | options)


def weights(job):
    return {name: p.numpy().copy() for name, p in job.model.named_parameters()}


UP_AND_AWAY = (0.5, 0.5, 50.0, 90.0, 0.5, 0.5)  # the third epoch spoils it


@pytest.mark.parametrize("kept", ["in memory", "in a folder"])
def test_stops_and_has_the_best_weights(tmp_path, kept):
    best = trainer(UP_AND_AWAY)
    fit(best, epochs=2, patience=None)
    job = trainer(UP_AND_AWAY)
    history = fit(job, tmp_path / "run" if kept == "in a folder" else None)
    assert history.best_epoch == 2 and history.last["epoch"] == 4
    for name, value in weights(best).items():
        np.testing.assert_array_equal(weights(job)[name], value)
    if kept == "in a folder":
        newest = md.load(tmp_path / "run/model.safetensors", trainer(UP_AND_AWAY).model)
        assert any((p.numpy() != weights(best)[n]).any() for n, p in newest.named_parameters())
        again = md.load(tmp_path / "run/best.safetensors", trainer(UP_AND_AWAY).model)
        assert all((p.numpy() == weights(best)[n]).all() for n, p in again.named_parameters())


def test_the_best_weights_that_were_removed_are_missed(tmp_path):
    fit(trainer(UP_AND_AWAY), tmp_path / "run")
    (tmp_path / "run/best.safetensors").unlink()
    with pytest.warns(UserWarning, match=r"best.safetensors' is missing.*not of epoch 2, the best"):
        fit(trainer(UP_AND_AWAY), tmp_path / "run", resume=True)


def test_without_patience_the_last_weights_stay():
    job, plain = trainer(UP_AND_AWAY), trainer(UP_AND_AWAY)
    fit(job, patience=None)
    fit(plain, patience=None, validation=None)
    assert all((weights(job)[n] == v).all() for n, v in weights(plain).items())


@pytest.mark.parametrize("stop_at", [2, 4, 7, 10])
def test_a_resumed_training_stops_at_the_same_epoch_with_the_same_weights(tmp_path, stop_at):
    whole = trainer(UP_AND_AWAY)
    fit(whole, tmp_path / "whole")

    class Stop:
        def after_update(self, job, step):
            if step == stop_at:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(trainer(UP_AND_AWAY, [Stop()]), tmp_path / "run")
    job = trainer(UP_AND_AWAY)
    history = fit(job, tmp_path / "run", resume=True)
    assert history.last["epoch"] == 4 and history.best_epoch == 2
    assert all((weights(job)[n] == v).all() for n, v in weights(whole).items())
    again = trainer(UP_AND_AWAY)  # nothing is left to do
    assert len(fit(again, tmp_path / "run", resume=True)) == len(history)
    assert all((weights(again)[n] == v).all() for n, v in weights(whole).items())


def test_more_patience_goes_on(tmp_path):
    fit(trainer(UP_AND_AWAY), tmp_path / "run")
    job = trainer(UP_AND_AWAY)
    history = fit(job, tmp_path / "run", resume=True, patience=5)
    assert history.last["epoch"] == 6


def test_a_loss_that_overflows_is_never_the_best():
    history = md.train.History([], ["loss", "accuracy"])
    assert history.best_epoch is None
    for epoch, loss in enumerate([np.inf, np.nan, 2.0, 1.0, 1.0, np.inf], 1):
        history.add_epoch([epoch, 1.0, 0.5, loss, 0.5, 1.0])
    assert history.best_epoch == 4


def test_patience_needs_something_to_watch():
    with pytest.raises(ConfigError, match="patience needs validation"):
        fit(trainer(UP_AND_AWAY), validation=None)
    for wrong in (0, -1, 1.5, True):
        with pytest.raises(ConfigError, match="patience as an int of at least 1"):
            fit(trainer(UP_AND_AWAY), patience=wrong)


def test_a_run_has_three_parts_and_is_judged_by_its_best_weights(tmp_path):
    config = Config(model="mlp", epochs=4, patience=2, lr=0.5, seed=3)
    result = run_train(config, tmp_path / "run", progress=False)
    images = {part: len(data) for part, data in _parts(config).items()}
    assert images == {"train": 1150, "validation": 288, "test": 359}
    best, last = Run.open(tmp_path / "run"), Run.open(tmp_path / "run", last=True)
    test = best.test_part(progress=False)
    assert best.trainer().evaluate(test) == pytest.approx(result.test)
    epochs = result.history.epochs
    assert result.history.best_epoch == 1 + int(np.argmin(epochs["validation_loss"]))
    same = all((a.numpy() == b.numpy()).all() for a, b in
               zip(best.model.parameters(), last.model.parameters(), strict=True))  # fmt: skip
    assert same == (result.history.best_epoch == result.history.last["epoch"])


def test_a_run_without_patience_keeps_no_best_where_the_test_part_is_watched(tmp_path):
    run_train(Config(model="mlp", epochs=1), tmp_path / "run", progress=False)
    assert not (tmp_path / "run/best.safetensors").exists()


def _parts(config):
    from minidl.runs.data import load_data

    splits = load_data(config)
    assert not set(splits.hashes["validation"]) & set(splits.hashes["test"])
    return {"train": splits.train, "validation": splits.validation, "test": splits.test}


def test_a_validation_loss_that_is_never_finite_is_told(capsys):
    x = np.random.default_rng(0).random((40, 5), np.float32)
    model = md.nn.Dense(5, 1)
    optimizer = md.optim.SGD(model.parameters(), 0.05)
    job = md.Trainer(model, loss=md.ops.mse_loss, optimizer=optimizer, seed=0)
    far = x, np.full((40, 1), 3e38, np.float32)
    job.fit((x, x[:, :1]), validation=far, epochs=5, patience=2, batch_size=16)
    err = capsys.readouterr().err
    assert "stopped after epoch 2: the validation loss was never finite" in err
    assert "None" not in err


def test_a_run_goes_on_with_the_same_validation_data_alone(tmp_path):
    x, y = np.random.default_rng(0).random((40, 5), np.float32), np.arange(40) % 3

    def fit(validation, epochs, **options):
        model = md.nn.Dense(5, 3)
        job = md.Trainer(model, optimizer=md.optim.SGD(model.parameters(), 0.05), seed=0)
        options |= {"batch_size": 8, "out": tmp_path / "run", "progress": False}
        return job.fit((x, y), validation=validation, epochs=epochs, **options)

    fit((x[:5], y[:5]), 1)
    with pytest.raises(CheckpointError, match="validation data: was"):
        fit((x[5:], y[5:]), 2, resume=True)
    assert len(fit((x[:5], y[:5]), 2, resume=True).epochs["epoch"]) == 2
