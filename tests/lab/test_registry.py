"""Experiments are registered under their files' names; verdicts follow from checks."""

import math
from pathlib import Path

import pytest

import minidl as md
from minidl import lab
from minidl.lab import REGISTRY, Check, Evidence, claim, find, prediction


def test_a_check_allows_its_tolerance_and_no_more():
    assert Check("x", 1.0, 1.25, 0.25).ok
    assert Check("x", 1.0, 0.75, 0.25).ok
    assert not Check("x", 1.0, 1.251, 0.25).ok
    assert not Check("x", 1.0, math.nan, 1e9).ok
    assert not Check("x", 1.0, math.inf, 1e9).ok


def test_an_interval_takes_the_place_of_the_tolerance():
    assert Check("x", 9, 5, low=5).ok
    assert not Check("x", 9, 4.9, low=5).ok
    assert Check("x", 0, 2, high=2).ok
    assert not Check("x", 0, 2.1, tolerance=9, high=2).ok
    assert not Check("x", 0, math.nan, low=-1, high=1).ok
    assert Check("x", None, 1, low=-1, high=2).allowed() == "-1 to 2"
    assert Check("x", None, 1, low=8).allowed() == "at least 8"
    assert Check("x", None, 1, high=0.8).allowed() == "at most 0.8"
    assert Check("x", 0, 1, 0.25).allowed() == "± 0.25"


def test_a_check_of_nothing_is_never_ok():
    assert not Check("x", None, 1.0, 9.0).ok


def verdict(register, *ok, opposite=False):
    """Of an experiment whose checks are so."""

    @register(99, title="A toy", source="none", setup="one.", **EXPECTED[register])
    def toy(seed, quick):
        checks = [Check("x", 1.0, 1.0 if one else 2.0) for one in ok]
        return Evidence(checks, "so", opposite=opposite)

    return next(e for e in REGISTRY.values() if e.function is toy)().verdict


EXPECTED = {prediction: {"predicts": "two"}, claim: {"promises": "two"}}


def test_one_bad_check_fails_the_prediction(empty):
    assert verdict(prediction, True, True) == "holds"
    REGISTRY.popitem()
    assert verdict(prediction, True, False) == "fails"


@pytest.mark.parametrize(
    ("kept", "opposite", "expected"),
    [
        ((True, True), False, "true"),
        ((True, False), False, "conditional"),
        ((True, False), True, "conditional"),
        ((False, False), False, "false"),
        ((False,), True, "refuted"),
    ],
)
def test_a_verdict_on_a_claim_is_the_promises_kept(empty, kept, opposite, expected):
    assert verdict(claim, *kept, opposite=opposite) == expected


@pytest.mark.parametrize("folder", ["predictions", "claims"])
def test_every_file_is_one_experiment_named_as_on_the_command_line(folder):
    files = {path.stem for path in (Path(lab.__file__).parent / folder).glob("[!_]*.py")}
    prefix = "claim-" if folder == "claims" else ""
    names = [e.name for e in find() if e.is_claim == (folder == "claims")]
    assert sorted(names) == sorted(prefix + stem.replace("_", "-") for stem in files)
    for e in find(names):
        module = e.function.__module__
        assert module == f"minidl.lab.{folder}.{e.name.removeprefix(prefix).replace('-', '_')}"


def test_all_fourteen_predictions_are_there_in_order():
    numbers = [e.number for e in find()]
    assert numbers[:14] == [f"P{i}" for i in range(1, 15)]
    assert all(n.startswith("C") for n in numbers[14:])
    assert all(e.title and e.source and e.setup and e.expected for e in find())


def test_find_takes_names_and_numbers_in_the_order_given():
    assert [e.name for e in find(["linear-rnn", "p1", "HE-GAIN"])] == ["linear-rnn", "he-gain"]


def test_an_unknown_name_is_answered_with_those_like_it():
    with pytest.raises(md.errors.ConfigError, match=r"'he-gian' \(did you mean he-gain"):
        find(["he-gian", "P2"])


@pytest.mark.parametrize(("file", "number"), [("he_gain", 98), ("new", 1)])
def test_names_and_numbers_are_given_once(empty, file, number):
    def toy(seed, quick):
        raise NotImplementedError

    toy.__module__ = f"somewhere.{file}"
    with pytest.raises(md.errors.ConfigError, match="clashes with 'he-gain'"):
        prediction(number, title="", source="", setup="", predicts="")(toy)
