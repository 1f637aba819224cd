"""The journal: its lock, half a line, damage, and journals of other programs."""

import multiprocessing
import os
import random
import shutil
import signal
import time

import optuna
import pytest
from optuna.storages.journal import JournalFileBackend

from minidl.errors import CheckpointError, ConfigError
from minidl.search import go_on, join
from minidl.search.storage import (
    WholeLines,
    _without_password,
    one_at_a_time,
    open_database,
    open_journal,
)
from tests.search.conftest import drawn


@pytest.fixture
def copy(done, tmp_path):
    """A copy of a search that has ended."""
    shutil.copytree(done.out, tmp_path / "copy")
    return tmp_path / "copy"


def hold(path, ready):
    with one_at_a_time(path):
        ready.set()
        time.sleep(60)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system cannot kill at once")
def test_the_lock_of_a_killed_process_is_free_at_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    holder = context.Process(target=hold, args=(tmp_path / "lock", ready))
    holder.start()
    assert ready.wait(60)
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    began = time.monotonic()
    with one_at_a_time(tmp_path / "lock"):
        assert time.monotonic() - began < 5  # Optuna's own locks wait for 30 s


def test_half_a_line_is_removed_and_the_search_goes_on(copy, done):
    journal = copy / "journal.log"
    whole = journal.read_bytes()
    for size in (1, 20, 9000):
        journal.write_bytes(whole + b'{"op_code":5,"x":"' + b"a" * size)
        assert drawn(join(copy)) == drawn(done)
        assert journal.read_bytes() == whole


def test_a_journal_cut_at_any_byte_is_read(copy, done):
    journal = copy / "journal.log"
    whole, rng = journal.read_bytes(), random.Random(0)
    first = whole.index(b"\n", whole.index(b"settings")) + 1
    for _ in range(20):
        journal.write_bytes(whole[: rng.randrange(first, len(whole))])
        rows = drawn(join(copy))
        assert rows[:-1] == drawn(done)[: len(rows) - 1]


def test_a_search_whose_journal_was_cut_ends_as_before(copy, done):
    journal = copy / "journal.log"
    whole = journal.read_bytes()
    journal.write_bytes(whole[: int(len(whole) * 0.6)])
    assert drawn(go_on(join(copy), progress=False)) == drawn(done)


@pytest.mark.parametrize("damage", [b"\xff\x00\xfe\n", b"not json\n", b"[]\n", b"{}\n", b"3\n",
                                    b'{"op_code": "x"}\n'])  # fmt: skip
def test_a_damaged_line_is_named(copy, damage):
    journal = copy / "journal.log"
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[4] = damage
    journal.write_bytes(b"".join(lines))
    with pytest.raises(CheckpointError, match=r"is damaged \(line 5 .*bring back a copy"):
        join(copy)


def test_lines_that_do_not_fit_each_other(copy):
    journal = copy / "journal.log"
    lines = journal.read_bytes().splitlines(keepends=True)
    for left in (lines[1:], lines[:1] + lines[10:], [*lines, lines[0]], [b'{"op_code": 99}\n']):
        journal.write_bytes(b"".join(left))
        try:
            drawn(join(copy))  # Optuna may leave out what does not fit
        except CheckpointError as error:
            assert "journal.log" in str(error)


def test_random_damage_never_ends_in_a_traceback(copy):
    journal = copy / "journal.log"
    whole, rng = journal.read_bytes(), random.Random(1)
    for _ in range(60):
        content = bytearray(whole)
        for _ in range(rng.randint(1, 3)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        journal.write_bytes(bytes(content))
        try:
            drawn(join(copy))
        except (CheckpointError, ConfigError) as error:
            assert str(error)


def test_a_study_of_another_program(tmp_path):
    path = tmp_path / "journal.log"
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(path)))
    study = optuna.create_study(storage=storage, study_name="theirs")
    study.ask()
    with pytest.raises(CheckpointError, match="holds a study of another program"):
        join(tmp_path)


def test_an_empty_journal(tmp_path):
    (tmp_path / "journal.log").write_bytes(b"")
    with pytest.raises(CheckpointError, match="holds no search"):
        join(tmp_path)


def test_what_is_no_file(tmp_path):
    (tmp_path / "journal.log").mkdir()
    with pytest.raises(CheckpointError, match="cannot open"):
        join(tmp_path)
    if hasattr(os, "mkfifo"):
        (tmp_path / "pipe").mkdir()
        os.mkfifo(tmp_path / "pipe" / "journal.log")
        with pytest.raises(CheckpointError, match="no ordinary file"):
            join(tmp_path / "pipe")


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError):
        open_journal(tmp_path / "file" / "journal.log")


def test_the_lock_keeps_whole_lines(tmp_path):
    path = tmp_path / "journal.log"
    path.write_bytes(b"a\nb\nhalf")
    lock = WholeLines(path)
    assert lock.acquire()
    assert path.read_bytes() == b"a\nb\n"
    lock.release()


@pytest.mark.parametrize("url", ["nonsense", "postgresql+nodriver://x/y", "lion://a/b"])
def test_databases_that_cannot_be_opened(url):
    with pytest.raises(ConfigError, match="storage:"):
        open_database(url)


def test_no_password_in_a_message():
    assert _without_password("postgresql://me:secret@host/d") == "postgresql://me@host/d"
    assert _without_password("sqlite:///x.db") == "sqlite:///x.db"
