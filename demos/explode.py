"""Watch gradients explode in two ways, hear the doctor before the first step, try every cure.

Run: python demos/explode.py   (about half a minute)
"""

import itertools
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import minidl as md

OUT = Path("runs/demos/explode.png")
LARGE, HE = md.nn.init.normal(0.3), "he_normal"  # LARGE: each layer multiplies by about 2.4
REGIMES = {  # the doctor's name of the regime: (title, weights, rate, the cures that work)
    "signal explodes": ("A: N(0, 0.3²), rate 0.1", LARGE, 0.1, {"BatchNorm", "weight norm", "He"}),
    "rate too high": ("B: He weights, rate 1", HE, 1.0, {"rate/10", "clip norm at 1"}),
}
CURES = {  # name: (a change to the network, a change to the training)
    "no cure": ({}, {}), "rate decay": ({}, {"decay": 0.5}), "rate/10": ({}, {"slower": 10}),
    "clip norm at 1": ({}, {"clip": 1.0}), "BatchNorm": ({"batch_norm": True}, {}),
    "weight norm": ({"row_length": 2**0.5}, {}), "He": ({"weights": HE}, {}),
}  # fmt: skip
digits, test = md.data.digits().split(0.2, seed=0)
digits, test = (part.map(md.data.standardize(digits.images)) for part in (digits, test))


def network(weights, batch_norm=False, row_length=None):
    """Eight convolutions 3×3 with ReLU (the first two halve the image), then a dense layer."""
    md.manual_seed(0)
    layers = []
    for i in range(8):
        stride, channels = 2 if i < 2 else 1, 16 if i else 1
        layers.append(md.nn.Conv2d(channels, 16, 3, stride=stride, padding=1, init=weights))
        layers += [md.nn.BatchNorm2d(16), md.nn.ReLU()] if batch_norm else [md.nn.ReLU()]
    layers += [md.nn.Flatten(), md.nn.Dense(16 * 7 * 7, 10, init=weights)]
    for layer in layers:
        if row_length and isinstance(layer, md.nn.Conv2d | md.nn.Dense):
            md.nn.weight_norm(layer, row_length)  # w = g·v/‖v‖
    return md.nn.Sequential(*layers)


@np.errstate(all="ignore")  # overflow is the subject
def train(model, rate, decay=1.0, slower=1, clip=None):
    """(the loss of each step, the accuracy on the test images); ends at a NaN."""
    optimizer, losses = md.optim.SGD(model.parameters(), rate), []
    loader = md.data.DataLoader(digits, 64, shuffle=True, seed=1, drop_last=True)
    for step, (x, labels) in zip(range(150), itertools.chain(*[loader] * 7), strict=False):
        loss = md.ops.cross_entropy(model(x), labels)
        losses.append(loss.item())
        if not np.isfinite(losses[-1]):
            return losses, np.nan
        optimizer.zero_grad()
        loss.backward()
        if clip:
            md.optim.clip_grad_norm(model.parameters(), clip)
        optimizer.lr = rate / slower * decay ** (step // 50)
        optimizer.step()
    return losses, (model.eval()(test.images).numpy().argmax(1) == test.labels).mean()


figure = Figure(figsize=(11, 7.6), layout="constrained")
axes = figure.subplots(2, 2, sharey="row", height_ratios=(1, 1.5))
for regime, (above, below) in zip(REGIMES, axes.T, strict=True):
    name, weights, rate, cured = REGIMES[regime]
    for kind, model in {"He weights": network(HE), name: network(weights)}.items():
        x, sizes = digits.images[:64], []
        for layer in model.layers:
            x = layer(x)
            sizes += [np.sqrt((x.numpy() ** 2).mean())] * isinstance(layer, md.nn.Conv2d)
        above.semilogy(range(1, 9), sizes, "o-", label=kind)
    optimizer = md.optim.SGD(model.parameters(), rate)
    said = md.health.doctor(model, (digits.images[:64], digits.labels[:64]), optimizer)
    print(f"\n{name}\n  doctor, before the first step: {said.verdict} ({said.regime})")
    assert (said.verdict, said.regime) == ("will diverge", regime)
    for cure, (to_network, to_training) in CURES.items():
        model = network(**{"weights": weights} | to_network)
        losses, right = train(model, rate, **to_training)
        end = f"{right:.0%} right" if right >= 0 else f"NaN at step {len(losses)}"
        print(f"  {cure:<15} {end:<13} losses", *(f"{loss:.3g}" for loss in losses[:5]))
        below.loglog(range(1, len(losses) + 1), losses, label=f"{cure}: {end}")
        assert (np.median(losses[-20:]) < 1) == (cure in cured), cure
    above.set(title=name, xlabel="convolution", ylabel="output before the first step (rms)")
    below.set(ylim=(0.02, 1e9), xlabel="step", ylabel="loss of the batch (nats)")
    above.legend(), below.legend(loc="upper right")
OUT.parent.mkdir(parents=True, exist_ok=True)
figure.savefig(OUT)
print("\nWeights that are too large need a smaller scale, a rate that is too high a smaller step.")
print(f"No cure helps with both. Figure: {OUT}")
