"""The page's own files: their size, their words, their one source of numbers."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import minidl as md
from minidl.health.rules import REGIMES
from minidl.scope.page import LANGUAGES, PLOTS, modules, text_of
from minidl.scope.scenes import SCENES
from minidl.scope.settings import CONTROLS
from tools import doctor_rates

ROOT = Path(__file__).parents[2]
BUDGET, WIDTH, FILE = 1500, 120, 300
TABLES = {language: json.loads(text_of(f"{language}.json")) for language in LANGUAGES}


def code_lines(text):
    """Lines of code: as in Python's budget, comments and blank lines are free."""
    lines = (line.strip() for line in text.splitlines())
    return sum(bool(line) and not line.startswith(("//", "/*", "*")) for line in lines)


def test_the_scripts_can_be_read():
    texts = {name: text_of(name) for name in modules().values()}
    assert sum(map(code_lines, texts.values())) < BUDGET
    for name, text in texts.items():
        assert len(text.splitlines()) < FILE, name
        assert max(map(len, text.splitlines())) <= WIDTH, name


def test_nothing_comes_from_another_host():
    for name in (*modules().values(), "index.html", "page.css"):
        found = re.findall(r"https?://[^\"'\s]*", text_of(name))
        assert set(found) <= {"http://www.w3.org/2000/svg"}, name
    assert "uPlot" in text_of(PLOTS) and "MIT" in text_of("uPlot.LICENSE")


def test_both_tables_have_the_same_words_and_values():
    english, chinese = TABLES["en"], TABLES["zh"]
    only = {f"{kind}.{code}" for kind in ("evidence", "cure") for code in REGIMES}
    assert english.keys() == chinese.keys() - only  # the engine has the English ones
    assert {f"evidence.{code}" for code in REGIMES} <= chinese.keys()
    for name, text in chinese.items():
        if name in only:
            continue
        assert set(re.findall(r"\{(\w+)\}", text)) == set(re.findall(r"\{(\w+)\}", english[name]))


def test_every_word_that_the_page_says_is_in_the_tables():
    for name in modules().values():
        for word in re.findall(r'say\("([\w. -]+)"', text_of(name)):
            assert word in TABLES["en"], f"{name} says {word}"
    for word in re.findall(r'data-(?:say|label)="([\w.]+)"', text_of("index.html")):
        assert word in TABLES["en"]


def test_every_scene_control_and_finding_has_its_words():
    for table in TABLES.values():
        for scene in SCENES:
            for part in ("scene", "lesson", "ask"):
                assert f"{part}.{scene['name']}" in table
        for control in CONTROLS:
            assert f"control.{control.name}" in table
            for choice in control.choices:
                value = (
                    "none" if choice is None else f"{choice:g}" if choice != str(choice) else choice
                )
                assert f"{control.name}.{value}" in table
        for code in REGIMES:
            assert f"finding.{code}" in table
        for regime in set(REGIMES.values()) - {"none"}:
            assert f"regime.{regime}" in table


@pytest.mark.parametrize("scene", SCENES, ids=lambda s: s["name"])
def test_a_lesson_has_two_sentences(scene):
    english = TABLES["en"][f"lesson.{scene['name']}"]
    assert len(re.findall(r"[.:?!](?= |$)", english)) <= 4
    assert len(re.findall(r"\.(?= [A-Z]|$)", english)) == 2, english
    assert TABLES["zh"][f"lesson.{scene['name']}"].count("。") == 2


def test_the_doctors_error_rates_are_those_of_its_page():
    assert json.loads(doctor_rates.FILE.read_text()) == doctor_rates.rates(
        doctor_rates.PAGE.read_text(encoding="utf-8")
    )


def test_importing_minidl_does_not_import_the_microscope():
    code = "import sys, minidl; print('minidl.scope' in sys.modules, 'http.server' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
    assert callable(md.scope) and "scope" in dir(md)
