"""What is counted of a search, and how it is shown."""

import io

import pytest

from minidl.search.summary import Row, Summary
from minidl.search.table import Table, line, options


def row(number, outcome, accuracy=None, **more):
    return Row(number, outcome, accuracy, more.pop("epochs", 2.0), {"lr": 0.12345}, **more)


ROWS = [
    row(0, "finished", 0.9),
    row(1, "finished", 0.95, seconds={"seconds": 2.0, "doctor_seconds": 0.5}),
    row(2, "pruned", 0.99),
    row(3, "refused", code="vanishing", verdict="will not learn", epochs=0.0),
    row(4, "refused", audited=True, audit=0.86, code="dead", verdict="will not learn"),
    row(5, "refused", audited=True, audit=0.5),
    row(6, "refused", audited=True, audit=None),
    row(7, "diverged", 0.1, reason="the loss is nan", seconds={"seconds": 1.0}),
    row(8, "running", 0.3),
    row(9, "finished", 0.95),
]


def test_counts_and_the_best():
    found = Summary(ROWS, 12)
    assert found.counts == {
        "finished": 3, "pruned": 1, "refused": 4, "diverged": 1, "running": 1,
    }  # fmt: skip
    assert found.best is ROWS[1]  # a pruned trial is not whole; of equals the first
    assert [r.number for r in found.audited] == [4, 5, 6]
    assert [r.number for r in found.wrong] == [4]  # 0.86 >= 0.9 * 0.95
    assert found.epochs() == 2.0 * 6 and found.epochs(audits=True) == 2.0 * 3
    assert found.seconds() == 3.0 and found.seconds("doctor_seconds") == 0.5


def test_nothing_yet():
    found = Summary([], 12)
    assert found.counts == {} and found.best is None and found.wrong == []
    assert found.epochs() == found.seconds() == 0


def test_a_trial_in_one_line():
    assert line(ROWS[0]) == "trial   0  finished  accuracy 0.9000  --lr 0.123"
    assert line(ROWS[3]) == "trial   3  refused   will not learn: vanishing  --lr 0.123"
    assert "(audit: 0.8600)" in line(ROWS[4]) and "(audit: diverged)" in line(ROWS[6])
    assert "the loss is nan" in line(ROWS[7])
    assert options(row(0, "running")) == "--lr 0.123"


def test_lines_where_there_is_no_terminal(capsys):
    found = Summary(ROWS, 12)
    with Table(lambda: found) as table:
        table.update(force=True)
    said = capsys.readouterr().err.splitlines()
    assert [text.split()[1] for text in said] == ["0", "1", "2", "3", "4", "5", "6", "7", "9"]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_table_on_a_terminal(monkeypatch):
    pytest.importorskip("rich", reason="rich draws the table")
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")
    with Table(lambda: Summary(ROWS, 12)):
        pass
    text = terminal.getvalue()
    for words in ("9 of 12 trials", "best 0.9500 (trial 1)", "3 finished", "will not learn: dead"):
        assert words in text
    assert all(len(text) for text in text.splitlines())


def test_a_terminal_that_is_gone_ends_no_search(monkeypatch):
    def broken():
        raise BrokenPipeError

    with Table(broken) as table:
        table.update(force=True)


def test_quiet(capsys):
    with Table(lambda: Summary(ROWS, 12), show=False) as table:
        table.update(force=True)
    assert capsys.readouterr() == ("", "")
