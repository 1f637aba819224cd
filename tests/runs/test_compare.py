"""Runs side by side, and recipes that make a run again."""

import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from minidl.cli import cli
from minidl.errors import CheckpointError, ConfigError
from minidl.runs import Config, compare
from minidl.train import History
from tests.test_cli import paint

QUICK = ("--data", "digits", "--model", "mlp", "--batch-size", 256, "--quiet")


def call(*arguments, code=0):
    result = CliRunner().invoke(cli, [str(a) for a in arguments])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result.output


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for name, *options in (("a", "--epochs", 2), ("b", "--epochs", 3, "--lr", 0.01)):
        call("train", *QUICK, *options, "--out", folder / name)
    return folder / "a", folder / "b"


def test_what_differs_and_what_came_out(runs):
    found = compare(runs)
    assert found.options == {"lr": [0.1, 0.01], "epochs": [2, 3]}
    for i, run in enumerate(runs):
        epochs = History.from_csv(run / "history.csv").epochs
        column = {name: values[i] for name, values in found.outcome.items()}
        assert column["epochs done"] == str(len(epochs["epoch"]))
        assert column["training loss"] == f"{epochs['train_loss'][-1]:.4f}"
        assert column["validation loss"] == f"{epochs['validation_loss'][-1]:.4f}"
        accuracy = epochs["validation_accuracy"]
        assert column["validation accuracy"] == f"{accuracy[-1]:.4f}"
        assert column["best"] == f"{accuracy.max():.4f} (epoch {accuracy.argmax() + 1})"


def test_data_that_changed_between_two_runs_is_told(tmp_path):
    paint(tmp_path / "images", count=6)
    train = ("train", "--data", tmp_path / "images", *QUICK[2:], "--epochs", 1, "--out")
    call(*train, tmp_path / "a")
    call(*train, tmp_path / "b")
    shutil.rmtree(tmp_path / "images")
    paint(tmp_path / "images", seed=1, count=6)
    call(*train, tmp_path / "c")
    assert compare([tmp_path / "a", tmp_path / "b"]).options == {}
    other = compare([tmp_path / "a", tmp_path / "c"]).options
    assert {"train images", "validation images"} <= {*other}
    assert all(len(set(values)) == 2 for values in other.values())


def test_the_table_and_the_figure(runs, tmp_path):
    said = call("compare", *runs, "--out", tmp_path / "f.png")
    lines = said.splitlines()
    assert lines[0].split() == ["run", *map(str, runs)]
    assert ["lr", "0.1", "0.01"] in [line.split() for line in lines]
    assert "seed" not in said and (tmp_path / "f.png").stat().st_size > 1000
    figure = compare(runs).plot()
    drawn = {line.get_label() for line in figure.axes[1].lines}
    assert {str(run) for run in runs} <= drawn
    last = [line.get_ydata()[-1] for line in figure.axes[1].lines if line.get_linestyle() == "-"]
    wanted = [History.from_csv(r / "history.csv").last["validation_accuracy"] for r in runs]
    np.testing.assert_allclose(last, wanted)


def test_runs_that_cannot_be_compared(runs, tmp_path):
    with pytest.raises(ConfigError, match="expected two runs or more, got 1"):
        compare(runs[:1])
    with pytest.raises(CheckpointError, match="no run folder"):
        compare([runs[0], tmp_path])
    assert "cannot write" in call("compare", *runs, "--out", tmp_path / "f.odd", code=2)


def test_a_run_without_an_ended_epoch(runs, tmp_path):
    other = tmp_path / "short"
    other.mkdir()
    (other / "config.json").write_bytes((runs[0] / "config.json").read_bytes())
    lines = (runs[0] / "history.csv").read_text().splitlines()
    (other / "history.csv").write_text("\n".join(lines[:2]) + "\n")
    found = compare([runs[0], other])
    assert found.outcome["best"][1] == "-" and found.outcome["epochs done"] == ["2", "0"]
    assert found.plot() is not None
    with pytest.raises(ConfigError, match="none of the runs has ended an epoch"):
        compare([other, other]).plot()


def test_a_run_is_made_again_from_its_folder(runs, tmp_path):
    call("train", "--config", runs[0] / "config.json", "--quiet", "--out", tmp_path / "again")
    first, second = (r / "model.safetensors" for r in (runs[0], tmp_path / "again"))
    assert first.read_bytes() == second.read_bytes()


def test_a_recipe_in_toml_and_options_that_count_more(tmp_path):
    (tmp_path / "r.toml").write_text(
        'data = "digits"\nmodel = "mlp"\nbatch-size = 128\nepochs = 1\nlr = 0.05\n'
    )
    call("train", "--config", tmp_path / "r.toml", "--lr", 0.02, "--quiet", "--out", tmp_path / "x")
    options = json.loads((tmp_path / "x" / "config.json").read_text())["options"]
    assert (options["batch_size"], options["lr"], options["model"]) == (128, 0.02, "mlp")
    assert Config.from_file(tmp_path / "r.toml").lr == 0.05


@pytest.fixture
def seen(monkeypatch):
    """The options of each run that would be trained."""
    found = []

    def train(config, *rest, **options):
        found.append(config)
        raise ConfigError("enough")

    monkeypatch.setattr("minidl.cli.train.train", train)
    return found


@pytest.mark.parametrize("before", [{"lazy": True}, {"cache": True}, {}])
@pytest.mark.parametrize("given", ["--lazy", "--cache", "--no-lazy"])
def test_a_folder_may_be_read_in_another_way_than_before(
    tmp_path, seen, monkeypatch, before, given
):
    lines = [f"{name} = true\n" for name in before]
    (tmp_path / "r.toml").write_text("".join(lines))
    monkeypatch.setattr("minidl.cli.train._options_of", lambda _: Config(**before).to_dict())
    for old in (["--config", tmp_path / "r.toml"], ["--resume"]):
        call("train", "--data", tmp_path, *old, "--out", tmp_path / "x", given, code=2)
        assert (seen[-1].lazy, seen[-1].cache) == {
            "--lazy": (True, False), "--cache": (None, True), "--no-lazy": (False, False),
        }[given]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "given"),
    [
        ("depth = 3", ("--model", "deep_plain_cnn")),
        ('device = "cuda"', ("--device", "cpu")),
        ('model = "vgg_small"\nbatch-norm = true', ("--model", "article")),
    ],
)
def test_options_of_a_recipe_are_judged_with_those_that_override_them(tmp_path, seen, line, given):
    (tmp_path / "r.toml").write_text(line)
    call("train", "--config", tmp_path / "r.toml", *given, "--out", tmp_path / "x", code=2)
    assert len(seen) == 1


def test_what_a_recipe_leaves_out_suits_its_data(tmp_path, seen):
    (tmp_path / "r.toml").write_text('data = "cifar10"\n')
    for given in (["--config", tmp_path / "r.toml"], ["--data", "cifar10"]):
        call("train", *given, "--out", tmp_path / "x", code=2)
    assert seen[0] == seen[1] and (seen[0].model, seen[0].epochs) == ("vgg_small", 10)


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        ("colour = 1", "r.toml", "unknown options colour"),
        ("lr = = 1", "r.toml", "Invalid value"),
        ("epochs = 0", "r.toml", "cannot use .*r.toml.*: epochs: expected an int of at least 1"),
        ("depth = 3", "r.toml", "cannot use .*r.toml.*: depth: expected only with the model"),
        (
            'data = ""',
            "r.toml",
            "cannot use .*r.toml.*: data: expected a text that is not empty, got ''",
        ),
        ("{}", "r.json", "config: cannot read .*r.json.*'options'"),
        ("[1", "r.json", "config: cannot read"),
        (None, "none.toml", "config: cannot read .*none.toml"),
    ],
)
def test_recipes_that_cannot_be_followed(tmp_path, text, name, said):
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        Config.from_file(path)


def test_a_recipe_is_for_a_new_run(runs):
    refused = call("train", "--config", runs[0] / "config.json", "--resume", "--out", runs[0],
                   code=2)  # fmt: skip
    assert "expected only for a new run" in refused


@pytest.mark.parametrize("name", ["doctor", "lr-find"])
def test_a_place_for_results_is_tried_before_the_work(tmp_path, name):
    (tmp_path / "file").touch()
    data = ("--data", tmp_path / "nowhere", "--model", "mlp")
    place = tmp_path / "file" / "inside" / "figure.png"
    assert "--out: cannot write to" in call(name, *data, "--out", place, code=2)  # not the data
