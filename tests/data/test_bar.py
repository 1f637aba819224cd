import io
import sys

import pytest

from minidl.data.bar import progress_bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


def run(monkeypatch, stream, **options):
    monkeypatch.setattr(sys, "stderr", stream)
    with progress_bar("reading", 3, **options) as advance:
        for _ in range(3):
            advance(1)
    return stream.getvalue()


def test_draws_on_a_terminal_only_and_only_when_asked(monkeypatch):
    pytest.importorskip("rich")
    monkeypatch.setenv("TERM", "xterm")
    assert "reading" in run(monkeypatch, Terminal())
    assert run(monkeypatch, Terminal(), show=False) == ""
    assert run(monkeypatch, io.StringIO()) == ""


def test_does_without_rich(monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert run(monkeypatch, Terminal()) == ""
