"""A network of 12 layers that learns nothing with the defaults of Keras; a search finds what helps.

Run: python demos/search.py   (about a minute)

Keras's defaults are Glorot's weights and gradient descent at a rate of 0.01. Each ReLU layer then
halves the mean square of the signal, so that almost no gradient comes back. `md.search` draws other
settings, asks the gradient doctor about each, and trains those that he does not refuse.
"""

import shutil
from pathlib import Path

from matplotlib.figure import Figure

import minidl as md

OUT = Path("runs/demos/search")
DEPTH, WIDTH, BATCH, EPOCHS = 12, 8, 64, 4
SPACE = {
    "init": ["xavier_uniform", "he_normal"],
    "init-scale": {"low": 0.3, "high": 2.0, "log": True},
    "optimizer": ["sgd", "momentum", "adam"],
    "lr": {"low": 1e-3, "high": 0.3, "log": True},
    "schedule": "constant", "warmup": 0, "clip": "none", "body": "plain",
    "weight-decay": 0.0, "batch-size": BATCH, "augment": "none",
}  # fmt: skip
train, test = md.data.digits().split(0.2, seed=0)


def network(init):
    """Twelve convolutions 3×3 with ReLU, the first two of stride 2, and a dense layer."""
    md.manual_seed(0)
    layers = []
    for i in range(DEPTH):
        stride, channels = 2 if i < 2 else 1, WIDTH if i else 1
        layers.append(md.nn.Conv2d(channels, WIDTH, 3, stride=stride, padding=1, init=init))
        layers.append(md.nn.ReLU())
    return md.nn.Sequential(*layers, md.nn.Flatten(), md.nn.Dense(WIDTH * 49, 10, init=init))


def descend(model, optimizer):
    """(the loss of each step, the accuracy on the test images at the end)."""
    losses = []
    for epoch in range(EPOCHS):
        for images, labels in md.data.DataLoader(train, BATCH, shuffle=True, seed=epoch):
            loss = md.ops.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses, (model(test.images).numpy().argmax(1) == test.labels).mean()


model = network("xavier_uniform")
optimizer = md.optim.SGD(model.parameters(), 0.01)
said = md.health.doctor(model, (train.images[:BATCH], train.labels[:BATCH]), optimizer)
before, guessed = descend(model, optimizer)
print(f"Glorot's weights, SGD at 0.01: {guessed:.1%} right; the doctor said: {said.verdict}")

shutil.rmtree(OUT, ignore_errors=True)
search = md.search(
    SPACE, "digits", model="deep_plain_cnn", depth=DEPTH, width=WIDTH, epochs=EPOCHS,
    out=OUT, trials=16, best_seeds=0,
)  # fmt: skip
summary, best = search.summary, search.best
print(f"\n{summary.counts}; refused: {sorted({row.code for row in summary.refused})}")
print(f"the best: {best.init}, {best.optimizer} at {best.lr:.3g}; the page: {search.report()}")

name, _, gain = best.init.partition(":")
model = network(getattr(md.nn.init, name)(gain=float(gain)))
momentum = {"momentum": {"momentum": 0.9}}.get(best.optimizer, {})
rule = md.optim.Adam if best.optimizer == "adam" else md.optim.SGD
after, found = descend(model, rule(model.parameters(), best.lr, **momentum))
print(f"the same network with these settings: {found:.1%} right")
assert guessed < 0.2 and said.verdict == "will not learn"
assert found > 0.7 and summary.refused

figure = Figure(figsize=(9, 4), layout="constrained")
left, right = figure.subplots(1, 2)
left.plot(before, label=f"Keras's defaults: {guessed:.0%}")
left.plot(after, label=f"what the search found: {found:.0%}")
left.set(title="the 12 layers of this file", xlabel="step", ylabel="loss of the batch (nats)")
for row in summary.rows:
    mark = "C0o" if row.options["init"] == "he_normal" else "C1o"
    mark = mark if row.outcome != "refused" else mark.replace("o", "x")
    right.semilogx(row.options["init-scale"], row.accuracy or 0, mark)
right.set(title="trials: blue He, orange Glorot, × refused", xlabel="scale", ylabel="accuracy")
left.legend()
figure.savefig(OUT.with_suffix(".png"))
print(f"\nA search finds only settings of its space. Figure: {OUT.with_suffix('.png')}")
