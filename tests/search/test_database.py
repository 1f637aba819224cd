"""A search on a database that several machines share: PostgreSQL, started here."""

import os
import pwd
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from minidl.errors import CheckpointError, ConfigError
from minidl.search import go_on, join, open_search
from tests.search.conftest import drawn
from tests.test_cli import call

SQLITE = "sqlite:///{}/shared.db"


def programs():
    """The folder with PostgreSQL's programs, where Debian's package or the PATH has them."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found += [Path(p) for p in [shutil.which("initdb")] if p]
    return found[-1].resolve().parent if found else None


@pytest.fixture(scope="module")
def postgres(tmp_path_factory):
    """The URL of an empty database in a server of its own."""
    pytest.importorskip("psycopg2", reason="psycopg2 is not installed: pip install psycopg2-binary")
    if (bin_ := programs()) is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    folder = tmp_path_factory.mktemp("postgres")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    user = {}
    if os.getuid() == 0:  # PostgreSQL refuses to run as root
        try:
            other = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
        user = {"user": other.pw_uid, "group": other.pw_gid, "extra_groups": []}
        os.chown(folder, other.pw_uid, other.pw_gid)
        for parent in folder.parents:
            if parent.stat().st_uid == 0 and not parent.stat().st_mode & 0o001:
                parent.chmod(parent.stat().st_mode | 0o011)
    run = {"check": True, "capture_output": True, "cwd": "/", **user}
    data = folder / "data"
    subprocess.run([bin_ / "initdb", "-D", data, "-A", "trust", "-U", "minidl"], **run)
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    server = [bin_ / "pg_ctl", "-D", data, "-w", "-l", folder / "log"]
    subprocess.run([*server, "-o", options, "start"], **run | {"capture_output": False})
    try:
        yield f"postgresql+psycopg2://minidl@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run([*server, "-m", "fast", "stop"], **run | {"capture_output": False})


def test_two_machines_share_a_search(postgres, small, tmp_path):
    """Two folders stand for two machines: they have nothing in common but the database."""
    options = small | {"trials": 8, "audit": 1.0}
    search = open_search(tmp_path / "here", options, storage=postgres, name="shared")
    go_on(search, workers=2, storage=postgres, name="shared", progress=False, seconds=4)
    there = join(tmp_path / "there", storage=postgres, name="shared")
    assert there.settings.to_dict() == search.settings.to_dict()
    go_on(there, storage=postgres, name="shared", progress=False)
    go_on(search, storage=postgres, name="shared", progress=False)
    rows = search.summary.rows
    assert "running" not in search.summary.counts and len(rows) >= 8
    here, over = ({p.name for p in (tmp_path / n / "trials").glob("*")} for n in ("here", "there"))
    assert not here & over


def test_one_machine_alone_draws_as_from_a_journal(postgres, small, done, tmp_path):
    options = small | {"audit": 1.0}
    search = open_search(tmp_path / "s", options, storage=postgres)
    assert drawn(go_on(search, storage=postgres, progress=False)) == drawn(done)


def test_the_command_on_a_database(postgres, images, tmp_path):
    out, url = tmp_path / "command", ["--storage", postgres]
    said = call(
        "search", "--data", images, "--model", "mlp", "--epochs", 1, "--trials", 3, "--out", out,
        "--best-seeds", 0, "--quiet", *url,
    )  # fmt: skip
    assert "3 of 3" in said and not (out / "journal.log").exists()
    assert "4 of 4" in call("search", "--out", out, "--trials", 4, "--quiet", *url)
    wrong = postgres.replace("minidl@", "nobody:secret@")
    said = call("search", "--out", out, "--storage", wrong, code=2)
    assert "storage: cannot open" in said and "secret" not in said


def test_sqlite_is_a_database_too(small, done, tmp_path):
    url = SQLITE.format(tmp_path)
    search = open_search(tmp_path / "s", small | {"audit": 1.0}, storage=url)
    assert drawn(go_on(search, storage=url, progress=False)) == drawn(done)
    with pytest.raises(CheckpointError, match="holds no search; give --data to begin one"):
        join(tmp_path / "s", storage=url, name="other")
    with pytest.raises(ConfigError, match="was started with other options"):
        open_search(tmp_path / "s", {"sampler": "random"}, storage=url)


def test_a_file_that_is_no_database(tmp_path):
    (tmp_path / "shared.db").write_bytes(b"x" * 5000)
    with pytest.raises(ConfigError, match="storage: cannot open"):
        join(tmp_path / "s", storage=SQLITE.format(tmp_path))
