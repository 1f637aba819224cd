"""Measuring without training: what does not fit into memory is done in smaller batches."""

import numpy as np
import pytest

import minidl as md
from minidl import nn
from minidl.errors import DataError, DeviceError

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
