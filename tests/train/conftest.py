"""A small problem with everything that a resumed run must get right: order, augmentation, dropout,
running statistics, an optimizer with state, a schedule, clipping."""

import numpy as np
import pytest

import minidl as md
from minidl import data, nn, optim
from minidl.train import Trainer


def make_data(count=41, seed=3):
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    images = rng.random((count, 1, 6, 6), dtype=np.float32)
    images[:, 0, 0, 0] += labels
    return data.Dataset(images, labels)


def make_model():
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, padding="same"),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Flatten(),
        nn.Dense(3 * 6 * 6, 3),
    )


def make_trainer(monitors=(), seed=7, init_seed=1, lr=0.01, **options):
    md.manual_seed(init_seed)
    model = make_model()
    options.setdefault("schedule", optim.cosine(lr, 40))
    options.setdefault("clip", 1.0)
    optimizer = options.pop("optimizer", optim.Adam)(model.parameters(), lr)
    return Trainer(model, optimizer=optimizer, monitors=monitors, seed=seed, **options)


def run(trainer, out=None, **options):
    options = {"epochs": 3, "batch_size": 8, "progress": False, "checkpoint_every": 2} | options
    return trainer.fit(
        make_data(), validation=make_data(12, seed=4), out=out,
        transform=data.random_crop(6, padding=1), **options,
    )  # fmt: skip


@pytest.fixture
def small():
    """The helpers of this file."""
    return __import__("types").SimpleNamespace(
        data=make_data, model=make_model, trainer=make_trainer, run=run
    )


class StopAt:
    """Raises in a hook at a step, as a crash or Ctrl-C would."""

    def __init__(self, hook, step, error):
        setattr(self, hook, lambda trainer, at: self.hit(at, step, error))

    def hit(self, at, step, error):
        if at == step:
            raise error


@pytest.fixture
def stop_at():
    return StopAt
