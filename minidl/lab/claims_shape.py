"""What the article says about the shape of a network: depth, width, number of parameters."""

import math
from typing import Any

import numpy as np

from .claims_judge import judge, lost, promise, score, seeds, tallied, tally, trained
from .cnn import HEALTHY, A, B, Recipe, build, gradient_norm, signals
from .registry import Check, Result, experiment


@experiment(
    name="claim-deeper",
    number="C4",
    title="Deeper networks are less prone to exploding gradients",
    source="the article",
    setup="LAB-CNN of 16 channels, He weights, rate 0.1, SGD, batch 64, 200 steps.",
    prediction="the deepest network trains at least as often as the shallowest",
)
def deeper(seed: int, quick: bool) -> Result:
    depths = (3, 24) if quick else (3, 8, 16, 32)
    results = tally({f"L = {n}": HEALTHY.but(depth=n) for n in depths}, seeds(seed, quick))
    first, last = (results[f"L = {n}"] for n in (depths[0], depths[-1]))
    promises = [
        Check(
            f"L = {depths[-1]}: runs trained of {len(last)}, beside L = {depths[0]}",
            predicted=trained(first),
            measured=trained(last),
            low=trained(first),
        )
    ]
    parts = [f"L = {n}: {score(results[f'L = {n}'])}" for n in depths]
    return Result(
        promises,
        judge(promises, opposite=trained(last) < trained(first)),
        f"{'; '.join(parts)}. Depth multiplies whatever each layer does; it adds trouble and "
        f"takes none away (the deepest: {lost(last)}).",
        **tallied("Depth, with good weights and a good rate", results),
    )


@experiment(
    name="claim-wider",
    number="C5",
    title="Wider networks are less prone to exploding gradients",
    source="the article; Hanin and Rolnick 2018",
    setup="LAB-CNN of 8 convolutions. The spread is the standard deviation over seeds of "
    "ln ‖gradient‖ before the first step; fixed weights are N(0, 0.12²) at every width.",
    prediction="with width the spread falls, the fixed-σ gradient does not grow, A and B train",
)
def wider(seed: int, quick: bool) -> Result:
    which = seeds(seed, quick)
    many = range(which.start, which.start + (12 if quick else 40))
    narrow, wide = 4, 64
    widths = (narrow, 16, wide)
    spread, fixed = [], []
    for width in widths:
        logs = [math.log(gradient_norm(Recipe(width=width), s)) for s in many]
        spread.append(float(np.std(logs, ddof=1)))
        same = [gradient_norm(Recipe(width=width, init=0.12), s) for s in which]
        fixed.append(float(np.median(same)))
    a, b = f"A, C = {wide}", f"B, C = {wide}"
    results = tally({a: A.but(width=wide), b: B.but(width=wide)}, which)
    promises = [
        Check(
            "He: spread of ln ‖gradient‖, C = 64 over C = 4", 1.0, spread[-1] / spread[0], high=0.8
        ),
        Check("σ = 0.12: ‖gradient‖, C = 64 over C = 4", 1.0, fixed[-1] / fixed[0], high=1.0),
        *(promise(name, found) for name, found in results.items()),
    ]
    shown = tallied("", results)
    shown["rows"] += [
        {"setup": f"C = {c}", "He: spread of ln ‖g‖": s, "σ = 0.12: ‖g‖": f}
        for c, s, f in zip(widths, spread, fixed, strict=True)
    ]
    shown["series"] = {
        "title": "Width: the spread falls only if weights are scaled by fan-in",
        "x": "channels C",
        "y": "before the first step",
        "lines": {
            "He: spread of ln ‖gradient‖ over seeds": (list(widths), spread),
            "σ = 0.12: median ‖gradient‖": (list(widths), fixed),
        },
        "log_x": True,
        "log_y": True,
    }
    return Result(
        promises,
        judge(promises),
        f"With He weights the spread of ln ‖gradient‖ over {len(many)} seeds goes {spread[0]:.2f} "
        f"→ {spread[-1]:.2f} from C = 4 to 64. At a fixed σ width makes it worse: ‖gradient‖ goes "
        f"{fixed[0]:.2g} → {fixed[-1]:.2g}. A: {score(results[a])}, B: "
        f"{score(results[b])} at C = 64.",
        **shown,
    )


@experiment(
    name="claim-weights-accumulate",
    number="C8",
    title="Weights accumulate across layers",
    source="the article; He et al. 2015, eq. 9 and 14",
    setup="LAB-CNN of 12 convolutions of 32 channels; weights are He's times 0.5, 1, 2. Growth per "
    "layer of the output, and of the gradient coming back, over the 10 layers on 7×7 pixels.",
    prediction="each layer multiplies both by √(σ²·fan_in/2)·(1 + 2cos(π/8))/3, within 5 %",
)
def weights_accumulate(seed: int, quick: bool) -> Result:
    depth, width, pixels = 12, 32, 7
    padding = (1 + 2 * math.cos(math.pi / (pixels + 1))) / 3
    which = seeds(seed, quick)
    checks, rows, lines, theory = [], [], {}, {}
    layers = list(range(2, depth + 1))
    for factor in (0.5, 1.0, 2.0):
        recipe = Recipe(depth=depth, width=width, init=factor * math.sqrt(2 / (9 * width)))
        found = [signals(recipe, s) for s in which]
        forward = np.median([np.log(z) for z, _ in found], axis=0)[1:]
        backward = np.median([np.log(g) for _, g in found], axis=0)[1:]
        steps = depth - 2
        out = math.exp((forward[-1] - forward[0]) / steps)
        back = math.exp((backward[0] - backward[-1]) / steps)
        gain = factor * padding
        for way, measured in (("output", out), ("gradient", back)):
            what = f"He × {factor:g}: {way}'s growth per layer"
            checks.append(Check(what, gain, measured, 0.05 * gain))
        total = math.exp(forward[-1] - forward[0])
        row = {"predicted": gain, "output": out, "gradient": back, "over 10 layers": total}
        rows.append({"weights": f"He × {factor:g}"} | row)
        start = math.exp(forward[0])
        lines[f"He × {factor:g}"] = (layers, [math.exp(v) for v in forward])
        theory[f"He × {factor:g}, predicted"] = (
            layers,
            [start * gain**k for k in range(steps + 1)],
        )
    return Result(
        checks,
        judge(checks),
        f"They multiply: layer by layer the measured growth is within "
        f"{max(abs(c.measured / c.predicted - 1) for c in checks):.1%} of σ's gain. Twice the "
        f"weights are {total:.3g} times the signal after 10 layers.",
        rows,
        {
            "title": "The signal is multiplied in every layer",
            "x": "convolution",
            "y": "root mean square of its output",
            "lines": lines,
            "predicted": theory,
            "log_y": True,
        },
    )


@experiment(
    name="claim-more-parameters",
    number="C9",
    title="More parameters make exploding gradients worse",
    source="the article",
    setup="LAB-CNN with weights N(0, 0.09²); ‖gradient‖ by the kernels before the first step.",
    prediction="equal counts give gradients within a factor of 10, more parameters larger ones",
)
def more_parameters(seed: int, quick: bool) -> Result:
    which = seeds(seed, quick)
    rows: list[dict[str, Any]] = []
    for depth, width in ((4, 32), (16, 16), (64, 8), (4, 16), (64, 16)):
        recipe = Recipe(depth=depth, width=width, init=0.09)
        norm = float(np.median([gradient_norm(recipe, s) for s in which]))
        count = sum(p.size for p in build(recipe, seed).parameters())
        rows.append({"L": depth, "C": width, "parameters": count, "‖gradient‖": norm})
    counts = [row["parameters"] for row in rows]
    norms = [row["‖gradient‖"] for row in rows]
    share = counts[4] / counts[3]
    promises = [
        Check(
            "equal counts: largest ‖gradient‖ over smallest",
            predicted=1.0,
            measured=max(norms[:3]) / min(norms[:3]),
            high=10.0,
        ),
        Check(
            f"C = 16, {share:.0f} times the parameters: ‖gradient‖ over that before",
            predicted=share,
            measured=norms[4] / norms[3],
            low=1.0,
        ),
    ]
    return Result(
        promises,
        judge(promises),
        f"With about {np.mean(counts[:3]):,.0f} parameters each and the same σ, ‖gradient‖ is "
        + ", ".join(f"{norm:.2g}" for norm in norms[:3])
        + f" for L = 4, 16, 64: depth times gain decides, not the count. At C = 16, {share:.0f} "
        f"times the parameters change it by a factor of {promises[1].measured:.2g}.",
        rows,
        {
            "title": "Gradients do not follow the number of parameters (σ = 0.09)",
            "x": "parameters",
            "y": "‖gradient‖ before the first step",
            "lines": {
                "equal counts: (L, C) = (4, 32), (16, 16), (64, 8)": (counts[:3], norms[:3]),
                "C = 16: L = 4, 16, 64": (
                    [counts[3], counts[1], counts[4]],
                    [norms[3], norms[1], norms[4]],
                ),
            },
            "log_x": True,
            "log_y": True,
        },
    )
