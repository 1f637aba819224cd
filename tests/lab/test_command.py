"""`minidl lab` lists, runs, and says what went wrong."""

import json

import pytest
from click.testing import CliRunner

import minidl as md
from minidl.cli.diagnose import lab_command


@pytest.fixture
def invoke():
    return lambda *args: CliRunner().invoke(lab_command, args)


def test_quick_alone_runs_nothing_and_says_so(invoke):
    result = invoke("--quick")
    assert isinstance(result.exception, md.errors.ConfigError) and "or --all" in str(
        result.exception
    )


def test_it_lists(invoke):
    result = invoke()
    assert result.exit_code == 0
    assert "P13  linear-rnn" in result.output


def test_it_runs_and_writes(invoke, tmp_path):
    result = invoke("P13", "--quick", "--seed", "4", "--out", str(tmp_path))
    assert result.exit_code == 0, result.output
    assert "linear-rnn: HOLDS" in result.output
    assert json.loads((tmp_path / "lab.json").read_text(encoding="utf-8"))[0]["seed"] == 4


def test_a_failed_prediction_ends_with_1(toy, invoke, tmp_path):
    result = invoke("toy", "--seed", "5", "--out", str(tmp_path))
    assert result.exit_code == 1
    assert "off: seed" in result.output


def test_names_and_all_exclude_each_other(invoke):
    assert isinstance(invoke("P1", "--all").exception, md.errors.ConfigError)
