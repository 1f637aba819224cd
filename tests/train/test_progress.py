import io
import sys

import pytest

from minidl.train.history import History
from minidl.train.progress import LossJump, Progress

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


class Broken(Terminal):
    """A terminal that has gone away, on a full disk, or without the signs of a text."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def write(self, text):
        raise self.error


@pytest.mark.parametrize(
    "error",
    [
        BrokenPipeError(32, "Broken pipe"),
        OSError(28, "No space left on device"),
        ValueError("I/O operation on closed file"),
        UnicodeEncodeError("latin-1", "\u03c1", 0, 1, "ordinal not in range(256)"),
    ],
)
@pytest.mark.parametrize("tty", [True, False])
def test_a_terminal_that_fails_ends_no_run(monkeypatch, error, tty):
    broken = Broken(error)
    broken.isatty = lambda: tty
    monkeypatch.setattr(sys, "stderr", broken)
    progress = Progress(3, 10, show=True)
    progress.start()
    for batch in range(3):
        progress.step(1, batch, 0.5, 0.5, 0.1, 1.0)
    progress.epoch(ROW)
    progress.epoch(ROW)
    progress.close()


def test_a_process_without_stderr(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", None)
    progress = Progress(3, 10, show=True)
    progress.start()
    progress.epoch(ROW)
    progress.close()
    assert capsys.readouterr().out == ""


def test_signs_that_the_terminal_lacks_become_question_marks(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(raw, encoding="latin-1"))
    Progress(1, 1, show=True).say("\u03c1 = 0.9, \u00fc")
    assert raw.getvalue() == b"? = 0.9, \xfc\n"


@pytest.mark.parametrize("columns", [20, 40, 60, 200])
def test_a_narrow_terminal_keeps_one_line(monkeypatch, columns):
    pytest.importorskip("rich")
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(columns))
    progress = Progress(3, 10, show=True)
    progress.start()
    progress.step(1, 7, 0.5, 0.625, 0.1, 12.5)
    console = progress._bar.console
    lines = console.render_lines(progress._bar.get_renderable())
    progress.close()
    assert len(lines) == 1


class Loss:
    def __init__(self, value):
        self.loss_value = value
        self.history = History()
        self.history.add_step((0, 1, 0.25, value, 0, 0))


@pytest.mark.parametrize(
    ("losses", "told"),
    [
        ([2.0, 2.5, 7.0, 9.0], ["step 2: the loss has grown from 2 to 7: lr 0.25"]),
        ([2.0, 5.9, 1.0], []),
        ([2.0] * 60 + [50.0], []),
        ([-1.0, 4.0], ["step 1: the loss has grown from -1 to 4: lr 0.25"]),
    ],
)
def test_first_steps_that_multiply_the_loss_are_told_once(losses, told):
    said = []
    jump = LossJump(said.append, "lr {rate:g}")
    for step, loss in enumerate(losses):
        jump.before_update(Loss(loss), step)
    assert said == told
