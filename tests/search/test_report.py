"""The report: a page, and figures that are on it."""

from html.parser import HTMLParser

import pytest

from minidl.search import go_on, open_search
from tests.search.conftest import SPACE

pytest.importorskip("matplotlib", reason="matplotlib draws the figures")


class Balanced(HTMLParser):
    """Raises where an element is closed that is not open."""

    def __init__(self):
        super().__init__()
        self.open, self.images = [], []

    def handle_starttag(self, tag, attrs):
        if tag == "img":
            self.images.append(dict(attrs)["src"])
        elif tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def read(page):
    parser = Balanced()
    parser.feed(page.read_text())
    assert not parser.open
    for image in parser.images:
        assert (page.parent / image).stat().st_size > 5_000
    return page.read_text(), [image.split("/")[-1] for image in parser.images]


def test_the_figures_leave_pyplot_as_it_was(done):
    from matplotlib import pyplot

    before = dict(pyplot.rcParams), pyplot.get_fignums()
    done.report()
    assert before == (dict(pyplot.rcParams), pyplot.get_fignums())


def test_the_page_and_its_figures(done):
    text, images = read(done.report())
    expected = ["history.png", "epochs.png", "importance.png", "parallel.png", "slices-1.png"]
    assert images[:5] == expected
    best = done.summary.best
    assert f"trial {best.number}: validation accuracy {best.accuracy:.4f}" in text
    assert "trained again with seeds 1, 2" in text and "beware" not in text
    assert text.count("<tr") >= 8 + 7
    assert "Not drawn" not in text


def test_what_was_refused_is_on_the_page(small, tmp_path):
    space = SPACE | {"lr": {"low": 1e-3, "high": 1e4, "log": True}, "clip": "none"}
    options = small | {"space": space, "audit": 0.5, "trials": 12}
    search = go_on(open_search(tmp_path / "s", options), progress=False)
    summary = search.summary
    assert len(summary.refused) >= 2 and 0 < len(summary.audited) < len(summary.refused)
    text, images = read(search.report())
    assert "refusals.png" in images
    assert f"{len(summary.refused)} of 12 trials before their first step" in text
    assert f"{len(summary.audited)} of them were trained all the same" in text
    for row in summary.refused:
        assert f"<td>{row.number}</td><td>{row.verdict}: " in text


def test_a_search_without_trials_has_a_page(small, tmp_path):
    search = open_search(tmp_path / "<b>", small)
    text, images = read(search.report())
    assert "&lt;b&gt;" in text and "<b>" not in text
    assert "no trial was trained to its end" in text and "Nothing." in text
    assert images == [] and "drawn when two trials have been trained" in text


def test_a_figure_that_cannot_be_drawn(done, monkeypatch):
    def fail(*arguments, **options):
        raise RuntimeError("no canvas")

    monkeypatch.setattr("minidl.search.report.draw.plot_optimization_history", fail)
    text, images = read(done.report())
    assert "Not drawn: no canvas" in text and "history.png" not in images
    monkeypatch.undo()
    done.report()
