"""Outputs that are no classes: accuracy and predictions that suit the targets."""

import functools
import math

import numpy as np
import pytest

import minidl as md
from minidl import nn, ops
from minidl.data import Dataset
from minidl.errors import ConfigError
from minidl.train import accuracy
from minidl.train.score import Score

RNG = np.random.default_rng(5)


class Numbers(Dataset):
    """Inputs and targets of any shape."""

    def __init__(self, images, labels):
        self.images, self.labels, self.classes, self.name = images, labels, (), "numbers"

    def _with(self, images, labels):
        return Numbers(images, labels)


def fitted(model, loss, data, epochs=40, lr=0.05, **options):
    trainer = md.Trainer(model, loss=loss, optimizer=md.optim.Adam(model.parameters(), lr), seed=0)
    trainer.fit(data, validation=data, epochs=epochs, batch_size=16, progress=False, **options)
    return trainer


@pytest.mark.parametrize(
    ("shape", "dtype"), [((48,), np.int64), ((48, 1), np.float32), ((48,), np.float32)]
)
def test_one_logit_is_judged_by_its_sign_and_predicted_by_its_sigmoid(shape, dtype):
    x = RNG.normal(size=(48, 5)).astype(np.float32)
    targets = (x[:, 0] > 0.2).astype(dtype).reshape(shape)
    md.manual_seed(0)
    model = nn.Sequential(nn.Dense(5, 1))
    trainer = fitted(
        model,
        lambda z, t: ops.binary_cross_entropy(z.reshape(-1), t.reshape(-1) * 1.0),
        Numbers(x, targets),
    )
    logits = model(md.tensor(x)).numpy()
    right = ((logits[:, 0] > 0) == targets.reshape(-1)).mean()
    found = trainer.evaluate(Numbers(x, targets))
    assert found["accuracy"] == pytest.approx(right) and right > 0.9
    assert trainer.history.last["validation_accuracy"] == found["accuracy"]
    np.testing.assert_allclose(
        trainer.predict(Numbers(x, targets)), 1 / (1 + np.exp(-logits)), rtol=1e-5
    )


@pytest.mark.parametrize("loss", [ops.mse_loss, ops.l1_loss, ops.huber_loss])
def test_a_regression_reports_no_accuracy_and_predicts_its_numbers(loss, capsys):
    x = RNG.normal(size=(48, 3)).astype(np.float32)
    targets = x @ [[1.0, 2], [0, 1], [3, 0]]  # float64: the loss stays float32 all the same
    md.manual_seed(0)
    model = nn.Sequential(nn.Dense(3, 2))
    trainer = fitted(model, loss, Numbers(x, targets))
    found = trainer.evaluate(Numbers(x, targets))
    assert list(found) == ["loss"] and found["loss"] < 0.1
    assert np.isnan(trainer.history.epochs["train_accuracy"]).all()
    assert trainer.parameters[0].dtype == np.float32
    np.testing.assert_allclose(
        trainer.predict(Numbers(x, targets)), model(md.tensor(x)).numpy(), rtol=1e-6
    )
    trainer.fit(Numbers(x, targets), epochs=1, batch_size=16)
    assert "accuracy" not in capsys.readouterr().err


def test_whole_numbers_that_are_no_classes_have_no_accuracy():
    x = RNG.normal(size=(32, 3)).astype(np.float32)
    counts = np.arange(32) % 7
    trainer = fitted(
        nn.Sequential(nn.Dense(3, 1)),
        lambda z, t: ops.mean((z.reshape(-1) - t) ** 2),
        Numbers(x, counts),
        epochs=1,
    )
    assert list(trainer.evaluate(Numbers(x, counts))) == ["loss"]
    assert np.ptp(trainer.predict(Numbers(x, counts))) > 0


def test_an_autoencoder_learns_its_images():
    x = np.repeat(RNG.random((24, 1, 1, 1)), 16, axis=1).reshape(24, 1, 4, 4).astype(np.float32)
    md.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 2, stride=2), nn.ReLU(), nn.ConvTranspose2d(4, 1, 2, stride=2)
    )
    trainer = fitted(model, ops.mse_loss, Numbers(x, x))
    assert trainer.evaluate(Numbers(x, x))["loss"] < 0.02
    assert trainer.predict(x).shape == x.shape


def test_classes_along_a_sequence_and_over_an_image_are_counted():
    outputs = RNG.normal(size=(3, 5, 4)).astype(np.float32)
    labels = outputs.argmax(-1)
    labels[0, :3] = (labels[0, :3] + 1) % 4
    assert accuracy(outputs, labels) == pytest.approx(12 / 15)
    assert accuracy(np.moveaxis(outputs, -1, 1), labels) == pytest.approx(12 / 15)
    score = Score(lambda z, t: None, labels)
    score.accuracy(outputs, labels)
    np.testing.assert_allclose(score.probabilities(outputs).sum(-1), 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("loss", "got"),
    [
        (lambda z, t: 3.5, "got float; compute it with md.ops"),
        (lambda z, t: None, "got NoneType"),
        (lambda z, t: z.sum(1), r"got a Tensor of shape \(16,\); take its mean"),
    ],
)
def test_a_loss_that_cannot_be_differentiated_is_named(loss, got):
    data = Numbers(np.ones((16, 2), np.float32), np.arange(16) % 2)
    model = nn.Sequential(nn.Dense(2, 2))
    trainer = md.Trainer(model, loss=loss, optimizer=md.optim.SGD(model.parameters(), 0.1))
    with pytest.raises(ConfigError, match=got):
        trainer.fit(data, epochs=1, batch_size=16, progress=False)
    with pytest.raises(ConfigError, match="one number"):
        trainer.evaluate(data)


def test_a_last_batch_of_one_can_be_left_out():
    data = Numbers(RNG.normal(size=(17, 3, 1, 1)).astype(np.float32), np.arange(17) % 2)
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Dense(3, 2))
    trainer = md.Trainer(model, optimizer=md.optim.SGD(model.parameters(), 0.1), seed=0)
    history = trainer.fit(data, epochs=2, batch_size=8, drop_last=True, progress=False)
    assert len(history) == 4
    losses = history.steps["loss"]
    np.testing.assert_allclose(history.epochs["train_loss"], losses.reshape(2, 2).mean(1))


@pytest.mark.parametrize("options", [{"delta": 2.0}, {}])
def test_a_loss_with_options_is_the_loss_itself(options):
    loss = functools.partial(ops.huber_loss, **options)
    model, x = nn.Dense(4, 1), np.ones((3, 4), np.float32)
    trainer = md.Trainer(model, loss=loss, optimizer=md.optim.SGD(model, 0.1))
    np.testing.assert_array_equal(trainer.predict(x), model(x).numpy())


def test_a_loss_of_ones_own_says_nothing_of_the_targets_before_they_are_seen():
    x = RNG.normal(size=(6, 4, 5)).astype(np.float32)

    def loss(outputs, labels):
        return ops.cross_entropy(outputs.reshape(-1, 3), labels.reshape(-1))

    model = nn.Dense(5, 3)
    trainer = md.Trainer(model, loss=loss, optimizer=md.optim.SGD(model, 0.1))
    with pytest.raises(ConfigError, match=r"predict: .* call evaluate\(data\) first"):
        trainer.predict(x)
    trainer.evaluate((x, RNG.integers(0, 3, (6, 4))))
    np.testing.assert_allclose(trainer.predict(x).sum(-1), 1, rtol=1e-6)


def test_numbers_to_predict_may_be_new_in_validation():
    x, prices = RNG.normal(size=(12, 4)), np.arange(12) * 10_000 + 100_000
    model = nn.Dense(4, 1)

    def loss(outputs, targets):
        return ops.mse_loss(outputs.reshape(-1), targets * 1e-5)

    trainer = md.Trainer(model, loss=loss, optimizer=md.optim.SGD(model, 0.01))
    data = (x, prices), (x[:3], prices[:3] + 5)
    trainer.fit(data[0], validation=data[1], epochs=1, batch_size=4, progress=False)
    assert math.isnan(trainer.history.last["train_accuracy"])
