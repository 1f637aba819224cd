import io
import sys

import pytest

from minidl.train.progress import Progress

ROW = {"epoch": 2.0, "train_loss": 0.5, "train_accuracy": 0.75, "seconds": 3.0}


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_line_for_each_epoch(capsys):
    progress = Progress(3, 10, show=True)
    progress.start()
    progress.step(1, 1, 0.5, 0.5, 0.1, 1.0)
    progress.epoch(ROW | {"validation_loss": 0.25, "validation_accuracy": 0.875})
    progress.close()
    line = "epoch 2/3  loss 0.5000  accuracy 0.7500  validation loss 0.2500  accuracy 0.8750  3.0 s"
    assert capsys.readouterr().err == line + "\n"


def test_silence(capsys):
    progress = Progress(3, 10, show=False)
    progress.start()
    progress.step(1, 1, 0.5, 0.5, 0.1, 1.0)
    progress.epoch(ROW)
    progress.close()
    assert capsys.readouterr() == ("", "")


def test_a_bar_on_a_terminal(monkeypatch):
    pytest.importorskip("rich")
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    progress = Progress(3, 10, show=True)
    progress.start()
    progress.step(1, 7, 0.5, 0.625, 0.1, 12.5)
    progress._bar.refresh()
    shown = sys.stderr.getvalue()
    for text in ("epoch 1/3", "loss 0.5000", "accuracy 0.625", "lr 0.1", "norm 12.5", "7/10"):
        assert text in shown
    progress.step(1, 8, 0.5, 0.625, 0.1, 12.5)  # sooner than the eye can follow
    assert progress._bar.tasks[0].completed == 7
    progress.epoch(ROW)
    progress.close()
    assert "epoch 2/3  loss 0.5000" in sys.stderr.getvalue()


def test_without_rich_there_are_lines(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    progress = Progress(3, 10, show=True)
    progress.start()
    progress.epoch(ROW)
    progress.close()
    assert sys.stderr.getvalue().startswith("epoch 2/3")
