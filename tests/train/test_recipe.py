"""A resumed training is the one that was started: whatever decides it is compared."""

import functools
import json

import numpy as np
import pytest

import minidl as md
from minidl import nn, ops, optim
from minidl.errors import CheckpointError
from minidl.train.recipe import differences, image_digests, plain

X = np.random.default_rng(2).random((12, 1, 3, 3), dtype=np.float32)
Y = np.arange(12) % 3


def fit(out, *, data=(X, Y), momentum=0.5, decay=0.0, slope=0.1, dropout=0.2, **options):
    md.manual_seed(0)
    model = nn.Sequential(
        nn.Flatten(), nn.Dense(9, 6), nn.LeakyReLU(slope), nn.Dropout(dropout), nn.Dense(6, 3)
    )
    fitting = {k: options.pop(k) for k in ("transform", "batch_size", "drop_last") if k in options}
    lr = options.pop("lr", 0.1)
    optimizer = optim.SGD(model.parameters(), lr, momentum=momentum, weight_decay=decay)
    trainer = md.Trainer(model, optimizer=optimizer, **{"seed": 3} | options)
    fitting = {"batch_size": 4} | fitting
    return trainer.fit(data, epochs=2, out=out, resume=True, progress=False, **fitting)


def other_loss(outputs, targets):
    return ops.cross_entropy(outputs, targets) * 2.0


CHANGES = {
    "optimizer momentum: was 0.5, is 0.6": {"momentum": 0.6},
    "optimizer weight_decay: was 0.0, is 0.01": {"decay": 0.01},
    "optimizer lr: was 0.1, is 0.2": {"lr": 0.2},
    "clip: was none, is 0.5": {"clip": 0.5},
    "clip: was none, is clip_grad_value": {
        "clip": functools.partial(optim.clip_grad_value, limit=1)
    },
    "schedule: was none, is cosine": {"schedule": optim.cosine(0.1, 6)},
    "model 2 slope: was 0.1, is 0.3": {"slope": 0.3},
    "model 3 p: was 0.2, is 0.4": {"dropout": 0.4},
    "loss: was cross_entropy, is other_loss": {"loss": other_loss},
    "seed: was 3, is 4": {"seed": 4},
    "data: was": {"data": (X + 1e-6, Y)},
    "data:": {"data": (X, (Y + 1) % 3)},
    "batch size: was 4, is 6": {"batch_size": 6},
    "smaller last batch: was kept, is dropped": {"drop_last": True},
    "augmentation: was none, is": {"transform": md.data.random_flip(0.25)},
}


@pytest.mark.parametrize("line", CHANGES)
def test_another_recipe_is_refused_and_each_difference_listed(tmp_path, line):
    fit(tmp_path)
    with pytest.raises(CheckpointError, match="was started in another way") as refused:
        fit(tmp_path, **CHANGES[line])
    lines = str(refused.value).splitlines()
    assert any(text.strip().startswith(line) for text in lines), lines
    fit(tmp_path)  # the same recipe still goes on


def test_a_schedule_is_compared_by_the_rates_that_it_gave(tmp_path):
    fit(tmp_path, schedule=lambda step: 0.1 / (1 + step))
    fit(tmp_path, schedule=lambda step: 0.1 / (1 + step))
    with pytest.raises(CheckpointError, match=r"learning rate of step 1: was 0\.05, is 0\.0333"):
        fit(tmp_path, schedule=lambda step: 0.1 / (1 + 2 * step))


def test_options_as_plain_values():
    limit = functools.partial(optim.clip_grad_value, limit=np.float32(2))
    values = {
        "none": None,
        "partial": limit,
        "schedule": optim.warmup(optim.cosine(0.1, 5), 2),
        "transform": md.data.random_crop(3, padding=1),
        "residual": nn.Residual(nn.ReLU(), scale=0.5),
    }
    found = {name: plain(value) for name, value in values.items()}
    assert json.loads(json.dumps(found)) == found
    assert found["none"] == "none"
    assert found["partial"] == {"name": "clip_grad_value", "limit": 2.0}
    assert found["schedule"]["steps"] == 2
    assert found["schedule"]["schedule"] == {"name": "cosine", "rate": 0.1, "steps": 5, "final": 0}
    assert found["residual"] == {"name": "Residual", "shortcut": "none", "scale": 0.5}
    assert differences(found, found) == []


def test_groups_of_parameters_are_compared_each(tmp_path):
    def go(second, **options):
        model = nn.Sequential(nn.Flatten(), nn.Dense(9, 6), nn.Dense(6, 3))
        groups = [{"params": model[1].parameters()}, {"params": model[2].parameters(), **second}]
        optimizer = optim.Adam(groups, 0.01)
        trainer = md.Trainer(model, optimizer=optimizer, seed=0, **options)
        trainer.fit((X, Y), epochs=1, batch_size=4, out=tmp_path, resume=True, progress=False)

    go({"lr": 0.5}, schedule=optim.constant(0.01))
    go({"lr": 0.5}, schedule=optim.constant(0.01))
    with pytest.raises(CheckpointError, match=r"optimizer group 1 betas: was 0\.9, 0\.999, is"):
        go({"lr": 0.5, "betas": (0.8, 0.9)}, schedule=optim.constant(0.01))
    with pytest.raises(CheckpointError, match=r"optimizer group 1 initial_lr: was 0\.5, is 0\.4"):
        go({"lr": 0.4}, schedule=optim.constant(0.01))


def test_images_are_told_apart_by_their_hashes():
    hashes = image_digests(np.concatenate([X, X[:2]]))
    assert len(hashes) == 14 and len(set(hashes.tolist())) == 12
    np.testing.assert_array_equal(hashes[:2], hashes[12:])


def test_frozen_layers_and_the_weights_of_classes_are_part_of_it(tmp_path):
    def training(out, frozen, weights):
        md.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Dense(9, 4), nn.ReLU(), nn.Dense(4, 3))
        model.layers[1].weight.requires_grad = not frozen
        trainer = md.Trainer(
            model,
            loss=lambda y, labels: ops.cross_entropy(y, labels, weight=weights),
            optimizer=optim.SGD(model, 0.1),
            seed=0,
        )
        options = {"epochs": 1, "batch_size": 4, "out": tmp_path / out, "resume": True}
        trainer.fit((X, Y), progress=False, **options)

    training("a", True, np.array([1.0, 1.0, 9.0]))
    training("a", True, np.array([1.0, 1.0, 9.0]))
    with pytest.raises(CheckpointError, match=r"frozen: was 1\.weight, is none"):
        training("a", False, np.array([1.0, 1.0, 9.0]))
    with pytest.raises(CheckpointError, match=r"loss weights: was .*9.*, is .*2"):
        training("a", True, np.array([1.0, 1.0, 2.0]))


def test_a_large_array_is_told_by_its_hash():
    many = np.arange(3000.0)
    assert plain(many) == plain(many.copy()) != plain(many + (np.arange(3000) == 1500))
