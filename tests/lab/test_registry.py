import json
import math

import pytest

import minidl as md
from minidl.lab import REGISTRY, Check, Result, experiment, find, holds, runner


@pytest.fixture
def empty(monkeypatch):
    """The registry as it is, restored after the test."""
    saved = dict(REGISTRY)
    yield
    REGISTRY.clear()
    REGISTRY.update(saved)


@pytest.fixture
def toy(empty):
    @experiment(
        name="toy", number="P99", title="A toy", source="none", setup="one", prediction="two"
    )
    def toy(seed, quick):
        checks = [Check("seed", 3.0, seed, 0.5), Check("nan", 0.0, math.nan, 1.0)][: 2 - quick]
        return Result(
            checks,
            holds(checks),
            f"The seed is {seed}.",
            [{"seed": seed}],
            {"title": "t", "x": "x", "y": "y", "lines": {"a": ([0, 1], [1.0, math.inf])}},
        )

    return toy


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
    assert Check("x", 0, 1, low=-1, high=2).allowed() == "[-1, 2]"
    assert Check("x", 0, 1, 0.25).allowed() == "± 0.25"


def test_one_bad_check_fails_the_prediction():
    good, bad = Check("x", 0, 0), Check("x", 0, 1)
    assert holds([good, good]) == "holds"
    assert holds([good, bad]) == "fails"


def test_all_fourteen_predictions_are_there_in_order():
    numbers = [e.number for e in find()]
    assert numbers[:14] == [f"P{i}" for i in range(1, 15)]
    assert all(n.startswith("C") for n in numbers[14:])
    assert all(e.title and e.source and e.setup and e.prediction for e in find())


def test_find_takes_names_and_numbers_in_the_order_given():
    assert [e.name for e in find(["linear-rnn", "p1", "HE-GAIN"])] == ["linear-rnn", "he-gain"]


def test_an_unknown_name_is_answered_with_those_like_it():
    with pytest.raises(md.errors.ConfigError, match=r"'he-gian' \(did you mean he-gain"):
        find(["he-gian", "P2"])


@pytest.mark.parametrize("taken", [{"name": "he-gain"}, {"number": "P1"}])
def test_names_and_numbers_are_given_once(empty, taken):
    given = dict.fromkeys(("title", "source", "setup", "prediction"), "")
    given |= {"name": "new", "number": "P98"} | taken
    with pytest.raises(md.errors.ConfigError, match="clashes with 'he-gain'"):
        experiment(**given)(lambda seed, quick: None)


def test_a_run_writes_everything(toy, tmp_path):
    said = []
    records = runner.run(["toy"], quick=True, seed=3, out=tmp_path, progress=False, say=said.append)
    assert json.loads((tmp_path / "lab.json").read_text(encoding="utf-8")) == records
    (found,) = records
    assert found["verdict"] == "holds"
    assert (found["seed"], found["quick"]) == (3, True)
    assert found["machine"]["minidl"] == md.__version__
    assert found["series"]["lines"]["a"] == [[0, 1], [1.0, None]]  # JSON knows no infinity
    assert found["checks"][0]["measured"] == 3
    assert "The seed is 3." in (tmp_path / "lab.md").read_text(encoding="utf-8")
    assert (tmp_path / "toy.png").read_bytes().startswith(b"\x89PNG")
    assert "HOLDS, 1 of 1 checks" in said[0]


def test_a_failed_check_is_said(toy):
    said = []
    (found,) = runner.run(["toy"], seed=5, out=None, progress=False, say=said.append)
    assert found["verdict"] == "fails"
    assert "off: seed: predicted 3, measured 5, allowed ± 0.5" in said[0]


def test_bad_options_are_refused(tmp_path):
    with pytest.raises(md.errors.ConfigError, match="seed"):
        runner.run(["P13"], seed=-1, out=None)
    (tmp_path / "file").write_text("")
    with pytest.raises(md.errors.ConfigError, match="cannot write"):
        runner.run(["P13"], out=tmp_path / "file")


class TestCommand:
    @pytest.fixture
    def invoke(self):
        from click.testing import CliRunner

        from minidl.lab.command import lab_command

        return lambda *args: CliRunner().invoke(lab_command, args)

    def test_quick_alone_runs_nothing_and_says_so(self, invoke):
        result = invoke("--quick")
        assert isinstance(result.exception, md.errors.ConfigError) and "or --all" in str(
            result.exception
        )

    def test_it_lists(self, invoke):
        result = invoke()
        assert result.exit_code == 0
        assert "P13  linear-rnn" in result.output

    def test_it_runs_and_writes(self, invoke, tmp_path):
        result = invoke("P13", "--quick", "--seed", "4", "--out", str(tmp_path))
        assert result.exit_code == 0, result.output
        assert "linear-rnn: HOLDS" in result.output
        assert json.loads((tmp_path / "lab.json").read_text(encoding="utf-8"))[0]["seed"] == 4

    def test_a_failed_prediction_ends_with_1(self, toy, invoke, tmp_path):
        result = invoke("toy", "--seed", "5", "--out", str(tmp_path))
        assert result.exit_code == 1
        assert "off: seed" in result.output

    def test_names_and_all_exclude_each_other(self, invoke):
        assert isinstance(invoke("P1", "--all").exception, md.errors.ConfigError)
