"""How far data-parallel training goes: measures messages and steps, and simulates larger clusters.

    mpiexec -n 2 python tools/scaling.py measure messages.json   # how long messages take
    mpiexec -n 2 python tools/scaling.py steps vgg_small 64      # ms a step; --bucket BYTES
    python tools/scaling.py share vgg_small 64 181               # processes that share two cores
    python tools/scaling.py predict                              # the tables of docs/distributed.md

The simulator walks through one step, layer by layer. A layer takes its operations over the
processor's speed. Messages have one wire and follow each other on it. A sum of b bytes over n
processes takes 2·⌈log₂ n⌉ latencies and sends 2·(n - 1)/n·b bytes; a gather of b bytes from each
takes ⌈log₂ n⌉ latencies and sends (n - 1)·b. Batch normalisation waits for its gather; buckets of
gradients travel while the backward pass goes on. (Thakur, Rabenseifner, Gropp 2005, section 4.)
"""

import argparse
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import minidl as md
from minidl.train import shards

NETWORKS = {"article_cnn": (1, 28), "vgg_small": (3, 32), "resnet_small": (3, 32)}


@dataclass
class Layer:
    """operations: of the forward pass for one image. weights: numbers. channels: normalised."""

    operations: float
    weights: int
    channels: int = 0


@dataclass
class Machine:
    """speed: operations a second of one process. latency: seconds. bandwidth: bytes a second.

    overhead: seconds of a step that do not depend on the batch.
    """

    speed: float
    latency: float
    bandwidth: float
    overhead: float = 0.0


def layers_of(name: str) -> list[Layer]:
    """The layers of a model of `minidl.models` in the order in which they run."""
    channels, size = NETWORKS[name]
    model = getattr(md.models, name)(in_channels=channels, size=size)
    found: list[Layer] = []

    def note(layer: Any, inputs: Any, y: Any) -> None:
        weights = sum(p.size for p in layer.parameters())
        if isinstance(layer, md.nn.BatchNorm2d):
            found.append(Layer(0, weights, layer.features))
        elif isinstance(layer, md.nn.Conv2d):
            found.append(Layer(2 * layer.weight.size * y.shape[2] * y.shape[3], weights))
        elif isinstance(layer, md.nn.Dense):
            found.append(Layer(2 * layer.weight.size, weights))

    for _, layer in model.named_modules():
        layer.register_forward_hook(note)
    model.eval()
    model(md.tensor(np.zeros((1, channels, size, size), "f")))
    return found


def simulate(
    layers: list[Layer], n: int, images: int, machine: Machine, bucket: float = shards.BUCKET
) -> float:
    """Seconds of a step of n processes with so many images each."""
    rounds = math.ceil(math.log2(n)) if n > 1 else 0

    def gather(size: float) -> float:
        return rounds * machine.latency + (n - 1) * size / machine.bandwidth

    def add(size: float) -> float:
        return 2 * rounds * machine.latency + 2 * (n - 1) / n * size / machine.bandwidth

    now = machine.overhead
    for layer in layers:
        now += layer.operations * images / machine.speed + (gather(8 * layer.channels)
                                                            if layer.channels else 0)  # fmt: skip
    now += gather(4 * 10 * images)  # the logits
    wire, full = now, 0.0
    for layer in reversed(layers):
        if layer.channels:
            now = max(now, wire) + gather(8 * layer.channels)
        now += 2 * layer.operations * images / machine.speed
        full += 4 * layer.weights
        if full >= bucket:
            wire, full = max(now, wire) + add(full), 0.0
    if full:
        wire = max(now, wire) + add(full)
    return max(now, wire) if n > 1 else now


def efficiency(layers: list[Layer], n: int, images: int, machine: Machine, **options: Any) -> float:
    """The share of n times one process's speed."""
    one = simulate(layers, 1, images, machine)
    return one / simulate(layers, n, images, machine, **options)


def least_batch(layers: list[Layer], n: int, machine: Machine, wanted: float = 0.9) -> int | None:
    """The fewest images for each process, a power of two, that keep this efficiency."""
    sizes = (2**k for k in range(17))
    return next((b for b in sizes if efficiency(layers, n, b, machine) >= wanted), None)


def share(
    name: str, batch: int, alone: float, cores: int, latency: float, bandwidth: float
) -> None:
    """Milliseconds a step of 1, 2 and 4 processes on so many cores of this machine, simulated.

    alone: the measured milliseconds of one process with one thread.
    """
    layers = layers_of(name)
    operations = 3 * batch * sum(layer.operations for layer in layers)
    for n in (1, 2, 4):
        # More processes than cores take turns, so each has its share of a core's speed.
        speed = operations / (alone / 1e3) * min(1, cores / n)
        seconds = simulate(layers, n, batch // n, Machine(speed, latency, bandwidth))
        print(f"{name} {batch}: {n} processes on {cores} cores, simulated: {seconds * 1e3:.1f} ms")


def predict() -> None:
    """The tables: operations and bytes, and the efficiency of clusters."""
    print("| network | operations an image, forward | gradients | messages a step |")
    print("|---|---|---|---|")
    for name in NETWORKS:
        layers = layers_of(name)
        bytes_, norms = sum(4 * x.weights for x in layers), sum(x.channels > 0 for x in layers)
        operations = sum(x.operations for x in layers) / 1e6
        print(f"| `{name}` | {operations:.1f} M | {bytes_:,} B | {2 * norms + 2} |")
    for what, speed in (("one core, 50 GFLOP/s", 50e9), ("a GPU's 2,500 GFLOP/s", 2.5e12)):
        print(f"\n{what}, 64 images each\n")
        print("| network | network card | 8 | 64 | 512 | least images each for 0.9 at 512 |")
        print("|---|---|---|---|---|---|")
        for name in NETWORKS:
            layers = layers_of(name)
            for card, latency in ((10, 20e-6), (100, 5e-6)):
                machine = Machine(speed, latency, card * 1e9 / 8)
                shares = (efficiency(layers, n, 64, machine) for n in (8, 64, 512))
                least = least_batch(layers, 512, machine)
                cells = " | ".join(f"{share:.2f}" for share in shares)
                print(f"| `{name}` | {card} Gb/s | {cells} | {least or 'more than 65,536'} |")


def measure(path: str) -> None:
    """The least time of a sum and of a gather, by size, into a JSON file."""
    from mpi4py import MPI

    comm, found = MPI.COMM_WORLD, []

    def best(call: Any) -> float:
        times = []
        for _ in range(200):
            comm.Barrier()
            begun = time.perf_counter()
            call()
            times.append(time.perf_counter() - begun)
        return float(np.max(comm.allgather(times), axis=0).min())

    for count in (1, 64, 1024, 16_384, 65_536, 262_144, 591_466):
        own, whole = np.ones(count, "f"), np.empty(count * comm.size, "f")
        added = best(lambda own=own: comm.Allreduce(MPI.IN_PLACE, own))
        gathered = best(lambda own=own, whole=whole: comm.Allgather(own, whole))
        found.append({"bytes": 4 * count, "sum": added, "gather": gathered})
        if comm.rank == 0:
            print(f"{4 * count:>9,} B  sum {added * 1e6:8.1f} µs  gather {gathered * 1e6:8.1f} µs")
    if comm.rank == 0:
        Path(path).write_text(json.dumps({"processes": comm.size, "messages": found}))


class Clock:
    """A monitor that notes when each step has ended."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.cpu: list[float] = []  # of this process; other programs do not count in it

    def after_update(self, trainer: md.Trainer, step: int) -> None:
        self.times.append(time.perf_counter())
        self.cpu.append(time.process_time())


def steps(name: str, batch: int, epochs: int, bucket: int, **options: Any) -> None:
    """Milliseconds a step: the least, and the median."""
    shards.BUCKET = bucket
    channels, size = NETWORKS[name]
    random = np.random.default_rng(0)
    images = random.random((4 * batch, channels, size, size), np.float32)
    md.manual_seed(0)
    model, clock = getattr(md.models, name)(in_channels=channels, size=size), Clock()
    optimizer = md.optim.SGD(model.parameters(), 0.001)
    trainer = md.Trainer(model, optimizer=optimizer, seed=0, monitors=[clock], **options)
    labels = np.arange(4 * batch) % 10
    trainer.fit((images, labels), epochs=epochs, batch_size=batch, progress=False)
    taken, cpu = (1e3 * np.diff(noted)[4:] for noted in (clock.times, clock.cpu))
    if trainer.team.rank == 0:
        print(
            f"{name} {batch}: {trainer.team.size} processes, {md.get_threads()} threads each, "
            f"buckets of {bucket:,} B: {taken.min():.2f} ms at best, {np.median(taken):.2f} as a "
            f"median, {np.median(cpu):.2f} of it this process's own",
            flush=True,
        )


def main() -> None:
    """The four commands."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("measure").add_argument("out")
    one = commands.add_parser("steps")
    one.add_argument("network", choices=NETWORKS)
    one.add_argument("batch", type=int)
    one.add_argument("--epochs", type=int, default=6)
    one.add_argument("--bucket", type=int, default=shards.BUCKET)
    one.add_argument("--deterministic", action="store_true")
    one.add_argument("--no-sync-batch-norm", dest="sync_batch_norm", action="store_false")
    together = commands.add_parser("share")
    together.add_argument("name", choices=NETWORKS)
    together.add_argument("batch", type=int)
    together.add_argument("alone", type=float, help="measured ms of a step of one process")
    together.add_argument("--cores", type=int, default=2)
    together.add_argument("--latency", type=float, default=4e-6, help="seconds")
    together.add_argument("--bandwidth", type=float, default=3.5e9, help="bytes a second")
    commands.add_parser("predict")
    given = vars(parser.parse_args())
    command = given.pop("command")
    if command == "measure":
        measure(given["out"])
    elif command == "steps":
        steps(given.pop("network"), given.pop("batch"), **given)
    elif command == "share":
        share(**given)
    else:
        predict()


if __name__ == "__main__":
    main()
