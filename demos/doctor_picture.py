"""The figure of docs/doctor.md: the doctor's report on a network that then explodes in training.

Run: python demos/doctor_picture.py   (a few seconds)
"""

import math
from pathlib import Path

import numpy as np

import minidl as md

OUT = Path("docs/figures/doctor.png")
digits = md.data.digits()
digits = digits.map(md.data.standardize(digits.images))

md.manual_seed(0)
weights = md.nn.init.normal(0.3)  # He would take σ = √(2/144) = 0.12 for 16 channels
layers = []
for i in range(8):
    stride, channels = 2 if i < 2 else 1, 16 if i else 1
    layers.append(md.nn.Conv2d(channels, 16, 3, stride=stride, padding=1, init=weights))
    layers.append(md.nn.ReLU())
model = md.nn.Sequential(*layers, md.nn.Flatten(), md.nn.Dense(784, 10, init=weights))
optimizer = md.optim.SGD(model.parameters(), lr=0.1)

report = md.health.doctor(model, (digits.images[:64], digits.labels[:64]), optimizer)
print(report.table())
OUT.parent.mkdir(parents=True, exist_ok=True)
report.plot(OUT)

losses = []
with np.errstate(all="ignore"):  # overflow is the subject
    for images, labels in md.data.DataLoader(digits, 64, shuffle=True, seed=10_000):
        loss = md.ops.cross_entropy(model(images), labels)
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

assert report.verdict == "will diverge" and report.regime == "signal explodes"
assert max(losses[1:]) > 1e6 or not math.isfinite(losses[-1])
print("\nand so it does. The loss, step by step:", *(f"{loss:.3g}" for loss in losses[:6]))
print(f"Figure: {OUT}")
