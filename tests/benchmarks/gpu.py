"""Training steps on a GPU: minidl beside PyTorch, both eager and under CUDA graphs.

    python tests/benchmarks/gpu.py docs/benchmarks-gpu.md

Every measurement runs in a process of its own, the engines in turn, ROUNDS times. A step is
forward, backward and update, the same weights, data and batch; both engines use TF32, or neither.
The ceilings, a copy and a matrix product, are measured on the same card by CuPy.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import minidl as md
from minidl import device, kernels, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

ROUNDS, STEPS, WARM = 5, 100, 20
ENGINES = ("minidl", "minidl graphs", "torch", "torch graphs")
# The models, and the ratios to reach: PyTorch's time / minidl's, eager and under graphs.
WORKLOADS = {
    "article's CNN, batch 64": (md.models.article_cnn, (1, 28, 28), 64, 1.5, 0.8),
    "article's CNN, batch 1024": (md.models.article_cnn, (1, 28, 28), 1024, 1.5, 0.8),
    "vgg_small, batch 128": (md.models.vgg_small, (3, 32, 32), 128, 0.6, None),
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
    workload: str, graphs: bool, steps: int = STEPS, warm: int = WARM
) -> dict[str, float]:
    """Seconds and bytes of a step; graphs: as `Trainer(capture=True)` does it."""
    cupy = device.cupy()
    make, shape, n, *_ = WORKLOADS[workload]
    model = make().to("cuda")
    optimizer = md.optim.SGD(model.parameters(), 0.01)
    images, labels = (md.tensor(a, device="cuda") for a in batch(shape, n))

    def gradients() -> None:
        optimizer.zero_grad()
        md.ops.cross_entropy(model(images), labels).backward()

    gradients()
    graph = kernels.Graph(gradients, like=images.data) if graphs else None

    def step() -> None:
        (graph.launch if graph else gradients)()
        optimizer.step()

    took = seconds(step, cupy.cuda.Device().synchronize, steps, warm)
    pools = [cupy.get_default_memory_pool(), *([graph.pool] if graph else [])]
    return {"seconds": took, "memory": sum(pool.total_bytes() for pool in pools)}


def with_torch(workload: str, graphs: bool, tf32: bool) -> dict[str, float]:
    """Seconds and bytes of a step."""
    import torch

    from tests.test_models import twin

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    make, shape, n, *_ = WORKLOADS[workload]
    model = twin(make()).cuda()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    images, labels = (torch.tensor(a).cuda() for a in batch(shape, n))

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()

    run: Callable[[], Any] = step
    if graphs:
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


def alone(*words: str, tf32: bool) -> dict[str, Any]:
    """A measurement by this file in a process of its own."""
    command = [sys.executable, __file__, "--one", *words, str(int(tf32))]
    environment = os.environ | {"CUPY_TF32": str(int(tf32))}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def one(engine: str, workload: str, tf32: str) -> dict[str, Any]:
    """The measurement that `alone` asks for."""
    if engine == "ceilings":
        return ceilings()
    graphs = engine.endswith(" graphs")
    if engine.startswith("minidl"):
        return with_minidl(workload, graphs)
    return with_torch(workload, graphs, tf32 == "1")


def table(tf32: bool) -> list[str]:
    """The lines of one table: every workload and engine."""
    top = alone("ceilings", "", tf32=tf32)
    lines = [
        f"## TF32 {'on' if tf32 else 'off'}",
        f"Ceilings: {top['bytes'] / 1e9:.0f} GB/s copied, {top['flops'] / 1e12:.1f} TFLOP/s. "
        "Ratio: PyTorch's time ÷ minidl's, under graphs both. Rate, bandwidth: shares of "
        "the ceilings.\n",
        "| step | engine | ms (least to most) | ratio | target | MiB | rate | bandwidth |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for workload, (*_, eager, graphs) in WORKLOADS.items():
        found: dict[str, list[dict[str, Any]]] = {engine: [] for engine in ENGINES}
        for _ in range(ROUNDS):
            for engine in ENGINES:
                found[engine].append(alone(engine, workload, tf32=tf32))
        flops, moved = work(workload)
        times = {e: sorted(r["seconds"] for r in rows) for e, rows in found.items()}
        for engine, target in zip(ENGINES, (None, None, eager, graphs), strict=True):
            middle = statistics.median(times[engine])
            ours = statistics.median(times[engine.replace("torch", "minidl")])
            memory = max(r["memory"] for r in found[engine]) / 2**20
            lines.append(
                f"| {workload} | {engine} | {1e3 * middle:.3f} ({1e3 * times[engine][0]:.3f} to "
                f"{1e3 * times[engine][-1]:.3f}) | {middle / ours:.2f} | {target or '-'} | "
                f"{memory:.0f} | {flops / middle / top['flops']:.1%} | "
                f"{moved / middle / top['bytes']:.1%} |"
            )
    return [*lines, ""]


def main(path: Path) -> None:
    """Measure everything and write the page; DeviceError where there is no GPU."""
    device.cupy()
    import torch

    top = alone("ceilings", "", tf32=False)
    head = [
        "# Training steps on a GPU",
        "Written by `make bench-gpu`.\n",
        f"{top['device']}, driver {top['driver']}, CUDA {top['CUDA']}, CuPy {top['CuPy']}, "
        f"PyTorch {torch.__version__}, NumPy {np.__version__}, Python {platform.python_version()}; "
        f"median of {ROUNDS} processes, {STEPS} steps each.\n",
    ]
    text = "\n".join([*head, *table(tf32=False), *table(tf32=True)])
    path.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    if sys.argv[1] == "--one":
        print(json.dumps(one(*sys.argv[2:5])))
    else:
        main(Path(sys.argv[1]))
