"""The space: what is drawn, what a run makes of it, and errors in words."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import optuna
import pytest

from minidl.errors import ConfigError
from minidl.runs import Config
from minidl.runs.config import MODELS
from minidl.search import Range, Space
from minidl.search.domains import BODIES, CLIPS
from minidl.search.settings import Settings, make_space
from minidl.search.space import APPLIES, scaled

BASE = Config()


def draws(space, base=BASE, count=200):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [space.draw(study.ask(), base) for _ in range(count)]


@pytest.mark.parametrize("models", [MODELS, *((m,) for m in MODELS)], ids="-".join)
def test_every_draw_of_the_default_space_is_a_run(models):
    space = Space.default(models)
    seen = set()
    for i, options in enumerate(draws(space)):
        config = space.config(BASE, options)
        config.check()
        seen.add(config.model)
        if i < 10:
            config.build_model((1, 4, 4), 3)
    assert seen == set(models)


def test_options_are_drawn_only_where_they_apply():
    found = draws(Space.default(MODELS), count=400)
    for options in found:
        deep = options["model"] == "deep_plain_cnn"
        assert ("depth" in options) == ("width" in options) == ("body" in options) == deep
        for clip in CLIPS[1:]:
            assert (f"clip_{clip}" in options) == (options["clip"] == clip)
    assert {o["body"] for o in found if "body" in o} == set(BODIES)
    momentum = Space({"optimizer": ["sgd", "adam"], "momentum": {"low": 0.1, "high": 0.9}})
    for options in draws(momentum, count=50):
        assert ("momentum" in options) == (options["optimizer"] == "sgd")


@pytest.mark.parametrize(("model", "bodies"), [
    ("article", {"plain", "batch-norm", "weight-norm"}),
    ("deep_plain_cnn", {"plain", "batch-norm", "residual", "weight-norm"}),
])  # fmt: skip
def test_bodies_become_options_of_the_run(model, bodies):
    space = Space.default((model,))
    found = {o["body"]: space.config(BASE, o) for o in draws(space)}
    assert set(found) == bodies
    for body, config in found.items():
        assert config.batch_norm == (body == "batch-norm")
        assert config.residual == (body == "residual")
        assert (config.weight_norm is not None) == (body == "weight-norm")


def test_clips_become_limits_of_the_run():
    space = Space.default(("article",))
    for options in draws(space):
        config = space.config(BASE, options)
        limits = {n: getattr(config, f"clip_{n}") for n in CLIPS[1:]}
        given = {name for name, limit in limits.items() if limit is not None}
        assert given == {options["clip"]} - {"none"}


@pytest.mark.parametrize("name", ["he_normal", "xavier_normal", "orthogonal", "lecun_normal"])
def test_the_scale_multiplies_the_weights(name):
    first = Config(init=name).build_model((1, 28, 28), 10).state_dict()
    space = Space({"init": name, "init-scale": 3.0, "lr": [1.0, 2.0]})
    config = space.config(BASE, {"init": name, "init_scale": 3.0})
    second = config.build_model((1, 28, 28), 10).state_dict()
    for key, weights in first.items():
        np.testing.assert_allclose(second[key], 3 * weights, rtol=1e-4, atol=1e-7)


def test_what_has_no_gain_keeps_its_scale():
    assert scaled("zeros", 2.0) == "zeros" and scaled("normal:0.3", 2.0) == "normal:0.3"


def test_a_range_of_whole_numbers_and_one_of_others():
    space = Space({"depth": {"low": 1, "high": 3}, "lr": {"low": 1, "high": 2}})
    base = Config(model="deep_plain_cnn")
    found = draws(space, base)
    assert {o["depth"] for o in found} == {1, 2, 3}
    assert all(isinstance(o["lr"], float) and 1 <= o["lr"] <= 2 for o in found)
    assert len({o["lr"] for o in found}) > 100


def test_log_draws_factors_alike():
    space = Space({"lr": {"low": 1e-4, "high": 1.0, "log": True}})
    below = np.mean([o["lr"] < 1e-2 for o in draws(space, count=1000)])
    assert 0.45 < below < 0.55


def test_a_space_is_the_same_after_a_file(tmp_path):
    path = tmp_path / "space.toml"
    path.write_text(
        'optimizer = ["sgd", "none"]\nlr = { low = 0.001, high = 1, log = true }\nwarmup = 20\n'
    )
    space = Space.from_file(path)
    assert space.domains["optimizer"].values == ("sgd", None)
    assert space.domains["lr"] == Range(0.001, 1.0, True)
    assert space.drawn == ["optimizer", "lr"]
    assert Space(space.to_dict()).to_dict() == space.to_dict()


def test_a_file_narrows_and_widens_the_default_space(tmp_path):
    path = tmp_path / "space.toml"
    path.write_text(
        "width = [64]\nlabel-smoothing = [0.0, 0.1]\nbatch-size = { low = 8, high = 9 }"
    )
    space = make_space(Config(model="deep_plain_cnn"), ("model",), path)
    found = draws(space, Config(model="deep_plain_cnn"))
    assert {o["width"] for o in found} == {64} and {o["batch_size"] for o in found} == {8, 9}
    assert {o["label_smoothing"] for o in found} == {0.0, 0.1}
    assert {o["optimizer"] for o in found} >= {"sgd", "adam"}


def test_the_space_in_the_documentation(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "search.md").read_text(encoding="utf-8")
    [block] = re.findall(r"^```toml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "space.toml").write_text(block, encoding="utf-8")
    base = Config(model="deep_plain_cnn")
    settings = Settings(base, make_space(base, ("model",), tmp_path / "space.toml"))
    settings.check()
    for options in draws(settings.space, base, 50):
        settings.space.config(base, options).check()
        assert options["depth"] == 12 and options["body"] in ("plain", "residual")


def test_what_is_given_as_an_option_is_not_drawn():
    base = Config(model="mlp", lr=0.5, init="he_normal", clip_norm=1.0)
    space = make_space(base, ("model", "lr", "init", "clip_norm"))
    left = set(space.domains)
    assert not left & {"model", "lr", "init", "init_scale", "clip", "clip_norm", "clip_value"}
    config = space.config(base, draws(space, base, 1)[0])
    assert (config.model, config.lr, config.init, config.clip_norm) == (
        "mlp",
        0.5,
        "he_normal",
        1.0,
    )


def test_numbers_of_numpy_are_pythons():
    given = {
        "lr": np.array([0.5, 0.25]),
        "batch-size": [np.int64(8), np.int32(4)],
        "depth": {"low": np.int64(2), "high": np.uint8(5)},
    }
    plain = {"lr": [0.5, 0.25], "batch-size": [8, 4], "depth": {"low": 2, "high": 5}}
    assert Space(given).to_dict() == Space(plain).to_dict()
    json.dumps(Space(given).to_dict())


@pytest.mark.parametrize("space", [5, ["lr"], b"x.toml"])
def test_what_is_no_space(space):
    with pytest.raises(ConfigError, match=r"space: expected a mapping .* got (int|list|bytes)"):
        make_space(BASE, (), space)


BAD = [
    ({"flavour": 1}, r"unknown option 'flavour'; known are augment, base-batch, batch-size"),
    ({"optimiser": ["sgd"]}, r"unknown option 'optimiser' \(did you mean optimizer\?\)"),
    ({"optimizer": ["sgd", "lion"]}, r"optimizer: expected one of sgd, .*, got 'lion'"),
    ({"lr": {"low": 1, "high": 0.1}}, "lr: expected low below high, got 1 and 0.1"),
    ({"lr": {"low": 0.0, "high": 1.0, "log": True}}, "lr: expected low above 0 with log = true"),
    ({"lr": {"low": -1, "high": 1}}, "lr: expected a number above 0, .*got -1.0"),
    ({"lr": {"min": 1, "max": 2}}, r"lr: expected \{ low = ..., high = ... \}.*got the keys min"),
    ({"lr": {"low": "a", "high": 2}}, r"lr: expected .* got \{'low': 'a', 'high': 2\}"),
    ({"lr": {"low": 1, "high": float("inf")}}, "lr: expected"),
    ({"lr": {"low": 1, "high": 2, "log": 1}}, "lr: expected"),
    ({"lr": []}, "lr: expected at least one value, got an empty list"),
    ({"lr": [0.1, 0.1]}, "lr: 0.1 stands in the list twice"),
    ({"lr": [[0.1]]}, r"lr: expected values .* got \[0.1\]"),
    ({"lr": [True]}, "lr: expected a number above 0, .*got True"),
    ({"depth": {"low": 1.5, "high": 3}}, "depth: expected an int from 1 to 10,000, got 1.5"),
    ({"init": ["he_norml"]}, "init"),
    ({"body": ["fat"]}, "body: expected one of plain, batch-norm, .*, got 'fat'"),
    ({"clip": ["hard"]}, "clip: expected one of none, norm, value, adaptive"),
    ({"init-scale": [0]}, "init-scale: expected a number above 0"),
    ({"epochs": [1, 2]}, "epochs is the same for all trials"),
    ({"batch-norm": [True, False]}, "batch-norm: write it as a body"),
]  # fmt: skip


@pytest.mark.parametrize(("domains", "words"), BAD, ids=[str(d)[:40] for d, _ in BAD])
def test_bad_spaces_are_told_in_words(domains, words):
    with pytest.raises(ConfigError, match=words):
        Space(domains)


@pytest.mark.parametrize("text", ["lr = ", "[[", "lr = 1\nlr = 2", "\0"])
def test_files_that_are_no_toml(tmp_path, text):
    path = tmp_path / "space.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"space: cannot read .*space.toml"):
        make_space(BASE, (), path)


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read .*: there is no such file"):
        make_space(BASE, (), tmp_path / "none.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot read"):
        make_space(BASE, (), tmp_path / "bytes.toml")


@pytest.mark.parametrize(("model", "space", "words"), [
    ("article", {"depth": [1, 2]}, "no trial would use depth: it needs the model deep_plain_cnn"),
    ("article", {"body": ["plain", "residual"]}, "no trial would use body"),
    ("mlp", {"optimizer": "adam", "momentum": [0.1, 0.2]}, "momentum: it needs the optimizer sgd"),
    ("mlp", {"clip": "none", "clip-norm": [1.0, 2.0]}, "clip-norm: it needs the clip norm"),
])  # fmt: skip
def test_options_that_no_trial_would_use(model, space, words):
    base = Config(model=model)
    with pytest.raises(ConfigError, match=words):
        Settings(base, make_space(base, ("model",), space)).check()


def test_a_space_without_a_choice():
    with pytest.raises(ConfigError, match="at least one option with several values"):
        Settings(BASE, Space({"lr": 0.1})).check()
    with pytest.raises(ConfigError, match="lr: expected as an option or in the space, got both"):
        make_space(BASE, ("lr",), {"lr": [0.1, 0.2]})


@pytest.mark.parametrize(("name", "value", "words"), [
    ("trials", 0, "trials: expected an int of at least 1"),
    ("trials", True, "trials"), ("trials", 1.5, "trials"),
    ("best_seeds", -1, "best-seeds: expected"), ("audit", 1.5, "audit: expected a share"),
    ("audit", "x", "audit"), ("audit", float("nan"), "audit"),
    ("sampler", "grid", "sampler: expected one of tpe, random, cma-es, got 'grid'"),
    ("pruner", "x", "pruner: expected one of"), ("doctor", "x", "doctor: expected one of off"),
])  # fmt: skip
def test_settings_that_no_search_can_have(name, value, words):
    settings = Settings(BASE, Space.default(("mlp",)))
    with pytest.raises(ConfigError, match=words):
        dataclasses.replace(settings, **{name: value}).check()


def test_settings_survive_the_storage():
    base = Config(model="mlp", lr=0.1)
    settings = Settings(base, make_space(base, ("model", "lr")), trials=7, audit=0.5)
    again = Settings.from_dict(settings.to_dict())
    assert again.to_dict() == settings.to_dict() and not settings.differences(again)
    other = dataclasses.replace(again, sampler="random", trials=9, base=Config(model="mlp", lr=0.2))
    lines = settings.differences(other)
    assert lines == ["  lr: was 0.1, is 0.2", "  sampler: was 'tpe', is 'random'"]
    narrower = dataclasses.replace(settings, space=settings.space.narrowed({"warmup": 0}))
    assert settings.differences(narrower) == ["  in the space warmup: was [0, 20, 100], is 0"]


def test_the_conditions_name_options_that_exist():
    known = {f.name for f in dataclasses.fields(Config)} | {"body", "clip"}
    assert {*APPLIES, *(decides for decides, _ in APPLIES.values())} <= known
