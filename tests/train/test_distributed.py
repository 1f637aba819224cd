"""Several processes on this machine, started by MPI's own launcher: `make test-mpi`."""

import json
import os
import subprocess
import time

import numpy as np
import pytest

from tests.train.mpi_launch import MPIEXEC, PROGRAM, ROOT, finish, launch
from tests.train.mpi_program import COUNT

pytestmark = pytest.mark.mpi


def trained(n, path, **case):
    """What came out of a case with n processes."""
    path = path / f"run-{n}-{len(list(path.iterdir()))}"
    code, out, err = finish(launch(n, [*PROGRAM, json.dumps(case), path]))
    assert code == 0, out + err
    return dict(np.load(f"{path}.npz"))


def worst(a, b, names):
    return max(np.abs(a[x] - b[x]).max() for x in a if x.startswith(names))


@pytest.mark.parametrize("loss", ["cross_entropy", "weighted", "penalty", "pairs"])
def test_several_processes_compute_what_one_does(tmp_path, loss):
    one = trained(1, tmp_path, loss=loss)
    assert len(one["step loss"]) == 12
    for n in (2, 3, 4) if loss == "cross_entropy" else (3,):
        found = trained(n, tmp_path, loss=loss)
        np.testing.assert_allclose(found["step loss"], one["step loss"], rtol=0, atol=1e-12)
        np.testing.assert_array_equal(found["step accuracy"], one["step accuracy"])
        assert worst(found, one, ("step gradient_norm", "epoch", "evaluated")) < 1e-11
        assert worst(found, one, ("weight", "predicted")) < 1e-11
        assert found["apart"].max() < 1e-14
        for name in (x for x in one if x.startswith("monitor ")):
            np.testing.assert_allclose(found[name], one[name], rtol=1e-8, atol=1e-11, err_msg=name)


def test_the_same_bytes_with_one_process_two_or_four(tmp_path):
    options = {"dtype": "float32", "trainer": {"deterministic": True}}
    one, two, four = (trained(n, tmp_path, **options) for n in (1, 2, 4))
    ordinary = trained(1, tmp_path, dtype="float32")
    assert worst(one, ordinary, "step loss") < 0.01
    for found in (two, four):
        for name in (x for x in one if x not in ("read", "apart") and "monitor" not in x):
            assert found[name].tobytes() == one[name].tobytes(), name


def test_each_process_normalises_its_own_images_if_asked(tmp_path):
    one = trained(1, tmp_path, augment=False)
    own = trained(2, tmp_path, augment=False, trainer={"sync_batch_norm": False})
    assert worst(own, one, "step loss") > 1e-4
    assert own["apart"].max() == 0, "the running moments are one model's"


def test_each_process_reads_its_share_alone(tmp_path):
    assert trained(1, tmp_path)["read"].tolist() == [3 * COUNT]
    read = trained(2, tmp_path)["read"]
    assert read.sum() == 3 * COUNT
    assert read.max() == read.min()


def test_an_error_in_one_process_ends_all_and_is_told_once(tmp_path):
    for what, words in (
        ("raise", "RuntimeError: the disk of this machine is gone"),
        ("exit", "SystemExit: 3"),
    ):
        case = {"hook": f"{what} 1 2"}
        child = launch(3, [*PROGRAM, json.dumps(case), tmp_path / "run"])
        code, out, err = finish(child)
        assert code not in (0, None)
        assert err.count(words) == 1, err
        assert "This was process 1 of 3" in err
        assert "done" not in out


def test_an_error_is_told_even_if_the_launcher_is_too_busy_to_read_it_at_once(tmp_path):
    child = launch(3, [*PROGRAM, json.dumps({"hook": "unread 1 2"}), tmp_path / "run"])
    code, _, err = finish(child)
    assert code not in (0, None)
    assert err.count("RuntimeError: the disk of this machine is gone") == 1, err


def test_an_error_ends_all_within_five_seconds(tmp_path):
    case = {"hook": "raise 1 2"}
    child = launch(2, [*PROGRAM, json.dumps(case), tmp_path / "run"])
    assert child.stdout.readline() == "ready\n"
    begun = time.monotonic()
    finish(child)
    assert time.monotonic() - begun < 5


def test_the_first_bad_operation_is_named_with_the_process_whose_images_it_met(tmp_path):
    case = {"huge": 5, "augment": False}
    code, _, err = finish(launch(2, [*PROGRAM, json.dumps(case), tmp_path / "run"]))
    assert code != 0
    assert err.count("NotFiniteError: fit: the loss is nan at step") == 1, err
    named = "The source (in the images of process {}): the forward pass of 'conv2d' in layer '0'"
    assert (named.format(0) in err) != (named.format(1) in err), err


def test_what_cannot_be_trained_together_is_refused_in_words(tmp_path):
    def refused(n, case, **env):
        program = [*PROGRAM, json.dumps(case), tmp_path / "run"]
        code, _, err = finish(launch(n, program, **env))
        assert code != 0
        return err

    assert "expected batches of at least one image for each of 3 shards" in refused(
        3, {"fit": {"batch_size": 2}}
    )
    assert "4 shards, expected 1, 2 or 4 processes, got 3" in refused(
        3, {"trainer": {"deterministic": True}}
    )
    (tmp_path / "mpi4py").mkdir()
    (tmp_path / "mpi4py" / "__init__.py").write_text("raise ImportError('not installed')")
    missing = refused(2, {}, PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert missing.count("pip install 'minidl[mpi]'") == 1, missing


def test_a_launcher_of_another_mpi_is_refused(tmp_path):
    """Open MPI's launcher with MPICH's library: each process would believe that it is alone."""
    env = {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "0", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*PROGRAM, "{}", tmp_path / "run"], cwd=ROOT, env=os.environ | env, capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode != 0
    assert "started 2 processes, but mpi4py's MPI library" in done.stderr
    assert "sees 1" in done.stderr


def test_other_options_or_data_on_one_machine_are_refused(tmp_path):
    """Two programs under one launcher, as on two machines that are not alike."""
    seed_of = {"fit": {"batch_size": 8}}, {"fit": {"batch_size": 9}}
    programs = [[*PROGRAM, json.dumps(case), str(tmp_path / "run")] for case in seed_of]
    child = launch(1, [*programs[0], ":", "-n", "1", *programs[1]])
    code, _, err = finish(child)
    assert code != 0
    assert err.count("batch size: process 0 has 8, this one 9") == 1, err


def test_the_command_speaks_once_and_gives_the_same_bytes(tmp_path):
    for n in (1, 2):
        command = [MPIEXEC.parent / "minidl", "train", "--data", "digits", "--epochs", 1]
        command += ["--deterministic", "--out", tmp_path / f"run-{n}"]
        code, out, err = finish(launch(n, command))
        assert code == 0, err
        assert out.count("test accuracy") == 1
    assert "2 processes on 1 machine, 32 images each" in err
    one, two = ((tmp_path / f"run-{n}" / "model.safetensors").read_bytes() for n in (1, 2))
    assert one == two
    code, again, err = finish(launch(2, [command[0], "evaluate", tmp_path / "run-1"]))
    assert code == 0, err
    assert again.count("test accuracy") == 1
    code, out, err = finish(launch(2, [command[0], "train", "--epochs", 0]))
    assert (code, out, err.count("error: epochs: expected")) == (2, "", 1)
    code, out, err = finish(launch(2, [command[0], "doctor", "--data", "digits"]))
    assert (code, out.count("verdict:")) == (0, 1)
