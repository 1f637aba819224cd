"""Training steps on a GPU: minidl beside PyTorch, both eager and under CUDA graphs.

    python tests/benchmarks/gpu.py docs/benchmarks-gpu.md

Each library runs in a process of its own, in turn, ROUNDS times for each setting of TF32. A step is
forward, backward and update, with the same weights, data and batch. The ceilings, a copy and a
matrix product, are measured on the same card by CuPy.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

import minidl as md
from minidl import device, nn
from minidl.train.whole import WholeSteps

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

ROUNDS, STEPS, WARM = 3, 100, 20
# How each library takes a step. "minidl graphs" is a step of the Trainer: the batch is copied from
# the host, and the step's numbers back to it. "minidl fit" is `Trainer.fit` with shuffled images.
ENGINES = {"minidl": ("minidl", "minidl graphs", "minidl fit"), "torch": ("torch", "torch graphs")}
# The models, and the ratios to reach: PyTorch's time / minidl's, eager and under graphs.
WORKLOADS = {
    "article's CNN, batch 64": (md.models.article_cnn, (1, 28, 28), 64, 1.0, 4.0),
    "article's CNN, batch 256": (md.models.article_cnn, (1, 28, 28), 256, 1.0, 5.0),
    "article's CNN, batch 1024": (md.models.article_cnn, (1, 28, 28), 1024, 1.0, 5.0),
    "vgg_small, batch 128": (md.models.vgg_small, (3, 32, 32), 128, None, 1.8),
    "resnet_small, batch 128": (md.models.resnet_small, (3, 32, 32), 128, None, 1.5),
}


def batch(shape: tuple[int, ...], n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.random((n, *shape), np.float32), rng.integers(0, 10, n)


def seconds(step: Callable[[], Any], wait: Callable[[], Any], steps: int, warm: int) -> float:
    """Of one step, the host and the GPU together."""
    for _ in range(warm):
        step()
    wait()
    start = time.perf_counter()
    for _ in range(steps):
        step()
    wait()
    return (time.perf_counter() - start) / steps


def with_minidl(
    workload: str, engine: str, tf32: bool, steps: int = STEPS, warm: int = WARM
) -> dict[str, float]:
    """Seconds and bytes of a step. TF32 is decided by CUPY_TF32, before the process starts."""
    cupy = device.cupy()
    make, shape, n, *_ = WORKLOADS[workload]
    pool = cupy.get_default_memory_pool()
    pool.free_all_blocks()
    model = make().to("cuda")
    optimizer = md.optim.SGD(model.parameters(), 0.01)
    images, labels = batch(shape, n)
    wait = cupy.cuda.Device().synchronize
    if engine == "minidl fit":
        trainer = md.Trainer(model, optimizer=optimizer, seed=0)
        data = np.repeat(images, 4, 0), np.repeat(labels, 4)
        epochs = [max(1, count // 4) for count in (warm, steps)]
        trainer.fit(data, epochs=epochs[0], batch_size=n, progress=False)
        start = time.perf_counter()
        trainer.fit(data, epochs=epochs[1], batch_size=n, progress=False)
        wait()
        took = (time.perf_counter() - start) / (4 * epochs[1])
        return {"seconds": took, "memory": pool.total_bytes()}

    there = md.tensor(images, device="cuda"), md.tensor(labels, device="cuda")

    def step() -> None:
        optimizer.zero_grad()
        md.ops.cross_entropy(model(there[0]), there[1]).backward()
        optimizer.step()

    run: Callable[[], Any] = step
    if engine == "minidl graphs":
        step()
        whole = WholeSteps(md.Trainer(model, optimizer=optimizer))
        whole.start(images, labels)
        run = lambda: whole.start(images, labels)  # noqa: E731
    took = seconds(run, wait, steps, warm)
    return {"seconds": took, "memory": pool.total_bytes() + own_pools()}


def own_pools() -> int:
    """Bytes of the graphs' own pools."""
    return sum(pool.total_bytes() for pool in md.kernels.gpu.graph.POOLS)


def with_torch(workload: str, engine: str, tf32: bool) -> dict[str, float]:
    """Seconds and bytes of a step."""
    import torch

    from tests.test_models import twin

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = True
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    make, shape, n, *_ = WORKLOADS[workload]
    model = twin(make()).cuda()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    images, labels = (torch.tensor(a).cuda() for a in batch(shape, n))

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()

    run: Callable[[], Any] = step
    if engine == "torch graphs":
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                step()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step()
        run = graph.replay
    took = seconds(run, torch.cuda.synchronize, STEPS, WARM)
    return {"seconds": took, "memory": torch.cuda.max_memory_reserved()}


def ceilings() -> dict[str, Any]:
    """What the card copies and multiplies in a second, and its name."""
    cupy = device.cupy()
    wait = cupy.cuda.Device().synchronize
    source = cupy.zeros(1 << 28, cupy.float32)
    target = cupy.empty_like(source)
    copy = seconds(lambda: cupy.copyto(target, source), wait, 20, 5)
    a = cupy.ones((8192, 8192), cupy.float32)
    product = seconds(lambda: cupy.matmul(a, a), wait, 20, 5)
    runtime = cupy.cuda.runtime
    return {
        "device": runtime.getDeviceProperties(0)["name"].decode(),
        "driver": runtime.driverGetVersion(),
        "CUDA": runtime.runtimeGetVersion(),
        "CuPy": cupy.__version__,
        "bytes": 2 * source.nbytes / copy,
        "flops": 2 * 8192**3 / product,
    }


def work(workload: str) -> tuple[float, float]:
    """Floating-point operations of a step, and the bytes of its activations, each moved once to
    and once from memory in each direction."""
    make, shape, n, *_ = WORKLOADS[workload]
    model, flops, moved = make(), 0.0, 0.0

    def note(layer: Any, inputs: Any, y: Any) -> None:
        nonlocal flops, moved
        moved += 4 * y.data.nbytes * n
        if isinstance(layer, nn.Dense | nn.Conv2d):
            places = y.size // y.shape[1]
            flops += 3 * 2 * layer.weight.size * places * n

    for _, layer in model.named_modules():
        if not isinstance(layer, nn.Sequential):
            layer.register_forward_hook(note)
    with md.no_grad():
        model.eval()(np.zeros((1, *shape), np.float32))
    return flops, moved


def alone(library: str, tf32: bool) -> dict[str, Any]:
    """What `one` measures, in a process of its own."""
    command = [sys.executable, __file__, "--one", library, str(int(tf32))]
    environment = os.environ | {"CUPY_TF32": str(int(tf32))}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{library}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def one(library: str, tf32: str) -> dict[str, Any]:
    """The measurements of one process: by workload and engine, or the ceilings."""
    if library == "ceilings":
        return ceilings()
    measure = with_minidl if library == "minidl" else with_torch
    return {
        workload: {engine: measure(workload, engine, tf32 == "1") for engine in ENGINES[library]}
        for workload in WORKLOADS
    }


def table(tf32: bool) -> list[str]:
    """The lines of one table: every workload and engine."""
    top = alone("ceilings", tf32=tf32)
    rounds = [{library: alone(library, tf32=tf32) for library in ENGINES} for _ in range(ROUNDS)]
    lines = [
        f"## TF32 {'on' if tf32 else 'off'}",
        f"Ceilings: {top['bytes'] / 1e9:.0f} GB/s copied, {top['flops'] / 1e12:.1f} TFLOP/s. "
        "Ratio: PyTorch's time ÷ minidl's, under graphs for graphs and fit. Rate, bandwidth: "
        "shares of the ceilings.\n",
        "| step | engine | ms (least to most) | ratio | target | MiB | rate | bandwidth |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for workload, (*_, eager, graphs) in WORKLOADS.items():
        found = {
            engine: [r[library][workload][engine] for r in rounds]
            for library, engines in ENGINES.items()
            for engine in engines
        }
        flops, moved = work(workload)
        times = {e: sorted(r["seconds"] for r in rows) for e, rows in found.items()}
        targets = {"minidl": eager, "minidl graphs": graphs}
        for engine in found:
            middle = statistics.median(times[engine])
            other = "torch" if engine in ("minidl", "torch") else "torch graphs"
            ratio = statistics.median(times[other]) / middle
            memory = max(r["memory"] for r in found[engine]) / 2**20
            lines.append(
                f"| {workload} | {engine} | {1e3 * middle:.3f} ({1e3 * times[engine][0]:.3f} to "
                f"{1e3 * times[engine][-1]:.3f}) | {ratio:.2f} | {targets.get(engine) or '-'} | "
                f"{memory:.0f} | {flops / middle / top['flops']:.1%} | "
                f"{moved / middle / top['bytes']:.1%} |"
            )
    return [*lines, ""]


def main(path: Path) -> None:
    """Measure everything and write the page; DeviceError where there is no GPU."""
    device.cupy()
    import torch

    top = alone("ceilings", tf32=False)
    head = [
        "# Training steps on a GPU",
        f"Written by `make bench-gpu` on {date.today()}.\n",
        f"{top['device']}, driver {top['driver']}, CUDA {top['CUDA']}, CuPy {top['CuPy']}, "
        f"PyTorch {torch.__version__}, NumPy {np.__version__}, Python {platform.python_version()}; "
        f"median of {ROUNDS} processes, {STEPS} steps each.\n",
    ]
    text = "\n".join([*head, *table(tf32=False), *table(tf32=True)])
    path.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    if sys.argv[1] == "--one":
        print(json.dumps(one(*sys.argv[2:4])))
    else:
        main(Path(sys.argv[1]))
