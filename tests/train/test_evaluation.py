"""Measuring without training: what does not fit into memory is done in smaller batches."""

import numpy as np
import pytest

import minidl as md
from minidl import nn
from minidl.errors import ConfigError, DataError, DeviceError, ShapeError

X, Y = np.random.default_rng(0).random((20, 1, 2, 2), np.float32), np.arange(20) % 3


class Tight(nn.Module):
    """A network in a memory that holds `limit` inputs."""

    def __init__(self, limit):
        self.limit, self.sizes = limit, []
        self.layers = nn.Sequential(nn.Flatten(), nn.Dense(4, 3))

    def forward(self, x):
        self.sizes.append(len(x))
        if len(x) > self.limit:
            raise MemoryError("Unable to allocate")
        return self.layers(x)


def trainer(limit):
    md.manual_seed(0)
    model = Tight(limit)
    return md.Trainer(model, optimizer=md.optim.SGD(model.parameters(), 0.1))


def test_batches_are_halved_until_they_fit():
    roomy, tight = trainer(100), trainer(3)
    np.testing.assert_allclose(tight.predict(X), roomy.predict(X), rtol=1e-6)
    assert tight.model.sizes[:5] == [20, 10, 5, 2, 2]
    assert tight.evaluate((X, Y)) == pytest.approx(roomy.evaluate((X, Y)))
    assert tight.model.training


def test_where_nothing_fits_the_input_is_named():
    none = trainer(0)
    with pytest.raises(DeviceError, match=r"single input of shape \(1, 2, 2\)"):
        none.evaluate((X, Y))
    assert none.model.training


def test_a_transform_without_a_result_is_named():
    with pytest.raises(DataError, match="transform to return the batch as an array, got NoneType"):
        trainer(9).fit((X, Y), epochs=1, batch_size=5, transform=lambda batch: None, progress=False)


def test_a_frozen_layer_keeps_its_mode():
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Dense(3, 2))
    model.layers[1].eval()
    trainer = md.Trainer(model, optimizer=md.optim.SGD(model, 0.1))
    for measure in (trainer.evaluate, lambda data: trainer.predict(data[0])):
        measure((np.ones((4, 3), np.float32), [0, 1, 0, 1]))
        assert model.training and not model.layers[1].training


@pytest.mark.parametrize("size", [0, -1, 2.5, True])
def test_a_batch_size_that_is_none_is_refused(size):
    model = nn.Dense(3, 2)
    trainer = md.Trainer(model, optimizer=md.optim.SGD(model, 0.1))
    x = np.ones((4, 3), np.float32)
    with pytest.raises(ConfigError, match="predict: expected batch_size an int >= 1"):
        trainer.predict(x, batch_size=size)
    with pytest.raises(ConfigError, match="evaluate: expected batch_size an int >= 1"):
        trainer.evaluate((x, [0, 1, 0, 1]), batch_size=size)


def test_metrics_have_names_of_their_own_and_give_numbers():
    def accuracy(outputs, targets):
        return 1.0

    def nothing(outputs, targets):
        return None

    model, data = nn.Dense(3, 2), (np.ones((4, 3), np.float32), [0, 1, 0, 1])
    options = {"optimizer": md.optim.SGD(model, 0.1)}
    for metrics in ([accuracy], [nothing, nothing], max, ["f1"]):
        with pytest.raises(ConfigError, match="Trainer: expected metrics"):
            md.Trainer(model, metrics=metrics, **options)
    with pytest.raises(ConfigError, match="expected the metric 'nothing' to return a number"):
        md.Trainer(model, metrics=[nothing], **options).evaluate(data)


@pytest.mark.parametrize(("name", "given"), [("loss", "mse"), ("loss", None), ("schedule", "cos")])
def test_a_name_is_no_function(name, given):
    model = nn.Dense(3, 2)
    with pytest.raises(ConfigError, match=f"Trainer: expected {name} as a function, got"):
        md.Trainer(model, optimizer=md.optim.SGD(model, 0.1), **{name: given})


def test_a_model_with_two_outputs_is_named():
    class Two(nn.Module):
        def __init__(self):
            self.dense = nn.Dense(3, 2)

        def forward(self, x):
            return self.dense(x), x

    model, data = Two(), (np.ones((4, 3), np.float32), [0, 1, 0, 1])
    trainer = md.Trainer(
        model,
        loss=lambda y, labels: md.ops.cross_entropy(y[0], labels),
        optimizer=md.optim.SGD(model, 0.1),
    )
    for call in (
        lambda: trainer.fit(data, epochs=1, batch_size=2, progress=False),
        lambda: trainer.evaluate(data),
    ):
        with pytest.raises(ConfigError, match="expected the model to return a Tensor, got tuple"):
            call()
    with pytest.raises(ConfigError, match="doctor: expected the model's output to be a Tensor"):
        md.health.doctor(model, data, loss=trainer.loss)


def test_masked_values_are_refused():
    x = np.ma.masked_greater(np.ones((4, 3), np.float32), 0)
    model = nn.Dense(3, 2)
    trainer = md.Trainer(model, optimizer=md.optim.SGD(model, 0.1))
    for call in (
        lambda: trainer.fit((x, [0, 1, 0, 1]), epochs=1, batch_size=2, progress=False),
        lambda: trainer.evaluate((x, [0, 1, 0, 1])),
        lambda: trainer.predict(x),
    ):
        with pytest.raises(md.errors.DTypeError, match="without a mask"):
            call()


def test_a_single_input_without_its_axis_is_refused():
    model = nn.Dense(5, 3)
    job = md.Trainer(model, optimizer=md.optim.SGD(model.parameters(), 0.05))
    with pytest.raises(ShapeError, match=r"outputs for each of 5 inputs .* write x\[None\]"):
        job.predict(np.ones(5, np.float32))
    assert job.predict(np.ones((1, 5), np.float32)).shape == (1, 3)


def test_what_the_targets_are_is_decided_by_the_training():
    x = np.random.default_rng(0).random((40, 5), np.float32)
    model = nn.Dense(5, 1)
    loss = lambda o, t: md.ops.mse_loss(o, t)  # noqa: E731
    job = md.Trainer(model, loss=loss, optimizer=md.optim.SGD(model.parameters(), 0.05), seed=0)
    part = x[:2], np.zeros((2, 1), np.float32)
    history = job.fit((x, x[:, :1]), validation=part, epochs=1, batch_size=8, progress=False)
    assert np.isnan(history.last["validation_accuracy"])
    assert "accuracy" not in job.evaluate((x[:2], np.ones((2, 1), np.float32)))
