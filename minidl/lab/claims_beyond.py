"""Beyond the article: remedies that it does not name, under the same test."""

import math

import numpy as np

from .claims_cures import SETUP_AB
from .claims_judge import judge, lost, promise, score, seeds, tallied, tally, trained
from .cnn import HEALTHY, A, B, Recipe, signals
from .registry import Check, Result, experiment


@experiment(
    name="claim-batch-norm",
    number="C10",
    title="Beyond the article: BatchNorm prevents exploding gradients",
    source="Ioffe and Szegedy 2015; Yang et al. 2019",
    setup=SETUP_AB + " BatchNorm after every convolution. Growth: 12 layers of 32 channels.",
    prediction="A and B train, and the gradient does not grow from layer to layer",
)
def batch_norm(seed: int, quick: bool) -> Result:
    which = seeds(seed, quick)
    results = tally(
        {"A": A, "A, BatchNorm": A.but(body="batch_norm"),
         "B": B, "B, BatchNorm": B.but(body="batch_norm")},
        which,
    )  # fmt: skip
    a, b = results["A, BatchNorm"], results["B, BatchNorm"]
    growth = {}
    for name, body in (("plain", "plain"), ("BatchNorm", "batch_norm")):
        deep = Recipe(depth=12, width=32, body=body)
        logs = np.median([np.log(signals(deep, s)[1]) for s in which], axis=0)
        growth[name] = math.exp((logs[1] - logs[-1]) / (deep.depth - 2))
    promises = [
        promise("A, BatchNorm", a),
        promise("B, BatchNorm", b),
        Check("BatchNorm: gradient's growth per layer", 1.0, growth["BatchNorm"], high=1.05),
    ]
    shown = tallied("BatchNorm after every convolution", results)
    shown["rows"] += [
        {"setup": f"He, {name}", "gradient's growth per layer": value}
        for name, value in growth.items()
    ]
    return Result(
        promises,
        judge(promises),
        f"A: {score(a)}, the scale of the weights no longer matters. B: {score(b)} ({lost(b)}). It "
        f"makes the gradient grow {growth['BatchNorm']:.3f} times per layer (plain He layers: "
        f"{growth['plain']:.3f}; theory without borders: √(π/(π−1)) = 1.211).",
        **shown,
    )


@experiment(
    name="claim-steps",
    number="C11",
    title="Beyond the article: smaller or smarter steps prevent exploding gradients",
    source="Brock et al. 2021; Kingma and Ba 2015; Goyal et al. 2017; You et al. 2017",
    setup=SETUP_AB + " Adaptive clipping at 0.01·‖w‖ per unit, the head left out; Adam at rate "
    "0.01; warm-up over 50 steps; LARS with trust 0.1.",
    prediction="A trains with each of them; B with adaptive clipping",
)
def steps(seed: int, quick: bool) -> Result:
    adaptive = {"clip": ("adaptive", 0.01)}
    results = tally(
        {
            "A, adaptive clip": A.but(**adaptive),
            "B, adaptive clip": B.but(**adaptive),
            "A, Adam": A.but(optimizer="adam", rate=0.01),
            "A, warm-up": A.but(schedule="warmup"),
            "A, LARS": A.but(optimizer="lars"),
        },
        seeds(seed, quick),
    )
    promises = [promise(name, found) for name, found in results.items()]
    return Result(
        promises,
        judge(promises),
        f"Adaptive clipping: A {score(results['A, adaptive clip'])}, B "
        f"{score(results['B, adaptive clip'])}. Adam, warm-up and LARS on A: "
        + ", ".join(score(results[f"A, {n}"]) for n in ("Adam", "warm-up", "LARS"))
        + ". What bounds or rescales the step leaves the forward pass as it is.",
        **tallied("Remedies that act on the step", results),
    )


@experiment(
    name="claim-residual",
    number="C12",
    title="Beyond the article: residual branches prevent exploding gradients",
    source="He et al. 2016; Zhang, Dauphin and Ma 2019",
    setup="LAB-CNN of 8 convolutions of 16 channels, the last 6 as x + a·conv(relu(x)); SGD, batch "
    "64, 200 steps, rate 0.1. He weights, or A: N(0, 0.3²).",
    prediction="with a = 1 the loss starts no larger, and as many train as without; A trains",
)
def residual(seed: int, quick: bool) -> Result:
    scaled = 1 / math.sqrt(HEALTHY.depth - 2)
    results = tally(
        {
            "He, plain": HEALTHY,
            "He, a = 1": HEALTHY.but(body="residual"),
            "He, a = 1/√6": HEALTHY.but(body="residual", branch=scaled),
            "A, a = 1": A.but(body="residual"),
            "A, a = 1/√6": A.but(body="residual", branch=scaled),
        },
        seeds(seed, quick),
    )
    plain, one, small = (results[n] for n in ("He, plain", "He, a = 1", "He, a = 1/√6"))
    start = [float(np.median([run.losses[0] for run in found])) for found in (plain, one, small)]
    promises = [
        Check("He: loss at the start, a = 1", start[0], start[1], high=1.1 * start[0]),
        Check("He, a = 1: runs trained, beside plain", trained(plain), trained(one),
              low=trained(plain)),
        promise("He, a = 1/√6", small),
        promise("A, a = 1", results["A, a = 1"]),
        promise("A, a = 1/√6", results["A, a = 1/√6"]),
    ]  # fmt: skip
    return Result(
        promises,
        judge(promises),
        f"A full branch adds its own signal: the loss starts at {start[1]:.2g} instead of "
        f"{start[0]:.2g}, and {score(one)} (plain: {score(plain)}). Scaled by 1/√6: {start[2]:.2g}"
        f", {score(small)}. On A: {score(results['A, a = 1'])}, scaled "
        f"{score(results['A, a = 1/√6'])}.",
        **tallied("Residual branches", results),
    )
