"""Ask the doctor about your own model before you train it, and take what it prescribes.

Run: python demos/doctor_your_model.py   (about ten seconds)
"""

from itertools import pairwise
from pathlib import Path

import minidl as md

OUT = Path("runs/demos")
OUT.mkdir(parents=True, exist_ok=True)
train, test = md.data.digits().split(0.2, seed=0)


class Mine(md.nn.Module):
    """A model of your own: anything with a forward."""

    def __init__(self, init):
        widths = (1, 16, 16, 32, 32)
        self.convs = [
            md.nn.Conv2d(a, b, 3, stride=2, padding=1, init=init) for a, b in pairwise(widths)
        ]
        self.head = md.nn.Dense(32 * 2 * 2, 10, init=init)

    def forward(self, x):
        for conv in self.convs:
            x = conv(x).relu()
        return self.head(md.ops.flatten(x, 1))


def consult(init, images, name):
    """A model with these initial weights, its optimizer, and the doctor's report on both."""
    md.manual_seed(0)
    model = Mine(init)
    optimizer = md.optim.SGD(model.parameters(), lr=0.1)
    report = md.health.doctor(model, (images[:64], train.labels[:64]), optimizer)
    print(f"\n{name}:\n\n{report.table()}")
    report.plot(OUT / f"doctor-{name}.png")
    report.to_json(OUT / f"doctor-{name}.json")
    return model, optimizer, report


# Two faults that are easy to make: pixels of 0..255, and a σ that ignores the fan-in.
_, _, before = consult(md.nn.init.normal(std=0.2), train.images * 255, "before")
# The doctor's prescription: inputs of scale 1, weights scaled by their fan-in.
standardise = md.data.standardize(train.images)
model, optimizer, after = consult("he_normal", standardise(train.images), "after")

for epoch in range(4):
    for images, labels in md.data.DataLoader(train, 64, shuffle=True, seed=epoch):
        loss = md.ops.cross_entropy(model(standardise(images)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
right = model(standardise(test.images)).numpy().argmax(1) == test.labels

assert before.verdict == "will diverge" and before.regime == "signal explodes"
assert after.verdict in ("healthy", "watch")
assert right.mean() > 0.9
print(f"\nbefore: {before.verdict}; after: {after.verdict}, four epochs give {right.mean():.1%}")
print(f"on unseen digits. Figures: {OUT}/doctor-before.png, {OUT}/doctor-after.png")
