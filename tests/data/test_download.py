"""fetch, from a server on this machine: whole files or none, and every mirror named."""

import errno
import hashlib
import http.server
import os
import threading

import pytest

import minidl.data.download as download
from minidl.data.download import Remote, cache_folder, fetch
from minidl.errors import DataError

BODY = os.urandom(700_000)
REMOTE = Remote("file.bin", len(BODY), hashlib.sha256(BODY).hexdigest())


REQUESTS: list[str] = []


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        REQUESTS.append(self.path)
        kind = self.path.split("/")[1]
        if kind == "missing":
            return self.send_error(404)
        body = {"good": BODY, "wrong": BODY[:-1] + bytes([BODY[-1] ^ 1]), "long": BODY + b"x"}
        self.send_response(200)
        self.send_header("Content-Length", str(len(body.get(kind, BODY))))
        self.end_headers()
        self.wfile.write(body.get(kind, BODY[:300_000]))  # "broken" closes in the middle

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_fetches_once(server, tmp_path):
    REQUESTS.clear()
    path = fetch(REMOTE, [f"{server}/good/"], tmp_path / "new")
    assert path == tmp_path / "new/file.bin" and path.read_bytes() == BODY
    assert fetch(REMOTE, [f"{server}/good/"], tmp_path / "new") == path
    assert REQUESTS == ["/good/file.bin"]
    assert os.listdir(tmp_path / "new") == ["file.bin"]


def test_a_damaged_file_in_the_cache_is_fetched_again(server, tmp_path):
    (tmp_path / "file.bin").write_bytes(BODY[:1000])
    assert fetch(REMOTE, [f"{server}/good/"], tmp_path).read_bytes() == BODY


def test_goes_on_to_the_next_mirror(server, tmp_path):
    mirrors = [f"{server}/{kind}/" for kind in ("missing", "broken", "wrong", "long", "good")]
    assert fetch(REMOTE, mirrors, tmp_path).read_bytes() == BODY
    assert os.listdir(tmp_path) == ["file.bin"]


def test_every_mirror_is_named_with_its_reason_and_nothing_is_left(server, tmp_path):
    mirrors = [f"{server}/{kind}/" for kind in ("missing", "broken", "wrong", "long")]
    mirrors += ["http://127.0.0.1:1/", "nonsense", (tmp_path / "nowhere").as_uri() + "/"]
    with pytest.raises(DataError, match=r"could not fetch file\.bin") as caught:
        fetch(REMOTE, mirrors, tmp_path)
    text = str(caught.value)
    for mirror in mirrors:
        assert mirror + "file.bin: " in text
    for reason in ("404", "got 300,000", "SHA-256", "got more", "refused", "unknown url"):
        assert reason in text
    assert len(caught.value.files) == 7 and os.listdir(tmp_path) == []


def test_a_file_address_will_do(tmp_path):
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror/file.bin").write_bytes(BODY)
    found = fetch(REMOTE, [(tmp_path / "mirror").as_uri() + "/"], tmp_path / "cache")
    assert found.read_bytes() == BODY


def test_a_full_disk_leaves_no_half_file(server, tmp_path, monkeypatch):
    real = os.fdopen

    def full(*args):
        file = real(*args)
        monkeypatch.setattr(download.os, "fdopen", real)

        class Full:
            def __enter__(self):
                return self

            def __exit__(self, *_):
                file.close()

            def write(self, _):
                raise OSError(errno.ENOSPC, "No space left on device")

        return Full()

    monkeypatch.setattr(download.os, "fdopen", full)
    with pytest.raises(DataError, match="No space left on device"):
        fetch(REMOTE, [f"{server}/good/"], tmp_path)
    assert os.listdir(tmp_path) == []


def test_an_interrupt_leaves_no_half_file(server, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(download.os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch(REMOTE, [f"{server}/good/"], tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_cache_folder_that_cannot_be(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(DataError, match="cache folder cannot be used"):
        fetch(REMOTE, ["http://127.0.0.1:1/"], tmp_path / "taken" / "below")


def test_the_cache_folder_is_the_users_choice(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIDL_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("MINIDL_CACHE")
    monkeypatch.setenv("HOME", "/home/reader")
    assert cache_folder().parts[-2:] == (".cache", "minidl")


def test_parts_of_killed_downloads_are_removed_and_living_ones_are_not(server, tmp_path):
    """The lock of a part tells whether its process lives."""
    part, living = download._new_part(REMOTE, tmp_path)
    dead, other = tmp_path / ".file.bin-dead.part", tmp_path / ".other.bin-x.part"
    for path in (dead, other):
        path.write_bytes(b"half")
    fetch(REMOTE, [f"{server}/good/"], tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted(
        ["file.bin", os.path.basename(living), other.name]
    )
    os.close(part)
    fetch(REMOTE, [f"{server}/good/"], tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted(["file.bin", other.name])


def test_a_part_that_was_taken_for_abandoned_is_made_again(tmp_path, monkeypatch):
    real, seen = download._lock, []

    def late(file):
        if not seen:
            seen.extend(tmp_path.iterdir())
            seen[0].unlink()
        return real(file)

    monkeypatch.setattr(download, "_lock", late)
    part, path = download._new_part(REMOTE, tmp_path)
    os.close(part)
    assert os.path.exists(path) and str(seen[0]) != path


def test_without_a_home_folder_the_error_says_what_to_set(monkeypatch):
    def nowhere():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("MINIDL_CACHE", raising=False)
    monkeypatch.setattr(download.Path, "home", nowhere)
    with pytest.raises(DataError, match="set MINIDL_CACHE"):
        cache_folder()
