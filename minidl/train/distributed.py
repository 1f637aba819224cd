"""Several processes that train one model together: MPI on CPUs, NCCL on GPUs.

Each process has the whole model and computes its share of each batch (`shards`). Three things
travel: the outputs of the model, a few sums of each batch normalisation, and the gradients. After
that every process has the same numbers and makes the same update, so weights are sent only once, at
the start. Process 0 alone writes files and shows progress. NCCL has not been run on two GPUs yet:
`OverNccl` is tested on a stand-in for cupyx.distributed.

`team.team` loads this file if the environment says that a launcher has started several processes.
mpi4py is imported here and nowhere else.
"""

import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from .. import __version__, processes
from ..data import Dataset
from ..device import Array, array_module, cupy
from ..errors import ConfigError, DeviceError, MinidlError
from ..kernels.cpu import threads
from . import recipe
from .meeting import Link
from .shards import SHARDS, Shards, in_four

if TYPE_CHECKING:
    from .session import Session

Result = TypeVar("Result")

PATIENCE = 2.5  # seconds that a process with an error waits for the same error in all others


class World:
    """The processes of this launch, and MPI's calls among them.

    Raises: ConfigError where mpi4py is missing, or its MPI library is not the launcher's.
    """

    def __init__(self) -> None:
        _, size = processes.place()
        try:
            from mpi4py import MPI
        except ImportError as error:
            raise ConfigError(
                f"Trainer: {size} processes were started, and to join them needs mpi4py: run "
                f"`pip install 'minidl[mpi]'` (MINIDL_PROCESSES=alone trains in each process by "
                f"itself) ({error})"
            ) from None
        except RuntimeError as error:
            raise ConfigError(
                f"Trainer: mpi4py finds no MPI library: run `pip install mpich`, and start with "
                f"the mpiexec beside this python ({error})"
            ) from None
        self.mpi, self.comm = MPI, MPI.COMM_WORLD
        self.rank, self.size = self.comm.rank, self.comm.size
        if self.size != size:
            library = MPI.Get_library_version().splitlines()[0]
            raise ConfigError(
                f"Trainer: the launcher started {size} processes, but mpi4py's MPI library "
                f"({library}) sees {self.size}: they belong to different MPIs; start with the "
                f"mpiexec beside {sys.executable}"
            )
        self.failures = self.comm.Dup()  # a channel for errors, free of messages cut off by them
        processes.abort, processes.all_failed = self.comm.Abort, self.all_failed
        self.machine = MPI.Get_processor_name()
        self.machines = len(set(self.comm.allgather(self.machine)))
        self.beside = self.comm.Split_type(MPI.COMM_TYPE_SHARED)
        _share_cores(self.beside)

    def all_failed(self) -> bool:
        """Whether all other processes call this too, within PATIENCE seconds."""
        met, deadline = self.failures.Ibarrier(), time.monotonic() + PATIENCE
        while not met.Test():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.002)
        return True


def _share_cores(beside: Any) -> None:
    """Divide the cores of a machine among its processes, so that each core has one thread.

    The reason: on two cores, two processes with two threads each wait for each other, and take many
    times as long. A launcher that binds each process to its own cores has divided them already.
    """
    allowed = threads.default_threads()
    bound = getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 1))
    mine = frozenset(bound(0))
    every = beside.allgather(mine)
    share = sum(1 / sum(core in other for other in every) for core in mine) / len(mine)
    if "MINIDL_THREADS" not in os.environ and threads.get_threads() == allowed:
        threads.set_threads(max(1, round(share * allowed)))


_world: World | None = None


def join(deterministic: bool, joined: bool) -> "Processes":
    """A team of all processes. Options as in the Trainer."""
    global _world
    if _world is None:
        _world = World()
    return Processes(_world, deterministic, joined)


class Processes(Shards):
    """The team of several processes. Each has one shard, or its part of the four."""

    def __init__(self, world: World, deterministic: bool, joined: bool) -> None:
        self.world, self.rank, self.size = world, world.rank, world.size
        count, own = self.size, range(self.rank, self.rank + 1)
        if deterministic:
            count, own = SHARDS, in_four(self.rank, self.size)
        super().__init__(own, count, OverMpi(world), deterministic=deterministic, joined=joined)

    def together(self) -> AbstractContextManager[Any]:
        """Context of work that all do: an error that one process alone meets ends all of them."""
        return processes.together()

    def first(self, action: Callable[[], Result]) -> Result:
        """Run action() in process 0 alone; every process gets its result, or raises its error."""
        found: Any = None
        if self.rank == 0:
            try:
                found = action(), None
            except MinidlError as error:
                found = None, error
        result, failure = self.world.comm.bcast(found)
        if failure is not None:
            raise failure
        return result

    def begin(self, session: "Session", about: dict[str, Any], say: Callable[[str], Any]) -> None:
        """Before the first step: check that all processes train the same; share the first's state.

        Raises: ConfigError listing what differs.
        """
        super().begin(session, about, say)
        loader, world = session.loader, self.world
        loader.seed = world.comm.bcast(loader.seed)  # process 0 has that of a resumed run
        versions = {"python": platform.python_version(), "numpy": np.__version__}
        versions |= {"minidl": __version__}
        described = recipe.describe(session.job, loader) | versions
        for name, value in about.items():
            described[name] = recipe.digest(value) if isinstance(value, Dataset) else value
        theirs = world.comm.bcast(described)
        differ = recipe.differences(theirs, described, "process 0 has {}, this one {}")
        where = f"process {self.rank} on {world.machine}:"
        lines = self.all([where, *differ] if differ else [])
        if lines:
            raise ConfigError(
                "fit: expected the same training in all processes, but these differ:\n"
                + "\n".join(lines)
                + "\ngive all machines the same program, options, versions and data"
            )
        if session.job.device == "cuda" and not isinstance(self.link, OverNccl):
            self.link = OverNccl(world)
        session.take(*world.comm.bcast(session.state()))
        least, more = divmod(loader.batch_size, self.size)
        share = f"{least} or {least + 1}" if more else f"{least}"
        machines = f"{world.machines} machine{'s' * (world.machines > 1)}"
        say(f"{self.size} processes on {machines}, {share} images each")

    def owners(self, rows: Sequence[int], count: int) -> str:
        """Text that says which processes have these rows of a batch of `count`."""
        if count < self.count:
            return ""
        each, bounds = self.count // self.size, self.bounds(count)
        shards = np.searchsorted(bounds, rows, side="right") - 1
        found = sorted(set((shards // each).tolist()))
        named = ", ".join(map(str, found))
        return f" (in the images of process{'es' * (len(found) > 1)} {named})"

    def batches(self, count: int, size: int) -> slice:
        """This process's part of `count` rows, if only whole batches of `size` are given out."""
        batches = -(-count // size)
        start, stop = (batches * r // self.size * size for r in (self.rank, self.rank + 1))
        return slice(start, min(stop, count))

    def all(self, found: list[Any]) -> list[Any]:
        """The lists of all processes, one after the other."""
        return [item for part in self.world.comm.allgather(found) for item in part]


class OverMpi(Link):
    """The link of processes on CPUs: arrays in the host's memory travel by MPI."""

    def __init__(self, world: World) -> None:
        self.comm, self.mpi = world.comm, world.mpi

    def gather(self, own: Array, lengths: Sequence[int]) -> Array:
        """All processes' rows. lengths: how many each of them has."""
        own = np.ascontiguousarray(own)
        whole = np.empty((sum(lengths), *own.shape[1:]), own.dtype)
        row = own.nbytes // len(own)
        sizes = [n * row for n in lengths]
        self.comm.Allgatherv([own, self.mpi.BYTE], [whole, sizes, None, self.mpi.BYTE])
        return whole

    def begin(self, part: Array) -> Callable[[], Any]:
        """Start to replace `part` by its sum over the processes; returns a function that waits."""
        return self.comm.Iallreduce(self.mpi.IN_PLACE, part).Wait


class OverNccl(Link):
    """The link of processes with a GPU each: arrays travel by NCCL, through CuPy."""

    def __init__(self, world: World) -> None:
        gpus = cupy().cuda.runtime.getDeviceCount()
        if world.beside.size > gpus:
            raise DeviceError(
                f"fit: expected a GPU for each of the {world.beside.size} processes on "
                f"{world.machine}, found {gpus}; start one process for each GPU"
            )
        try:
            from cupyx.distributed import init_process_group

            self.nccl = init_process_group(world.size, world.rank, use_mpi=True)
        except (ImportError, RuntimeError, AttributeError) as error:
            raise DeviceError(
                "fit: several GPUs need CuPy with NCCL: run `pip install nvidia-nccl-cu12` (or "
                f"-cu13), as CuPy's version wants it ({error})"
            ) from None

    def gather(self, own: Array, lengths: Sequence[int]) -> Array:
        """The rows of all processes. NCCL gathers equally many from each, so some are padded."""
        xp, most = array_module(own), max(lengths)
        padded = xp.zeros((most, *own.shape[1:]), own.dtype)
        padded[: len(own)] = own
        found = xp.empty((len(lengths), *padded.shape), own.dtype)
        self.nccl.all_gather(padded, found, padded.size)
        return xp.concatenate([rows[:n] for rows, n in zip(found, lengths, strict=True)])

    def begin(self, part: Array) -> Callable[[], Any]:
        """Replace `part` by its sum over the processes. Later launches on the GPU wait for it."""
        self.nccl.all_reduce(part, part)
        return lambda: None
