"""What lies at a path: words for everything, and nothing that waits."""

import os

import pytest

from minidl.data import cifar10, load_image, mnist, read_idx
from minidl.errors import CheckpointError, DataError
from minidl.files import check_file, kind_of, read_file, read_text, writable_folder, write_text

LONG = "x" * 400


def test_kinds(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    os.mkfifo(tmp_path / "pipe")
    assert [kind_of(tmp_path / n) for n in ("file", "", "pipe", "none", "file/below")] == [
        "file", "folder", "other", "", "",
    ]  # fmt: skip
    assert read_file(tmp_path / "file", 3) == b"abc"
    for name, reason in (
        ("pipe", "not a regular file"), ("", "is a folder"), ("none", "no such file"),
        ("file", "3 bytes, more than 2"), (LONG, "cannot be read: File name too long"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=reason):
            check_file(tmp_path / name, 2)


@pytest.mark.parametrize("read", [kind_of, load_image, read_idx, mnist, cifar10])
@pytest.mark.parametrize("path", [LONG, "a\0b"])
def test_names_that_cannot_be_are_refused_in_words(read, path):
    with pytest.raises(DataError, match=r"cannot be read|null"):
        read(path)


@pytest.mark.parametrize("read", [load_image, read_idx])
def test_a_named_pipe_is_not_waited_for(tmp_path, read):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="not a regular file"):
        read(tmp_path / "pipe")


def test_a_text_keeps_the_bytes_of_names(tmp_path):
    text = "katze 猫 😀 " + os.fsdecode(b"caf\xe9") + "\n"
    write_text(tmp_path / "a", text)
    assert read_text(tmp_path / "a") == text and b"caf\xe9\n" in (tmp_path / "a").read_bytes()
    (tmp_path / "b").write_text("lr = 1\n", encoding="utf-8-sig")  # as Windows' editor writes it
    assert read_text(tmp_path / "b") == "lr = 1\n"


def test_a_file_larger_than_the_memory(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"abc")

    class Full:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def read(self):
            raise MemoryError

    monkeypatch.setattr("builtins.open", lambda *_, **options: Full())
    with pytest.raises(ValueError, match="its 3 bytes do not fit"):
        read_file(tmp_path / "file", 9)


def test_a_folder_that_may_not_be_entered(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "stat", refuse)
    with pytest.raises(DataError, match="cannot be read: Permission denied"):
        kind_of("secret")


def test_a_folder_for_results_is_made_and_tried(tmp_path):
    assert writable_folder("out", tmp_path / "a" / "b").is_dir()
    assert not [*(tmp_path / "a" / "b").iterdir()]
    (tmp_path / "file").touch()
    for taken in ("file", "file/inside"):
        with pytest.raises(CheckpointError, match=r"out: cannot write to .*; choose another"):
            writable_folder("out", tmp_path / taken)


def test_a_link_stays_a_link(tmp_path):
    real, link = tmp_path / "real.txt", tmp_path / "link.txt"
    real.write_text("old", encoding="utf-8")
    link.symlink_to(real)
    write_text(link, "new")
    assert link.is_symlink() and real.read_text(encoding="utf-8") == "new"


def test_only_files_are_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name, kind in (("pipe", "no file"), ("folder", "a folder")):
        with pytest.raises(CheckpointError, match=f"cannot write .*{name}.*: it is {kind}; choose"):
            write_text(tmp_path / name, "new")
    assert not (tmp_path / "pipe").is_file()
