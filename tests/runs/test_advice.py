"""What is said of a run before it is trained: each remedy, a safe rate, a test of rates."""

import dataclasses
import json

import pytest
from click.testing import CliRunner

from minidl.cli import cli
from minidl.errors import ConfigError, DataError
from minidl.health import Report
from minidl.runs import Config, load_data
from minidl.runs.advice import try_remedies, with_safe_rate
from minidl.runs.examine import examine

DEEP = {"model": "deep_plain_cnn", "depth": 6, "width": 8}


def remedies(**options):
    config = Config(**options)
    return {t.name: t for t in try_remedies(config, lambda c: load_data(c, None, False).train)}


@pytest.fixture(scope="module")
def exploding():
    return remedies(**DEEP, init="normal:0.6")


def test_each_remedy_is_tried_alone(exploding):
    assert exploding["as given"].report.verdict == "will diverge"
    assert exploding["He initialisation"].options == {"init": "he_normal"}
    assert exploding["He initialisation"].report.regime != "signal explodes"
    assert exploding["batch normalisation"].report.verdict == "healthy"
    assert exploding["a tenth of the rate"].report.regime == "signal explodes"
    assert all(isinstance(tried.report, Report) for tried in exploding.values())


def test_what_changes_nothing_or_cannot_be_is_left_out(exploding):
    assert "He initialisation" not in remedies(**DEEP)
    assert "shortcuts" in exploding and "shortcuts" not in remedies(model="mlp")
    assert "clipping by norm" not in remedies(model="mlp", clip_norm=1.0)


def test_a_remedy_keeps_optimizer_and_rate(exploding):
    tried = exploding["batch normalisation"]
    assert tried.options == {"optimizer": "sgd", "lr": 0.1, "batch_norm": True}


def test_a_safe_rate_is_found_and_written(tmp_path):
    data = load_data(Config(), None, False).train
    config = with_safe_rate(Config(**DEEP, lr=50.0, optimizer="sgd"), data)
    assert config.lr < 50 and examine(config, data, trial_steps=5).regime != "rate too high"
    done = CliRunner().invoke(cli, ["train", "--model", "mlp", "--lr", "auto", "--epochs", "1",
                                    "--quiet", "--out", str(tmp_path / "run")])  # fmt: skip
    assert done.exit_code == 0, done.output
    options = json.loads((tmp_path / "run/config.json").read_text())["options"]
    assert f"learning rate: {options['lr']:.3g}, which the gradient doctor" in done.output
    resumed = ["train", "--lr", "auto", "--epochs", "2", "--quiet", "--resume"]
    again = CliRunner().invoke(cli, [*resumed, "--out", str(tmp_path / "run")])
    assert again.exit_code == 0, again.output


@pytest.mark.parametrize("lr", ["best", 0, -1.0, True, float("nan"), float("inf")])
def test_rates_that_are_none(lr):
    with pytest.raises(ConfigError, match='lr: expected a number above 0, or "auto"'):
        Config(lr=lr).check()


def test_the_commands(tmp_path):
    out = tmp_path / "rates.png"
    found = CliRunner().invoke(cli, ["lr-find", "--model", "mlp", "--out", str(out)])
    assert found.exit_code == 0 and "suggested: --lr 0." in found.output and out.exists()
    none = CliRunner().invoke(cli, ["lr-find", "--model", "mlp", "--lowest", "2", "--highest", "1"])
    assert none.exit_code == 2 and "expected lowest < highest" in none.output
    word = CliRunner().invoke(cli, ["train", "--lr", "fast"])
    assert word.exit_code == 2 and "'fast' is not a valid" in word.output
    table = CliRunner().invoke(cli, ["doctor", "--model", "mlp", "--lr", "5", "--all-remedies"])
    assert table.exit_code == 0, table.output
    rows = table.output.splitlines()
    assert rows[0].split() == ["remedy", "options", "verdict", "regime", "first", "loss"]
    assert any("--lr 0.5" in row for row in rows)


def test_data_that_cannot_be_read_is_no_remedys_fault(tmp_path):
    def load(config):
        raise DataError("no such images")

    with pytest.raises(DataError, match="no such images"):
        try_remedies(Config(model="mlp"), load)
    steps = CliRunner().invoke(cli, ["doctor", "--all-remedies", "--trial-steps", "-1"])
    assert steps.exit_code == 2 and "expected trial_steps an int >= 0, got -1" in steps.output
    one = CliRunner().invoke(cli, ["doctor", "--all-remedies", "--out", str(tmp_path / "d")])
    assert one.exit_code == 2 and "expected for one report" in one.output


def test_remedies_keep_the_rate_that_a_base_batch_scales():
    config = Config(data="digits", batch_size=256, base_batch=16, lr=0.01)
    tried = {t.name: t for t in try_remedies(config, lambda c: load_data(c, None, False).train)}
    tenth = dataclasses.replace(config, **tried["a tenth of the rate"].options)
    assert tenth.rate == pytest.approx(config.rate / 10)
    assert all(v is not None for t in tried.values() for v in t.options.values())


def test_rates_are_shown_as_they_have_to_be_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rates = []
    for more in ([], ["--base-batch", "16"]):
        options = ["--data", "digits", "--batch-size", "64", *more]
        found = CliRunner().invoke(cli, ["lr-find", "--steps", "40", *options])
        assert found.exit_code == 0, found.output
        rates.append(float(found.output.partition("--lr ")[2].split()[0]))
    assert rates[0] / rates[1] == pytest.approx(4, rel=0.1)


def test_a_run_with_a_base_batch_goes_on_with_the_same_command(tmp_path):
    command = ["train", "--data", "digits", "--epochs", "1", "--base-batch", "32", "--quiet"]
    command += ["--out", str(tmp_path / "run")]
    for more in ([], ["--resume"]):
        done = CliRunner().invoke(cli, [*command, *more])
        assert done.exit_code == 0, done.output
