import functools
import math

import numpy as np
import pytest

import minidl as md
from minidl import nn, optim
from minidl.errors import CheckpointError, ConfigError, DataError, GradientError, ShapeError
from minidl.train import Checkpoints, History, Trainer, gradient_norms, load


def dense_trainer(init="he_normal", lr=0.1, **options):
    md.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Dense(36, 3, init=init))
    return Trainer(model, optimizer=optim.SGD(model.parameters(), lr), seed=0, **options)


def test_it_learns_and_records(small, capsys):
    trainer = dense_trainer(schedule=lambda step: 0.2 / (1 + step))
    history = trainer.fit(small.data(), validation=small.data(9), epochs=4, batch_size=16)
    assert history is trainer.history
    steps, epochs = history.steps, history.epochs
    np.testing.assert_array_equal(steps["step"], range(12))
    np.testing.assert_array_equal(steps["epoch"], np.repeat([1, 2, 3, 4], 3))
    np.testing.assert_allclose(steps["learning_rate"], 0.2 / (1 + np.arange(12)))
    np.testing.assert_allclose(steps["gradient_norm"], steps["gradient_norm/1"])
    sizes = [16, 16, 9]
    for name in ("loss", "accuracy"):
        np.testing.assert_allclose(
            epochs[f"train_{name}"],
            [np.average(steps[name][e * 3 : e * 3 + 3], weights=sizes) for e in range(4)],
        )
    assert epochs["train_loss"][-1] < epochs["train_loss"][0]
    found = trainer.evaluate(small.data(9))
    assert found["loss"] == epochs["validation_loss"][-1]
    assert found["accuracy"] == epochs["validation_accuracy"][-1]
    assert capsys.readouterr().err.count("epoch ") == 4


def test_each_step_is_gradient_descent(small):
    trainer, by_hand = dense_trainer(lr=0.3), dense_trainer().model
    data = small.data()
    history = trainer.fit(data, epochs=1, batch_size=len(data), progress=False)
    logits = by_hand(data.images)
    loss = md.ops.cross_entropy(logits, data.labels)
    loss.backward()
    assert history.steps["loss"][0] == pytest.approx(loss.item(), rel=1e-6)
    total, _ = gradient_norms(by_hand.named_parameters())
    assert history.steps["gradient_norm"][0] == pytest.approx(total, rel=1e-5)
    for new, old in zip(trainer.model.parameters(), by_hand.parameters(), strict=True):
        np.testing.assert_allclose(new.numpy(), old.numpy() - 0.3 * old.grad.numpy(), atol=1e-6)


def test_the_seed_decides_everything(small):
    first, again, other = (small.run(small.trainer(seed=s)) for s in (7, 7, 8))
    np.testing.assert_array_equal(first.steps["loss"], again.steps["loss"])
    assert (first.steps["loss"] != other.steps["loss"]).any()
    md.manual_seed(3)
    unseeded = [small.run(small.trainer(seed=None)).steps["loss"] for _ in range(2)]
    np.testing.assert_array_equal(*unseeded)


def test_a_pair_of_arrays_is_a_dataset(small):
    data = small.data()
    losses = [
        dense_trainer().fit(d, epochs=2, batch_size=8, progress=False).steps["loss"]
        for d in (data, (data.images, data.labels), (md.tensor(data.images), data.labels.tolist()))
    ]
    np.testing.assert_array_equal(losses[0], losses[1])
    np.testing.assert_array_equal(losses[0], losses[2])
    with pytest.raises(DataError, match="pair"):
        dense_trainer().fit(3, epochs=1, batch_size=8)


def test_clip_bounds_the_step_not_the_record(small):
    limit = 0.01
    trainers = [
        dense_trainer(lr=1.0, clip=clip)
        for clip in (limit, functools.partial(optim.clip_grad_norm, max_norm=limit))
    ]
    for trainer in trainers:
        before = [p.numpy().copy() for p in trainer.parameters]
        history = trainer.fit(small.data(), epochs=1, batch_size=41, progress=False)
        moved = sum(
            ((p.numpy() - b) ** 2).sum() for p, b in zip(trainer.parameters, before, strict=True)
        )
        assert math.sqrt(moved) == pytest.approx(limit, rel=1e-3)
        assert history.steps["gradient_norm"][0] > 10 * limit


def test_predict_and_evaluate_agree(small):
    trainer = small.trainer(metrics=[mean_square])
    small.run(trainer, epochs=1)
    data = small.data(30, seed=5)
    trainer.model.train()
    probabilities = trainer.predict(data, batch_size=7)
    assert trainer.model.training
    assert probabilities.shape == (30, 3)
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-6)
    np.testing.assert_allclose(trainer.predict(data.images), probabilities, rtol=1e-5)
    found = trainer.evaluate(data, batch_size=11)
    assert found["accuracy"] == (probabilities.argmax(1) == data.labels).mean()
    picked = probabilities[np.arange(30), data.labels]
    assert found["loss"] == pytest.approx(-np.log(picked).mean(), rel=1e-5)
    assert sorted(found) == ["accuracy", "loss", "mean_square"]
    assert trainer.history.last["validation_mean_square"] > 0
    trainer.model.eval()
    trainer.predict(data)
    assert not trainer.model.training


def mean_square(logits, labels):
    assert isinstance(logits, np.ndarray) and logits.shape == (len(labels), 3)
    return float((logits**2).mean())


def test_predict_survives_huge_logits_and_refuses_one_image(small):
    trainer = dense_trainer(init=nn.init.normal(std=1e4))
    assert np.isfinite(trainer.predict(small.data())).all()
    trainer = dense_trainer()
    trainer.fit(small.data(), epochs=1, batch_size=41, progress=False)
    with pytest.raises(ShapeError, match=r"image\[None\]"):
        trainer.predict(np.zeros((1, 6, 6), np.float32))


def test_monitors_see_each_step_in_order(small):
    seen = []

    class Monitor:
        def start(self, trainer):
            seen.append("start")

        def before_step(self, trainer, step):
            seen.append(f"before_step {step}")
            assert trainer.batch[0].shape[1:] == (1, 6, 6)

        def before_update(self, trainer, step):
            seen.append(f"before_update {step}")
            assert all(p.grad is not None for p in trainer.parameters)
            assert trainer.loss_value == trainer.history.steps["loss"][step]
            self.before = trainer.parameters[0].numpy().copy()

        def after_update(self, trainer, step):
            seen.append(f"after_update {step}")
            assert (trainer.parameters[0].numpy() != self.before).any()

        def finish(self, trainer):
            seen.append("finish")

    dense_trainer(monitors=[Monitor(), object()]).fit(
        small.data(16), epochs=1, batch_size=8, progress=False
    )
    hooks = ("before_step", "before_update", "after_update")
    assert seen == ["start", *(f"{h} {s}" for s in (0, 1) for h in hooks), "finish"]


def test_a_diverging_run_stops_and_keeps_the_last_weights(tmp_path, small):
    finished = []

    class Monitor:
        def finish(self, trainer):
            finished.append(True)

    trainer = dense_trainer(schedule=lambda step: 1e38 if step == 7 else 0.01, monitors=[Monitor()])
    with pytest.raises(GradientError) as caught:
        trainer.fit(small.data(), epochs=5, batch_size=8, out=tmp_path, progress=False)
    text = str(caught.value)
    for part in ("at step 8", "epoch 2", "checkpoint of step 6", "learning rate (it is 1e+38)"):
        assert part in text
    for other_cure in ("clip", "he_normal", "standardise"):
        assert other_cure not in text
    assert finished
    assert Checkpoints(tmp_path / "checkpoint").paths()[0].name == "step-00000006.safetensors"
    history = History.from_csv(tmp_path / "history.csv")
    assert len(history) == 9 and not math.isfinite(history.steps["loss"][-1])
    model = load(tmp_path / "model.safetensors", dense_trainer().model)
    assert all(np.isfinite(p.numpy()).all() for p in model.parameters())


def test_a_gradient_that_is_not_finite_stops_before_the_update(small):
    def loss(logits, labels):  # finite, with an infinite slope
        value = md.ops.cross_entropy(logits, labels)
        return md.graph.record(value.data, (value, lambda g, y: g * float("inf")))

    trainer = dense_trainer(loss=loss)
    before = [p.numpy().copy() for p in trainer.parameters]
    with pytest.raises(GradientError, match=r"gradients of layer 1 are not finite at step 0"):
        trainer.fit(small.data(), epochs=1, batch_size=8, progress=False)
    for parameter, old in zip(trainer.parameters, before, strict=True):
        np.testing.assert_array_equal(parameter.numpy(), old)


def test_float64_models_stay_float64(small):
    trainer = dense_trainer()
    for parameter in trainer.parameters:
        parameter.data = parameter.data.astype("float64")
    trainer.fit(small.data(), epochs=1, batch_size=8, progress=False)
    assert all(p.dtype == np.float64 for p in trainer.parameters)
    assert trainer.predict(small.data()).dtype == np.float64


@pytest.mark.parametrize(
    "options",
    [
        *({"epochs": 0}, {"epochs": 1.5}, {"epochs": True}, {"batch_size": 0}),
        *({"checkpoint_every": 0}, {"out": ""}),
    ],
)
def test_bad_counts(small, options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        dense_trainer().fit(small.data(), **{"epochs": 1, "batch_size": 8} | options)


def test_a_model_without_parameters():
    with pytest.raises(ConfigError, match="parameters"):
        Trainer(nn.Sequential(nn.ReLU()), optimizer=None)


def named(classes, count=12):
    random = np.random.default_rng(0)
    labels = np.arange(count) % len(classes)
    return md.data.Dataset(random.random((count, 6), np.float32), labels, classes=classes)


def test_a_label_must_mean_the_same_class_in_all_data():
    model = nn.Dense(6, 3)
    trainer = md.Trainer(model, optimizer=optim.SGD(model.parameters(), 0.1), seed=0)
    fruit = named(["apple", "berry", "cherry"])
    trainer.fit(fruit, validation=fruit, epochs=1, batch_size=4, progress=False)
    for other in (named(["berry", "cherry"]), named(["x", "y", "z"])):
        first = other.classes[0]
        with pytest.raises(DataError, match=f"evaluate: label 0 is '{first}' in these data, and"):
            trainer.evaluate(other)
        with pytest.raises(
            DataError, match=f"fit: label 0 is '{first}' in these data, and 'apple'"
        ):
            trainer.fit(fruit, validation=other, epochs=1, batch_size=4, progress=False)
    trainer.evaluate(named(["apple", "berry"]))
    trainer.evaluate((fruit.images, fruit.labels))  # labels without names


def test_a_metric_that_writes_changes_neither_data_nor_other_metrics():
    def writes(outputs, targets):
        outputs[...], targets[...] = 0, 0
        return 1.0

    def right(outputs, targets):
        return (outputs.argmax(1) == targets).mean()

    model, data = nn.Dense(6, 3), named(["a", "b", "c"])
    before = data.labels.copy()
    trainer = md.Trainer(
        model, optimizer=optim.SGD(model.parameters(), 0.1), metrics=[writes, right], seed=0
    )
    found = trainer.evaluate(data)
    assert np.array_equal(data.labels, before) and found["right"] == found["accuracy"]


def test_a_monitor_that_fails_at_the_end_hides_no_error_and_loses_no_row(tmp_path):
    class Fails:
        def after_update(self, trainer, step):
            if step == 4:
                raise RuntimeError("in the middle")

    class FailsLast:
        def finish(self, trainer):
            raise ValueError("at the end")

    class Ends:
        ended = False

        def finish(self, trainer):
            self.ended = True

    class FailsAfterIt:
        def finish(self, trainer):
            raise OSError("later still")

    cases = (
        ([Fails(), FailsLast()], "middle"), ([FailsLast(), FailsAfterIt()], "at the end"),
    )  # fmt: skip
    for monitors, error in cases:
        model, last = nn.Dense(6, 3), Ends()
        trainer = md.Trainer(
            model, optimizer=optim.SGD(model.parameters(), 0.1), seed=0, monitors=[*monitors, last]
        )
        out = tmp_path / error
        with pytest.raises((RuntimeError, ValueError), match=error):
            trainer.fit(named(["a", "b"], 24), epochs=1, batch_size=4, out=out, progress=False)
        assert last.ended
        assert len((out / "history.csv").read_text().splitlines()) >= 1 + 5


def test_weights_without_a_checkpoint_are_not_replaced(tmp_path):
    model = nn.Dense(6, 3)
    for name in ("model.safetensors", "best.safetensors"):
        out = tmp_path / name
        out.mkdir()
        md.save(out / name, model)
        kept = (out / name).read_bytes()
        for resume in (False, True):
            trainer = md.Trainer(model, optimizer=optim.SGD(model.parameters(), 0.1), seed=0)
            with pytest.raises(CheckpointError, match=f"holds '{name}' but no checkpoint"):
                trainer.fit(named(["a"]), epochs=1, batch_size=4, out=out, resume=resume)
        assert (out / name).read_bytes() == kept
