"""The doctor at the door: whom he refuses, and which of his verdicts are not believed."""

from dataclasses import replace

import pytest

from minidl.health import doctor
from minidl.runs import Config
from minidl.runs.data import load_data
from minidl.runs.examine import examine
from minidl.search.door import RISEN, ask, believed, rises

pytest.importorskip("sklearn", reason="scikit-learn holds the digits")
DEEP = {"model": "deep_plain_cnn", "depth": 8, "width": 8, "batch_size": 32}
FAST = Config(**DEEP, optimizer="sgd", lr=3.0)
SMALL = Config(**DEEP, optimizer="sgd", lr=0.01, init="he_normal:0.3")
GOOD = Config(**DEEP, optimizer="sgd", lr=0.01)


@pytest.fixture(scope="module")
def digits():
    return load_data(Config(), None, False)


@pytest.mark.parametrize(("config", "verdict", "refused_by"), [
    (FAST, "will diverge", {"diverge", "both"}),
    (SMALL, "will not learn", {"both"}),
    (GOOD, None, set()),
])  # fmt: skip
def test_whom_the_doctor_refuses(digits, config, verdict, refused_by):
    found = {mode: ask(mode, config, digits) for mode in ("off", "diverge", "both")}
    assert {mode for mode, opinion in found.items() if opinion} == refused_by
    for mode in refused_by:
        assert found[mode].verdict == verdict and found[mode].code in found[mode].reason
        assert len(found[mode].reason) > 40


def test_a_rate_that_is_found_first_is_the_one_he_is_asked_about(digits):
    config = Config(**DEEP, optimizer="sgd", lr="auto", base_batch=1)
    first = replace(config, lr=config.rate, base_batch=None)
    assert ask("both", first, digits).verdict == "will diverge"
    assert ask("both", config, digits) is None


@pytest.mark.parametrize("slow", [{"warmup": 100}, {"schedule": "one-cycle"}])
def test_he_is_asked_at_the_largest_rate(digits, slow):
    config = Config(**DEEP, optimizer="sgd", lr=40.0, epochs=5, **slow)
    assert examine(config, digits.train).verdict != "will diverge"
    assert examine(config, digits.train, largest_rate=True).verdict == "will diverge"
    assert ask("both", config, digits).verdict == "will diverge"


def test_a_rate_that_rises_may_be_somewhat_higher(digits):
    constant = Config(**DEEP, optimizer="sgd", lr=4.0, schedule="constant", epochs=5)
    risen = Config(**DEEP, optimizer="sgd", lr=4.0, schedule="constant", epochs=5, warmup=50)
    reports = [examine(c, digits.train, largest_rate=True) for c in (constant, risen)]
    strains = [r.numbers["strain"] / r.numbers["largest_strain"] for r in reports]
    assert strains[0] == pytest.approx(strains[1], rel=1e-6) and 1 < strains[0] < RISEN
    assert ask("both", constant, digits).verdict == "will diverge"
    assert ask("both", risen, digits) is None


@pytest.mark.parametrize(("body", "refused"), [
    ({}, True), ({"residual": True}, True), ({"batch_norm": True}, False),
    ({"weight_norm": 1.4}, False),
])  # fmt: skip
def test_normalised_networks_take_a_rate_that_rises(digits, body, refused):
    config = Config(**DEEP, **body, optimizer="sgd", lr=100.0, epochs=5, warmup=50)
    assert examine(config, digits.train, largest_rate=True).regime == "rate too high"
    assert bool(ask("both", config, digits)) == refused
    constant = Config(**DEEP, **body, optimizer="sgd", lr=100.0, epochs=5)
    assert ask("both", constant, digits).verdict == "will diverge"


@pytest.mark.parametrize(("optimizer", "refused"), [
    ("sgd", True), ("momentum", True), ("rmsprop", False), ("adam", False), ("adamw", False),
])  # fmt: skip
def test_under_adam_a_vanished_signal_may_come_back(digits, optimizer, refused):
    config = Config(**DEEP, optimizer=optimizer, lr=1e-4, init="he_normal:0.3")
    report = examine(config, digits.train)
    assert report.verdict == "will not learn" and report.regime == "signal vanishes"
    assert believed(report, config) == refused == bool(ask("both", config, digits))


def test_dead_units_are_believed_under_adam(digits):
    config = Config(**DEEP, optimizer="adam", lr=1e-4)
    model = config.build_model((1, 28, 28), 10)
    model.layers[0].bias.data[...] = -1e3
    batch = digits.train.images[:32], digits.train.labels[:32]
    report = doctor(model, batch, config.build_optimizer(model))
    assert report.regime == "dead" and believed(report, config)


def test_what_he_cannot_judge_is_trained(digits, monkeypatch):
    from minidl.errors import DataError

    def fail(*arguments, **options):
        raise DataError("not finite")

    monkeypatch.setattr("minidl.search.door.examine", fail)
    assert ask("both", FAST, digits) is None


def test_schedules_that_rise():
    assert [rises(Config(warmup=n)) for n in (0, 1, 2)] == [False, False, True]
    assert rises(Config(schedule="one-cycle")) and not rises(Config(schedule="cosine"))
