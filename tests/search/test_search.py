"""A search from its beginning to its best settings."""

import itertools
import json
import math
import os
import re
import shutil
import time
from types import SimpleNamespace

import optuna
import pytest

import minidl as md
from minidl.errors import CheckpointError, ConfigError, DataError
from minidl.runs import Config, Run, compare, train
from minidl.search import go_on, join, open_search
from minidl.search.best import config_of, write_config
from minidl.search.worker import Worker
from minidl.train import History
from tests.search.conftest import SPACE, drawn


def test_every_trial_has_an_outcome_and_its_run(done):
    rows = done.summary.rows
    assert [row.number for row in rows] == list(range(8))
    assert sum(done.summary.counts.values()) == 8 and done.summary.counts["finished"] >= 3
    for row in rows:
        folder = done.out / "trials" / f"{row.number:04d}"
        if row.outcome == "refused" and not row.audited:
            assert not folder.exists()
            continue
        history = History.from_csv(folder / "history.csv")
        config = Run.open(folder).config
        assert config == config_of(done.settings, row).resolved()
        if row.outcome == "finished":
            assert history.epochs["validation_accuracy"][-1] == row.accuracy
            assert row.epochs == len(history.epochs["epoch"]) == 3
    finished = [row for row in rows if row.outcome == "finished"]
    runs = [done.out / "trials" / f"{row.number:04d}" for row in finished]
    assert compare(runs).outcome["epochs done"] == ["3"] * len(runs)


def test_the_best_is_the_best_and_can_be_trained_from_its_file(done, tmp_path):
    best = done.summary.best
    assert best.accuracy == max(r.accuracy for r in done.summary.rows if r.outcome == "finished")
    config = Config.from_file(done.out / "best.toml")
    assert config == done.best.resolved()
    outcome = train(config, tmp_path / "again", progress=False)
    assert outcome.history.last["validation_accuracy"] == best.accuracy
    assert done.best_run == done.out / "trials" / f"{best.number:04d}"


def test_a_rate_that_each_trial_finds_for_itself(small, tmp_path):
    space = SPACE | {"lr": "auto", "depth": 1}
    auto = small | {"space": space, "trials": 2, "best_seeds": 1, "epochs": 1}
    first = go_on(open_search(tmp_path / "s", auto), progress=False)
    assert first.retrained is not None
    more = go_on(open_search(tmp_path / "s", {"trials": 3}), progress=False)
    assert more.retrained is not None and len(more.summary.rows) == 3
    recipe = Config.from_file(tmp_path / "s" / "best.toml")
    assert recipe.lr == "auto"
    train(recipe, tmp_path / "again", progress=False)
    assert Run.open(tmp_path / "again").config == Run.open(more.best_run).config


def test_the_best_is_trained_again_with_other_seeds(done):
    again = done.retrained
    assert again.seeds == [1, 2] and len(again.validation) == len(again.test) == 2
    for seed, measured in zip(again.seeds, again.test, strict=True):
        folder = done.out / "best" / f"trial-{done.summary.best.number:04d}" / f"seed-{seed}"
        run = Run.open(folder)
        assert run.config.seed == seed and run.evaluate(progress=False)["accuracy"] == measured
    assert not again.shared  # the folder has a test part; a fifth of the others was held out
    assert done.settings.base.validation == 0.2


def test_spread():
    from minidl.search.best import Retrained

    again = Retrained([1, 2, 3], [0.5, 0.7, math.nan], [math.nan] * 3, True)
    assert again.spread("validation") == "0.5000 to 0.7000, mean 0.6000; 1 diverged"
    assert again.spread() == "none; 3 diverged"


@pytest.mark.parametrize(("shared", "accuracy"), [(False, 0.8), (True, 0.7)])
def test_the_validation_accuracy_is_that_of_the_weights_kept(shared, accuracy):
    from minidl.search.best import validation_of

    history = History([], ["loss", "accuracy"])
    for epoch, loss, right in ((1, 0.9, 0.6), (2, 0.5, 0.8), (3, 0.6, 0.7)):
        history.add_epoch([epoch, 0.1, 0.99, loss, right, 1.0])
    assert validation_of(history, shared) == accuracy


def test_a_search_repeats_itself(small, done, tmp_path):
    again = go_on(open_search(tmp_path / "again", small | {"audit": 1.0}), progress=False)
    assert drawn(again) == drawn(done)
    other = go_on(
        open_search(tmp_path / "other", small | {"audit": 1.0, "seed": 5}), progress=False
    )
    assert drawn(other) != drawn(done)


def test_an_audit_changes_no_draw(small, done, tmp_path):
    without = go_on(open_search(tmp_path / "without", small), progress=False)
    assert [row.options for row in without.summary.rows] == [
        row.options for row in done.summary.rows
    ]
    assert not without.summary.audited


def test_more_trials_go_on_where_the_search_ended(small, done, tmp_path):
    part = go_on(open_search(tmp_path / "s", small | {"audit": 1.0, "trials": 3}), progress=False)
    assert len(part.summary.rows) == 3
    whole = go_on(open_search(tmp_path / "s", {"trials": 8}), progress=False)
    assert drawn(whole) == drawn(done)
    assert len(go_on(join(tmp_path / "s"), progress=False).summary.rows) == 8


def test_trials_are_measured_on_the_same_images(small, tmp_path):
    images = tmp_path / "images"
    shutil.copytree(small["data"], images)
    few = small | {"data": str(images), "trials": 1}
    go_on(open_search(tmp_path / "s", few), progress=False)
    shutil.copytree(images, tmp_path / "before")
    next((images / "train" / "dark").glob("*.png")).unlink()
    with pytest.raises(CheckpointError, match=r"other images or labels \(train"):
        go_on(open_search(tmp_path / "s", {"trials": 2}), progress=False)
    assert len(go_on(open_search(tmp_path / "s", {"trials": 1}), progress=False).summary.rows) == 1
    shutil.rmtree(images)
    shutil.move(tmp_path / "before", images)
    assert len(go_on(open_search(tmp_path / "s", {"trials": 2}), progress=False).summary.rows) == 2


def test_the_time_ends_a_search_and_a_trial_goes_on(small, done, tmp_path, monkeypatch):
    search = open_search(tmp_path / "s", small | {"audit": 1.0})
    assert go_on(search, seconds=1e-9, progress=False).stopped
    assert not search.summary.rows
    for _ in range(40):
        ticks = itertools.count()  # a clock that goes on by 1 whenever it is read: once a step
        clock = SimpleNamespace(monotonic=ticks.__next__, process_time=time.process_time)
        monkeypatch.setattr("minidl.search.trial.time", clock)
        monkeypatch.setattr("minidl.search.worker.time", clock)
        Worker(search.settings, search.study, search.out, end=13).run()
    assert drawn(search) == drawn(done)
    stopped = [t for t in search.study.trials if "spent" in t.user_attrs]
    assert stopped  # the time of a trial before it was stopped counts too
    for trial in stopped:
        assert trial.user_attrs["minidl"]["seconds"] > trial.user_attrs["spent"] > 0


@pytest.mark.parametrize(("options", "words"), [
    ({"sampler": "random"}, "sampler: was 'tpe', is 'random'"),
    ({"lr": 0.1}, "lr: was None, is 0.1"),
    ({"space": {"lr": [0.1, 0.2]}}, r"in the space lr: was \{.*\}, is \[0.1, 0.2\]"),
    ({"epochs": 4}, "epochs: was 3, is 4"),
])  # fmt: skip
def test_other_options_are_refused(done, options, words):
    before = (done.out / "journal.log").read_bytes()
    with pytest.raises(ConfigError, match="was started with other options") as caught:
        open_search(done.out, options)
    assert re.search(words, str(caught.value)), caught.value
    assert (done.out / "journal.log").read_bytes() == before


def test_the_function_is_the_module(small, tmp_path):
    options = {k: v for k, v in small.items() if k not in ("space", "data", "trials")}
    found = md.search(SPACE, small["data"], out=tmp_path / "s", trials=2, progress=False, **options)
    assert len(found.summary.rows) == 2 and found.settings.trials == 2
    with pytest.raises(ConfigError, match="unknown options flavour"):
        md.search(SPACE, small["data"], out=tmp_path / "t", flavour=1)
    with pytest.raises(ConfigError, match="workers"):
        md.search(SPACE, small["data"], out=tmp_path / "t", workers=0, **options)


@pytest.mark.parametrize("storage", [None, "sqlite"])
def test_the_folder_of_something_else_stays_as_it_is(small, tmp_path, storage):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.png").write_bytes(b"x")
    url = storage and f"sqlite:///{tmp_path / 'd.db'}"
    with pytest.raises(ConfigError, match=r"photos' holds no search, but a.png; choose"):
        open_search(tmp_path / "photos", small, storage=url)
    assert os.listdir(tmp_path / "photos") == ["a.png"]


def test_a_search_that_lost_its_journal_is_not_begun_anew(done, small, tmp_path):
    shutil.copytree(done.out, tmp_path / "s")
    for left in (b"", b'{"op_code": 0, '):  # half a line is removed
        (tmp_path / "s/journal.log").write_bytes(left)
        with pytest.raises(ConfigError, match="holds no search, but "):
            open_search(tmp_path / "s", small)


def test_settings_are_looked_at_before_the_data(small, tmp_path):
    with pytest.raises(ConfigError, match="trials: expected an int of at least 1, got 0"):
        open_search(tmp_path / "s", small | {"data": str(tmp_path / "none"), "trials": 0})


@pytest.mark.parametrize("name", ["plain", "猫 😀", "del\x7f \" \\ ' #", os.fsdecode(b"caf\xe9")])
def test_a_recipe_keeps_the_name_of_any_folder(tmp_path, name):
    best = Config(data=str(tmp_path / name), lr=0.5)
    write_config(tmp_path / "best.toml", best, "The best of a search.")
    assert Config.from_file(tmp_path / "best.toml") == best.resolved()


def test_data_that_is_not_there(tmp_path):
    with pytest.raises((ConfigError, DataError), match="nothing-here"):
        md.search({"lr": [0.1, 0.2]}, str(tmp_path / "nothing-here"), out=tmp_path / "s")
    with pytest.raises(ConfigError, match=r"data as a name or a folder, .*got Dataset"):
        md.search({"lr": [0.1, 0.2]}, md.data.digits(), out=tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_what_cannot_be_trained_is_kept_with_its_reason(small, tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise MemoryError("no room for this model")

    monkeypatch.setattr("minidl.search.trial.train", fail)
    search = go_on(open_search(tmp_path / "s", small | {"trials": 2}), progress=False)
    assert search.summary.counts == {"failed": 2}
    assert {row.reason for row in search.summary.rows} == {"no room for this model"}
    assert search.best is None and search.best_run is None
    assert not (tmp_path / "s" / "best.toml").exists()
    assert "no trial was trained to its end" in search.report().read_text()


def test_diverged_trials_are_kept_with_their_reason(small, tmp_path):
    space = SPACE | {"lr": [1e20, 1e30], "optimizer": "sgd", "clip": "none"}
    options = small | {"space": space, "doctor": "off", "trials": 2}
    rows = go_on(open_search(tmp_path / "s", options), progress=False).summary.rows
    assert [row.outcome for row in rows] == ["diverged"] * 2
    assert all("so training stopped" in row.reason for row in rows)


def test_optuna_reads_the_journal(done):
    backend = optuna.storages.journal.JournalFileBackend(str(done.out / "journal.log"))
    [study] = optuna.get_all_study_summaries(optuna.storages.JournalStorage(backend))
    assert study.n_trials == 8
    assert study.best_trial.value == done.summary.best.accuracy


def test_a_journal_is_lines_of_json(done):
    lines = (done.out / "journal.log").read_text().splitlines()
    assert all("op_code" in json.loads(line) for line in lines)


def test_no_search(tmp_path):
    with pytest.raises(CheckpointError, match="there is no search in"):
        join(tmp_path / "none")
    with pytest.raises(CheckpointError, match=r"there is no search in .* give --data"):
        open_search(tmp_path / "none", {})
    assert not (tmp_path / "none").exists()
