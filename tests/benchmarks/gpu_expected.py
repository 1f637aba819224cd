"""What a training step should take on a GPU, from its launches, bytes and operations.

    python tests/benchmarks/gpu_expected.py docs/benchmarks-gpu.md

The stand-in for CuPy records a whole step of the Trainer as a CUDA graph, without computing it.
Each launch that it records is counted, with the bytes of the arrays that it is given. The rates are
those of an H100. The section "Expected" of the page is written anew.
"""

import os
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
os.environ["MINIDL_CUDA_KERNELS"] = "1"

from tests import standin  # noqa: E402

standin.install()


import minidl as md  # noqa: E402
from minidl.kernels.gpu import cublas  # noqa: E402
from minidl.train.whole import WholeSteps  # noqa: E402
from tests.benchmarks.gpu import WORKLOADS, batch, work  # noqa: E402
from tests.standin.cublas import Library  # noqa: E402
from tests.standin.graph import tape  # noqa: E402
from tests.standin.kernels import Kernel  # noqa: E402

NODE = 1.0e-6  # seconds that a launch in a graph takes, however little it does
BYTES, FLOPS = 3.0e12, 51.5e12  # of an H100, in a second, float32
SHARE = 0.5  # of either limit, as measured for kernels of this kind
MEASURED = {  # PyTorch under CUDA graphs on that card, in seconds, float32
    "article's CNN, batch 64": 162e-6,
    "article's CNN, batch 256": 346e-6,
    "article's CNN, batch 1024": 1068e-6,
    "vgg_small, batch 128": 2040e-6,
}


class _Library(Library):
    def _multiply(self, *args: Any) -> int:
        if tape.work is not None:
            tape.names.append("gemm")
        return 0


def recorded(workload: str) -> tuple[list[str], float]:
    """The launches of a whole step, and the bytes of their arrays."""
    make, shape, n, *_ = WORKLOADS[workload]
    cublas._handles.clear()
    model = make().to("cuda")
    trainer = md.Trainer(model, optimizer=md.optim.SGD(model.parameters(), 0.01))
    images, labels = batch(shape, n)
    whole = WholeSteps(trainer)
    names: list[str] = []
    end = standin.module.cuda.Stream.end_capture

    def watched(stream: Any) -> Any:
        names.extend(tape.names)
        return end(stream)

    standin.module.cuda.Stream.end_capture = watched
    tape.moved = 0
    whole.start(images, labels)
    standin.module.cuda.Stream.end_capture = end
    return names, float(tape.moved)


def table() -> list[str]:
    """The lines of the section."""
    rates = f"{SHARE} · {BYTES / 1e12} TB/s", f"{SHARE} · {FLOPS / 1e12} TFLOP/s"
    lines = [
        "## Expected",
        "Written by `python tests/benchmarks/gpu_expected.py docs/benchmarks-gpu.md`. The launches",
        "of a step are counted on a stand-in for CuPy, with the bytes of the arrays that each",
        f"reads and writes. Time = {NODE * 1e6:.0f} µs for each launch + bytes ÷ ({rates[0]}) +",
        f"operations ÷ ({rates[1]}). The measured kernels of this kind reached about half of the",
        "card's limits, and a launch in a graph took 1 µs. This is arithmetic, no measurement.",
        "",
        "| step | launches | MB | GFLOP | expected ms | PyTorch's graphs, measured | ratio |",
        "|---|---|---|---|---|---|---|",
    ]
    for workload in WORKLOADS:
        names, moved = recorded(workload)
        flops, _ = work(workload)
        took = len(names) * NODE + moved / (SHARE * BYTES) + flops / (SHARE * FLOPS)
        torch = MEASURED.get(workload)
        against = "not measured | -" if torch is None else f"{1e3 * torch:.3f} | {torch / took:.1f}"
        lines.append(
            f"| {workload} | {len(names)} | {moved / 1e6:.0f} | {flops / 1e9:.2f} | "
            f"{1e3 * took:.3f} | {against} |"
        )
    return lines


def main(page: Path) -> None:
    """Write the section into the page."""
    Kernel.__call__ = _count  # type: ignore[method-assign]
    cublas.library = lambda: _Library()
    kept = page.read_text(encoding="utf-8").partition("## Expected")[0].rstrip()
    text = "\n".join([kept, "", *table(), ""])
    page.write_text(text, encoding="utf-8")
    print("\n".join(table()))


def _count(kernel: Kernel, grid: Any, block: Any, args: Any) -> None:
    if tape.work is not None:
        tape.names.append(kernel.name)
        tape.moved += sum(a._array.nbytes for a in args if isinstance(a, standin.ndarray))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
