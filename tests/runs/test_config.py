import dataclasses
import os

import numpy as np
import pytest

import minidl
from minidl import rng
from minidl.errors import ConfigError
from minidl.runs import Config

pytest.importorskip("optuna")
from minidl.search import Space


@pytest.mark.parametrize("name", ["article", "mlp", "vgg_small", "resnet_small", "deep_plain_cnn"])
def test_every_model_fits_the_images(name):
    model = Config(model=name, init="lecun_normal").build_model((3, 12, 12), 4)
    assert model(np.zeros((2, 3, 12, 12), np.float32)).shape == (2, 4)
    with pytest.raises(ConfigError, match="square"):
        Config(model=name).build_model((3, 12, 13), 4)


@pytest.mark.parametrize("name", ["sgd", "momentum", "rmsprop", "adam", "adamw"])
def test_every_optimizer_has_a_rate(name):
    model = Config(model="mlp").build_model((1, 4, 4), 2)
    assert Config(optimizer=name).build_optimizer(model).lr > 0
    assert Config(optimizer=name, lr=0.5).build_optimizer(model).lr == 0.5


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("constant", 1, 1), ("step", 1, 0.01), ("exponential", 1, 0.0105),
        ("inverse-time", 1, 0.1), ("cosine", 1, 0), ("one-cycle", 0.04, 0),
    ],
)  # fmt: skip
def test_schedules(name, first, last):
    schedule = Config(lr=1.0, schedule=name).build_schedule(100)
    rates = [1.0] * 100 if schedule is None else [schedule(step) for step in range(100)]
    assert rates[0] == pytest.approx(first, abs=1e-3)
    assert rates[-1] == pytest.approx(last, abs=2e-3)
    assert max(rates) == pytest.approx(1, abs=0.01)
    warm = Config(lr=1.0, schedule=name, warmup=10).build_schedule(100)
    assert warm(0) == pytest.approx(rates[0] / 10)


def test_clips():
    assert Config().build_clip() is None
    model = Config(model="mlp").build_model((1, 4, 4), 2)
    parameters = model.parameters()
    for p in parameters:
        p.grad = minidl.tensor(np.full(p.shape, 5.0))
    Config(clip_value=2.0).build_clip()(parameters)
    assert {float(np.abs(p.grad.numpy()).max()) for p in parameters} == {2.0}
    Config(clip_norm=1.0).build_clip()(parameters)
    total = sum((p.grad.numpy() ** 2).sum() for p in parameters)
    assert total == pytest.approx(1, rel=1e-4)


def test_unknown_options_in_a_file():
    with pytest.raises(ConfigError, match="unknown options flavour"):
        Config.from_dict({"flavour": 1})
    with pytest.raises(ConfigError, match="gray"):
        Config(gray=1).check()


def test_the_seed_decides_the_weights():
    rng.manual_seed(5)
    first, second = (Config(seed=3).build_model((1, 8, 8), 2).state_dict() for _ in range(2))
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


def test_the_rate_grows_with_the_batch_where_a_base_is_given():
    assert Config(lr=0.1, batch_size=1024).rate == 0.1
    config = Config(lr=0.1, batch_size=1024, base_batch=64, warmup=10)
    assert config.rate == pytest.approx(1.6)
    assert config.build_schedule(100)(9) == pytest.approx(1.6, rel=0.03)
    stored = config.resolved()
    assert (stored.rate, stored.resolved()) == (config.rate, stored), "it is scaled once"
    auto = dataclasses.replace(config, lr="auto")
    assert (auto.resolved().lr, auto.resolved().rate) == ("auto", auto.rate), "still to be found"
    with pytest.raises(ConfigError, match="base-batch: expected an int of at least 1, got 0"):
        Config(base_batch=0).check()


@pytest.mark.parametrize("option", ["epochs", "batch_size", "base_batch", "lr", "seed", "warmup"])
def test_numbers_that_no_float_holds_are_refused(option):
    with pytest.raises(ConfigError, match=f"{option.replace('_', '-')}: expected .* float32 can"):
        Config(**{option: 10**400}).check()
    with pytest.raises(ConfigError, match="weight-norm: expected a number that float32 can hold"):
        Config(weight_norm=1e300).check()


@pytest.mark.parametrize("name", ["zeros:3", "fans:3", "draw:1", "normal:", "normal:x", "math:1"])
def test_an_initializer_that_takes_no_number(name):
    with pytest.raises(ConfigError, match="init: expected the name of an initializer, or with its"):
        Config(init=name).check()


@pytest.mark.parametrize("read", [Config.from_file, Space.from_file])
def test_recipes_that_are_no_ordinary_files(read, tmp_path):
    os.mkfifo(tmp_path / "pipe.toml")
    for path in (tmp_path / "pipe.toml", tmp_path, tmp_path / "none", "/dev/zero"):
        with pytest.raises(ConfigError, match=r"cannot read .*(no such|folder|not a regular)"):
            read(path)


@pytest.mark.parametrize("read", [Config.from_file, Space.from_file])
def test_an_option_stands_once_in_a_file(read, tmp_path):
    path = tmp_path / "twice.toml"
    path.write_text("batch_size = 8\nbatch-size = 16\n")
    with pytest.raises(ConfigError, match="expected batch-size once, got it with - and with _"):
        read(path)


def test_a_rate_is_given_for_the_base_batch():
    config = Config(lr=0.3, batch_size=100, base_batch=7, optimizer="sgd")
    same = dataclasses.replace(config, lr=config.given(config.rate / 10))
    assert same.rate == pytest.approx(config.rate / 10)
    assert config.resolved() == dataclasses.replace(config, standardize=config.standardizes)
    assert Config(lr=0.3).given(0.1) == 0.1
