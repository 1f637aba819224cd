"""A lab keeps what its folder holds, beside what it adds."""

import json

import pytest

import minidl as md
from minidl.lab import runner

ERROR = md.errors.ConfigError


def run(*names, **options):
    said = []
    options = {"progress": False, "say": said.append, "quick": True} | options
    return runner.run_experiments(names, **options), said


def test_a_run_writes_everything(toy, tmp_path):
    (found,), said = run("toy", seed=3, out=tmp_path)
    assert json.loads((tmp_path / "lab.json").read_text(encoding="utf-8")) == [found]
    assert found["verdict"] == "holds"
    assert (found["seed"], found["quick"]) == (3, True)
    assert found["machine"]["minidl"] == md.__version__
    assert found["series"]["lines"]["a"] == [[0, 1], [1.0, None]]  # JSON knows no infinity
    assert found["checks"][0]["measured"] == 3
    page = (tmp_path / "lab.md").read_text(encoding="utf-8")
    assert "The seed is 3." in page and "seed 3, quick form" in page
    assert (tmp_path / "toy.png").read_bytes().startswith(b"\x89PNG")
    assert len(said) == 1 and "HOLDS, 1 of 1 checks" in said[0]


def test_a_failed_check_is_said(toy):
    (found,), said = run("toy", seed=5, out=None, quick=False)
    assert found["verdict"] == "fails"
    assert "off: seed: predicted 3, measured 5, allowed ± 0.5" in said[0]


def test_other_experiments_keep_their_results(toy, tmp_path):
    (first,), _ = run("linear-rnn", out=tmp_path)
    _, said = run("toy", seed=3, out=tmp_path)
    kept = json.loads((tmp_path / "lab.json").read_text(encoding="utf-8"))
    assert [one["name"] for one in kept] == ["linear-rnn", "toy"]
    assert kept[0] == first
    assert "linear-rnn" not in "".join(said) and "replaces" not in "".join(said)
    page = (tmp_path / "lab.md").read_text(encoding="utf-8")
    assert "## P13 " in page and "## P99 A toy" in page
    assert {"linear-rnn.png", "toy.png"} <= {path.name for path in tmp_path.iterdir()}


def test_an_older_result_of_the_same_experiment_is_replaced_with_a_word(toy, tmp_path):
    run("toy", seed=3, out=tmp_path, quick=False)
    (new,), said = run("toy", seed=4, out=tmp_path)
    assert json.loads((tmp_path / "lab.json").read_text(encoding="utf-8")) == [new]
    assert "replaces the earlier result (seed 3, full form)" in said[1]


def test_what_another_lab_adds_in_the_meantime_stays(toy, tmp_path, monkeypatch):
    right = runner.find

    def find(names):
        if "toy" in names:  # while this lab works, another one ends
            monkeypatch.setattr(runner, "find", right)
            run("linear-rnn", out=tmp_path)
        return right(names)

    monkeypatch.setattr(runner, "find", find)
    run("toy", seed=3, out=tmp_path)
    kept = json.loads((tmp_path / "lab.json").read_text(encoding="utf-8"))
    assert [one["name"] for one in kept] == ["linear-rnn", "toy"]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "null",
        "3",
        "[3]",
        '{"a": 1}',
        '[{"name": "x", "number": "C1"}]',
        '["name"]',
        "\xff",
    ],
)
def test_a_file_that_is_not_the_labs_is_refused_and_left(toy, tmp_path, content):
    path = tmp_path / "lab.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(ERROR, match="damaged or another program's; move it away"):
        run("toy", out=tmp_path)
    assert path.read_bytes() == content.encode("latin-1")


def test_bad_options_are_refused(tmp_path):
    with pytest.raises(ERROR, match="seed"):
        run("P13", seed=-1, out=None)
    (tmp_path / "file").write_text("")
    with pytest.raises(md.errors.CheckpointError, match="cannot write"):
        run("P13", out=tmp_path / "file")
