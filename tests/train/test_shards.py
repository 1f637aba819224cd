"""A batch in shards, within one process or among threads that pass for processes with GPUs."""

import itertools
import threading
from contextlib import nullcontext

import numpy as np
import pytest

import minidl as md
from minidl import nn, optim, rng
from minidl.errors import ConfigError, ShapeError
from minidl.train import step as steps
from minidl.train.meeting import Link, tree_sum
from minidl.train.shards import Shards, in_four
from tests.train.mpi_program import Case, train

pytestmark = pytest.mark.host


class Memory(Link):
    """Threads that pass for processes: each gives what it has, and gets all."""

    def __init__(self, shared, rank):
        self.shared, self.rank = shared, rank

    @staticmethod
    def among(size):
        shared = {"barrier": threading.Barrier(size, timeout=30), "sent": {}}
        return [Memory(shared, rank) for rank in range(size)]

    def _all(self, array):
        self.shared["sent"][self.rank] = array.copy()
        self.shared["barrier"].wait()
        found = [self.shared["sent"][rank] for rank in sorted(self.shared["sent"])]
        self.shared["barrier"].wait()
        return found

    def gather(self, own, lengths):
        assert lengths[self.rank] == len(own)
        return np.concatenate(self._all(own))

    def begin(self, part):
        total = sum(self._all(part))
        return lambda: part.__setitem__(..., total)


def network():
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.4),
        nn.Flatten(), nn.Dense(4 * 25, 6), nn.ReLU(), nn.Dense(6, 3),
    )  # fmt: skip
    for tensor in model._state().values():
        if tensor.dtype.kind == "f":
            tensor.data = tensor.data.astype("d")
    return model


def job_of(**options):
    md.manual_seed(1)
    model = network()
    return md.Trainer(model, optimizer=optim.SGD(model.parameters(), 0.1), **options)


def batch(count=9):
    random = np.random.default_rng(2)
    return random.random((count, 2, 5, 5)), np.arange(count) % 3


def whole(**options):
    """(what is measured, gradients, running mean) of one process."""
    job, (images, labels) = job_of(**options), batch()
    with rng.using(np.random.default_rng(5)):
        found = steps.gradients(job, job.place(images), labels)
        drawn = rng.generator().random()
    gradients = [p.grad.numpy() for p in job.parameters]
    return found, gradients, job.model.layers[1].running_mean.numpy(), drawn


def shared(size, links, run=None, **options):
    """The same of each of `size` threads."""
    found = {}

    def work(rank):
        job, (images, labels) = jobs[rank], batch()
        team = Shards(range(rank, rank + 1), size, links[rank], deterministic=False, joined=True)
        team.size = size
        with rng.using(np.random.default_rng(5)), (run or nullcontext)():
            rows = team.rows(len(labels))
            measured = team.gradients(job, job.place(images[rows]), job.place_targets(labels))
            drawn = rng.generator().random()
        gradients = [p.grad.numpy() for p in job.parameters]
        found[rank] = measured, gradients, job.model.layers[1].running_mean.numpy(), drawn

    jobs = [job_of(**options) for _ in range(size)]
    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == size
    return [found[rank] for rank in range(size)]


def assert_alike(found, expected):
    for measured, gradients, mean, drawn in found:
        np.testing.assert_allclose(md.device.to_host(measured), expected[0], rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(mean, expected[2], rtol=1e-12)
        assert drawn == expected[3], "the generator stands where it would in one process"
        for ours, theirs in zip(gradients, expected[1], strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-13)


@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("bytes_each", [1, 500, 1 << 20])
def test_gradients_are_those_of_the_whole_batch(size, bytes_each, monkeypatch):
    monkeypatch.setattr("minidl.train.shards.BUCKET", bytes_each)
    assert_alike(shared(size, Memory.among(size)), whole())


def test_four_shards_in_turns_are_the_whole_batch_too():
    images, labels = batch()
    job = job_of(deterministic=True)
    with rng.using(np.random.default_rng(5)):
        measured = job.team.gradients(job, job.place(images), labels)
        drawn = rng.generator().random()
    gradients = [p.grad.numpy() for p in job.parameters]
    assert_alike([(measured, gradients, job.model.layers[1].running_mean.numpy(), drawn)], whole())


def test_training_in_four_shards_is_training():
    ordinary, found = (train(Case(trainer=trainer))[1] for trainer in ({}, {"deterministic": True}))
    np.testing.assert_allclose(found["step loss"], ordinary["step loss"], rtol=0, atol=1e-12)
    assert found["step loss"].tobytes() != ordinary["step loss"].tobytes()


def test_an_error_in_a_shard_is_raised_once_and_leaves_no_thread():
    job, (images, labels) = job_of(deterministic=True), batch()
    calls = itertools.count()

    class Fails(nn.Module):
        def forward(self, x):
            if next(calls) == 2:
                raise ZeroDivisionError("in the third shard")
            return x

    job.model.layers.insert(2, Fails())
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError, match="third"):
        job.team.gradients(job, job.place(images), labels)
    assert threading.active_count() == before


def test_a_model_that_mixes_its_images_is_refused():
    job, (images, labels) = job_of(deterministic=True), batch()
    job.model.layers.append(type("Sum", (nn.Module,), {"forward": lambda self, x: x.sum(0)})())
    with pytest.raises(ShapeError, match="one row of outputs for each of the 2 images of a shard"):
        job.team.gradients(job, job.place(images), labels)


def test_how_a_batch_is_cut():
    teams = [Shards(range(r, r + 1), 3, Link(), deterministic=False, joined=True) for r in range(3)]
    assert [team.rows(10) for team in teams] == [slice(0, 3), slice(3, 6), slice(6, 10)]
    assert [team.rows(2) for team in teams] == [slice(0, 2)] * 3  # too few: everybody has all
    with pytest.raises(ConfigError, match="at least one image for each of 3 shards"):
        teams[0].check(2)
    assert [in_four(rank, 2) for rank in range(2)] == [range(0, 2), range(2, 4)]
    with pytest.raises(ConfigError, match="expected 1, 2 or 4 processes, got 8"):
        in_four(0, 8)


def test_the_sum_has_one_order():
    a, b, c, d = (np.array([x], "f") for x in (1e8, 1.0, -1e8, 1.0))
    assert tree_sum([a.copy(), b, c.copy(), d])[0] == (a + b) + (c + d)
    assert tree_sum([a.copy(), b, c])[0] == (a + b) + c


def test_options_that_contradict_each_other_are_refused():
    with pytest.raises(ConfigError, match="deterministic=True needs sync_batch_norm=True"):
        job_of(deterministic=True, sync_batch_norm=False)
    with pytest.raises(ConfigError, match="deterministic as True or False, got 4"):
        job_of(deterministic=4)


NCCL = """
from types import SimpleNamespace
from tests.standin import distributed
from minidl.train.distributed import OverNccl
from tests.train.test_shards import assert_alike, shared, whole
sys.modules["cupyx.distributed"] = fake = distributed.module(3)
standin.module.cuda.runtime = SimpleNamespace(getDeviceCount=lambda: 3)
worlds = [SimpleNamespace(rank=r, size=3, beside=SimpleNamespace(size=3)) for r in range(3)]
links = [OverNccl(world) for world in worlds]
expected = whole()
found = shared(3, links, device="cuda")
assert_alike(found, expected)
print(sorted(set(fake.fabric.calls)))
worlds[0].beside.size, worlds[0].machine = 4, "node1"
try:
    OverNccl(worlds[0])
except md.errors.DeviceError as error:
    print(error)
"""


def test_nccl_on_a_stand_in_for_cupyx():
    from tests.train.test_device import run

    printed = run("import sys\n" + NCCL)
    assert "['all_gather', 'all_reduce']" in printed
    assert "a GPU for each of the 4 processes on node1, found 3" in printed
