"""`minidl search` as its user meets it."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from minidl.search import join
from tests.search.conftest import drawn
from tests.test_cli import call

TOML = """
width = [2, 3]
depth = { low = 1, high = 3 }
body = "plain"
init = "he_normal"
init-scale = 1.0
optimizer = ["sgd", "adam"]
lr = { low = 0.001, high = 1.0, log = true }
schedule = "constant"
warmup = 0
clip = ["none", "norm"]
weight-decay = 0.0
batch-size = [4, 8]
augment = "none"
"""


@pytest.fixture(scope="module")
def options(images, tmp_path_factory):
    space = tmp_path_factory.mktemp("space") / "space.toml"
    space.write_text(TOML)
    return [
        "search", "--data", images, "--model", "deep_plain_cnn", "--epochs", 3, "--space", space,
        "--best-seeds", 2, "--audit", 1.0, "--quiet",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def searched(options, tmp_path_factory):
    out = tmp_path_factory.mktemp("command") / "s"
    return out, call(*options, "--trials", 8, "--out", out)


def test_the_command_does_what_the_function_does(searched, done):
    out, said = searched
    assert drawn(join(out)) == drawn(done)
    for words in ("trials", "8 of 8", "processor", "best", "again", "test ", "best.toml",
                  "report.html"):  # fmt: skip
        assert words in said
    best = done.summary.best
    assert f"trial {best.number}: validation accuracy {best.accuracy:.4f}" in said


def test_the_folder(searched):
    out, _ = searched
    assert sorted(os.listdir(out)) == [
        "best", "best.toml", "figures", "journal.log", "journal.log.lock", "next.lock",
        "report.html", "trials",
    ]  # fmt: skip


def test_what_comes_of_it_is_used_by_the_other_commands(searched, images, tmp_path):
    out, _ = searched
    run = tmp_path / "run"
    said = call("train", "--config", out / "best.toml", "--out", run, "--quiet")
    best = join(out).summary.best
    assert "test accuracy" in said
    folder = out / "trials" / f"{best.number:04d}"
    assert f"{best.accuracy:.4f}" in call("compare", folder, run)
    assert "test accuracy" in call("evaluate", folder, "--out", tmp_path)
    image = images / "test" / "light" / "0.png"
    assert "probability" in call("predict", folder, image)


def test_the_same_folder_goes_on(searched, tmp_path):
    out = tmp_path / "copy"
    shutil.copytree(searched[0], out)
    assert "10 of 10" in call("search", "--out", out, "--trials", 10, "--quiet")
    assert drawn(join(out))[:8] == drawn(join(searched[0]))
    said = call("search", "--out", out, "--lr", 0.1, "--quiet", code=2)
    assert "was started with other options" in said and "lr: was None, is 0.1" in said


def test_the_help_names_every_option():
    said = call("search", "--help")
    for name in ("--space", "--trials", "--time", "--workers", "--sampler", "--pruner", "--doctor",
                 "--audit", "--best-seeds", "--storage", "--batch-size", "--out"):  # fmt: skip
        assert name in said


@pytest.mark.parametrize(("arguments", "words"), [
    (["--sampler", "grid"], "sampler: expected one of tpe, random, cma-es, got 'grid'"),
    (["--pruner", "x"], "pruner: expected one of"),
    (["--doctor", "x"], "doctor: expected one of off, diverge, both"),
    (["--trials", 0], "trials: expected an int of at least 1"),
    (["--audit", 2], "audit: expected a share from 0 to 1"),
    (["--workers", 0], "workers"),
    (["--time", -1], "time"),
    (["--space", "none.toml"], "space: cannot read"),
    (["--epochs", 0], "epochs: expected"),
    (["--data", "no-such-folder"], "no-such-folder"),
    (["--lr", 0.1, "--space", "lr.toml"], "lr: expected as an option or in the space, got both"),
    (["--storage", "lion://x"], "storage: cannot open"),
])  # fmt: skip
def test_bad_input_is_one_sentence(options, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lr.toml").write_text("lr = [0.1, 0.2]\n")
    said = call(*options, "--out", "s", *arguments, code=2)
    assert said.startswith("error: ") or "\nerror: " in said
    assert words in said


def test_a_missing_search(tmp_path):
    assert "there is no search in" in call("search", "--out", tmp_path / "none", code=2)


def test_without_optuna(tmp_path):
    code = "import sys; sys.modules['optuna'] = None; from minidl.cli import main; main()"
    for words, expected in ((["search", "--out", tmp_path / "s"], 2), (["datasets"], 0)):
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True
        )
        assert done.returncode == expected, done.stderr
    done = subprocess.run(
        [sys.executable, "-c", code, "search", "--out", "s"], capture_output=True, text=True
    )
    assert "pip install 'minidl[search]'" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such signals")
@pytest.mark.parametrize(
    ("workers", "number"), [(1, signal.SIGINT), (2, signal.SIGINT), (2, signal.SIGTERM)]
)
def test_ctrl_c_ends_cleanly_and_the_search_goes_on(options, tmp_path, workers, number):
    out = tmp_path / "s"
    command = [sys.executable, "-m", "minidl", *map(str, options), "--trials", "500"]
    child = subprocess.Popen(
        [*command, "--workers", str(workers), "--out", str(out)], start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and not (out / "trials" / "0002").exists():
        time.sleep(0.1)
    if number == signal.SIGINT:  # a terminal sends it to all processes
        os.killpg(child.pid, number)
    else:
        child.send_signal(number)
    _, errors = child.communicate(timeout=300)
    assert child.returncode == 128 + number, errors
    assert f"go on with minidl search --out {out}" in errors and "Traceback" not in errors
    rows = join(out).summary.rows
    assert 2 < len(rows) < 500
    assert all(row.outcome != "failed" for row in rows)
    count = len(rows)
    assert f"{count} of {count}" in call("search", "--out", out, "--trials", count, "--quiet")


def test_workers_on_the_command_line(options, tmp_path):
    said = call(*options, "--trials", 6, "--workers", 2, "--out", tmp_path / "s")
    assert "6 of 6" in said
    assert re.search(r"best +trial \d", said)
