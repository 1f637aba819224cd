"""A training step on the GPU's stand-in: how often it waits, and what moves with the model.

Each runs a program of its own, which has the stand-in for CuPy.
"""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.host
ROOT = Path(__file__).parents[2]
PROGRAM = """
import os
os.environ["MINIDL_CUDA_KERNELS"] = "0"
import numpy as np
import minidl as md
from tests import standin
standin.install()
{body}
"""


def run(body: str) -> str:
    """What a program prints that has the stand-in for CuPy, in a process of its own."""
    program = [sys.executable, "-c", PROGRAM.format(body=body)]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("optimizer", ["SGD", "RMSProp", "Adam", "AdamW"])
def test_no_training_step_waits_for_the_gpu_more_than_once(optimizer):
    printed = run(f"""
class Count:
    waits = []
    def before_step(self, trainer, step): standin.counter.clear()
    def after_update(self, trainer, step): self.waits.append(list(standin.counter.waited))
random = np.random.default_rng(0)
data = random.random((40, 1, 8, 8), np.float32), random.integers(0, 3, 40)
model = md.models.vgg_small(1, 8, 3)
optimizer = md.optim.{optimizer}(model.parameters(), 0.01)
trainer = md.Trainer(model, optimizer=optimizer, clip=0.1, monitors=[Count()], device="cuda")
trainer.fit(data, epochs=1, batch_size=8, progress=False)
print(Count.waits)
""")
    assert printed == str([["get"]] * 5)


def test_a_monitor_reads_once_too_and_sees_the_same():
    printed = run("""
random = np.random.default_rng(0)
data = random.random((40, 1, 8, 8), np.float32), random.integers(0, 3, 40)
tables = []
for device in ("cpu", "cuda"):
    class Count:
        def before_step(self, trainer, step): standin.counter.clear()
        def after_update(self, trainer, step): self.waits = len(standin.counter.waited)
    md.manual_seed(0)
    model = md.models.article_cnn(size=8, classes=3)
    monitor, count = md.health.GradientMonitor(model, sample=64), Count()
    trainer = md.Trainer(model, optimizer=md.optim.SGD(model.parameters(), 0.01), clip=0.1,
                         monitors=[monitor, count], device=device, seed=0)
    trainer.fit(data, epochs=1, batch_size=8, progress=False)
    tables.append(np.array([[v for v in row.values() if not isinstance(v, str)]
                            for row in monitor.rows]))
    print(count.waits)
np.testing.assert_allclose(*tables, rtol=1e-3, atol=1e-6)
""")
    assert printed.split() == ["0", "2"]


def test_an_optimizers_state_follows_its_model():
    printed = run("""
layer = md.nn.Dense(2, 2)
optimizer = md.optim.Adam(layer.parameters())
for device in ("cpu", "cuda", "cpu"):
    layer.to(device)
    optimizer.zero_grad()
    layer(md.tensor(np.ones((1, 2)), device=device)).sum().backward()
    optimizer.step()
    print({md.device.device_of(a) for n, a in optimizer.state.items() if "step" not in n})
""")
    assert printed.split() == ["{'cpu'}", "{'cuda'}", "{'cpu'}"]


def test_mixing_devices_names_both():
    printed = run("""
on, off = md.tensor([1.0], device="cuda"), md.tensor([2.0])
for f in (lambda: on + off, lambda: md.ops.matmul(off, on), lambda: md.nn.Dense(1, 1)(on)):
    try:
        f()
    except md.errors.DeviceError as error:
        print(error)
""")
    lines = printed.splitlines()
    assert [line.split(":")[0] for line in lines] == ["add", "matmul", "linear"]
    for line in lines:
        assert "cpu and cuda" in line or "cuda and cpu" in line
        assert "move them with .to(device)" in line


def test_out_of_memory_says_which_batch_fits():
    printed = run("""
zeros = standin.module.zeros
def limited(shape, *args, **kwargs):
    if np.prod(shape) > 6 * 32 * 8 * 8:
        raise standin.OutOfMemoryError("Out of memory allocating 1 byte")
    return zeros(shape, *args, **kwargs)
standin.module.zeros = limited
data = np.zeros((40, 1, 8, 8), np.float32), np.zeros(40, int)
model = md.models.article_cnn(size=8)
trainer = md.Trainer(model, optimizer=md.optim.SGD(model.parameters(), 0.1), device="cuda")
try:
    trainer.fit(data, epochs=1, batch_size=20, progress=False)
except md.errors.DeviceError as error:
    print(error)
""")
    assert "'cuda' does not hold a step with a batch of 20; a batch of 5 fits" in printed
    assert "Out of memory allocating" in printed


def test_the_command_line_trains_on_cuda(tmp_path):
    pytest.importorskip("click", reason="the command line needs click")
    pytest.importorskip("sklearn", reason="the digits come with scikit-learn")
    out = str(tmp_path / "run")
    run(f"""
from minidl.cli import cli
words = "train --data digits --epochs 1 --batch-size 256 --device cuda --out".split()
cli([*words, {out!r}], standalone_mode=False)
assert standin.counter.launched
cli(["evaluate", {out!r}], standalone_mode=False)
""")
    assert (tmp_path / "run" / "model.safetensors").exists()
