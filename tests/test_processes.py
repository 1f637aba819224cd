"""What the environment says of the processes of a launch, and how an error ends all of them."""

import os
import select
import subprocess
import sys

import pytest

from minidl import processes

LAUNCHERS = {
    "MPICH": ("PMI_RANK", "PMI_SIZE"),
    "Open MPI": ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    "Slurm": ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
}


@pytest.fixture(autouse=True)
def nowhere(monkeypatch):
    for names in LAUNCHERS.values():
        for name in names:
            monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_process_knows_its_place(monkeypatch, launcher):
    rank, size = LAUNCHERS[launcher]
    assert processes.place() == (0, 1)
    monkeypatch.setenv(rank, "2")
    monkeypatch.setenv(size, "4")
    assert processes.place() == (2, 4)
    monkeypatch.setenv("MINIDL_PROCESSES", "alone")
    assert processes.place() == (0, 1)


def test_one_process_of_one_is_alone(monkeypatch):
    monkeypatch.setenv("PMI_RANK", "0")
    monkeypatch.setenv("PMI_SIZE", "1")
    assert processes.place() == (0, 1)


def test_the_number_within_the_machine(monkeypatch):
    for name in ("MPI_LOCALRANKID", "OMPI_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID"):
        monkeypatch.delenv(name, raising=False)
    assert processes.local_rank() == 0
    monkeypatch.setenv("SLURM_LOCALID", "3")
    assert processes.local_rank() == 3


def test_an_error_is_raised_as_ever_by_a_process_on_its_own():
    with pytest.raises(ZeroDivisionError), processes.together():
        raise ZeroDivisionError


def run(body, **env):
    return subprocess.run(
        [sys.executable, "-c", body], env=os.environ | env, capture_output=True, text=True
    )


@pytest.mark.skipif(os.name != "posix", reason="this system cannot kill a process")
def test_an_uncaught_error_of_one_of_several_ends_it_by_a_signal_which_launchers_answer():
    body = "import minidl; 1 / 0"
    done = run(body, PMI_RANK="1", PMI_SIZE="2")
    assert done.returncode == -9
    assert done.stderr.count("ZeroDivisionError") == 1
    assert "This was process 1 of 2" in done.stderr
    assert run(body).returncode == 1


@pytest.mark.skipif(os.name != "posix", reason="this system's pipes cannot tell what is unread")
def test_the_others_are_ended_only_when_the_launcher_has_read_why():
    """Otherwise a busy launcher ends the processes first, and the text is lost."""
    body = (
        "from minidl import processes\n"
        "processes.abort = lambda code: print('aborted', flush=True)\n"
        "processes.end_all('the reason', 1)"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", body], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    readable, _, _ = select.select([child.stderr], [], [], 60)
    assert readable
    assert select.select([child.stdout], [], [], 0.5) == ([], [], [])
    assert child.stderr.readline() == "the reason\n"
    assert child.communicate(timeout=60) == ("aborted\n", "")


@pytest.mark.skipif(os.name != "posix", reason="this system's pipes cannot tell what is unread")
@pytest.mark.parametrize("where", ["pipe", "file"])
def test_a_launcher_that_never_reads_is_not_waited_for_for_ever(where, tmp_path):
    body = "from minidl import processes; processes.end_all('the reason', 5)"
    with (tmp_path / "log").open("w") as log:
        stderr = subprocess.PIPE if where == "pipe" else log
        with subprocess.Popen([sys.executable, "-c", body], stderr=stderr) as child:
            assert child.wait(timeout=60) == -9
    if where == "file":
        assert (tmp_path / "log").read_text() == "the reason\n"


def test_one_process_loads_nothing_of_all_this():
    done = run(
        "import sys, numpy as np, minidl as md\n"
        "model = md.models.article_cnn(size=4)\n"
        "trainer = md.Trainer(model, optimizer=md.optim.SGD(model.parameters(), 0.1))\n"
        "data = np.zeros((8, 1, 4, 4), 'f'), np.arange(8)\n"
        "trainer.fit(data, epochs=1, batch_size=4, progress=False)\n"
        "names = {'mpi4py', 'minidl.train.distributed', 'minidl.train.shards'}\n"
        "print(names & set(sys.modules), trainer.team.size)"
    )
    assert done.stdout == "set() 1\n", done.stderr
