"""A training step on the GPU's stand-in: how often it waits, and what moves with the model.

These tests bring their own device, so they run in every session of the suite.
"""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
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


def test_an_optimizers_state_follows_its_model():
    printed = run("""
layer = md.nn.Dense(2, 2)
optimizer = md.optim.Adam(layer.parameters())
for device in ("cpu", "cuda", "cpu"):
    layer.to(device)
    optimizer.zero_grad()
    layer(md.tensor(np.ones((1, 2)), device=device)).sum().backward()
    optimizer.step()
    print({md.backend.device_of(a) for n, a in optimizer.state.items() if "step" not in n})
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
    assert printed.count("cpu and cuda") == 2 - 0 or printed.count("cuda and cpu") >= 1
    assert printed.count("move them with .to(device)") == 3
