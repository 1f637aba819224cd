"""From measurements to findings, and from findings to a verdict, a regime and a remedy.

Every bound stands here once; those on the first update are in change.py.
"""

import itertools
from math import exp, inf, isfinite, log
from typing import TYPE_CHECKING, Any

from .. import nn
from . import theory
from .change import CHANGE_AMBER, expected_change, strain, total_change, trial_says
from .probe import Passage
from .remedies import INPUT_AMBER, as_prescribed, init, remedy, safe_rate
from .report import Finding, Report

if TYPE_CHECKING:
    from .measure import Measurements

LOSS_AMBER = 10.0
GROWTH_AMBER = 1.5
DEAD_AMBER, DEAD_RED = 0.5, 0.999
VANISHED = 1e-2
SPREAD_AMBER = 1.5


def judge(m: "Measurements") -> Report:
    """The findings for these measurements, and what they add up to."""
    rows = layer_rows(m)
    weighted = [p for p in m.passages if p.weighted]
    change = expected_change(m)
    inner = [p for p in weighted[:-1] if p.name not in m.normalised]
    signal = _growth([p.out_scale for p in inner])
    findings = [
        *_not_finite(m),
        *_rate(m, change),
        *_trial(m),
        *_overshoot(m),
        *_signal(m, inner, signal),
        *_dead(m, weighted),
        *_vanishing(m, weighted, change),
        *_architecture(m, weighted),
    ]
    codes = {f.code for f in findings if f.severity == "red"}
    stalls = codes & {"dead", "vanishing"}
    scales = {"non-finite", "input-scale"}
    if not as_prescribed(m, weighted):
        scales |= {"initial-loss", "forward-growth"}
    explodes = any(f.code in scales for f in findings)
    if codes - stalls:
        verdict = "will diverge"
        regime = "signal explodes" if explodes else "rate too high"
    elif stalls:
        verdict, regime = "will not learn", "dead" if "dead" in stalls else "signal vanishes"
    elif findings:
        verdict = "watch"
        amber = any(f.code == "update-ratio" for f in findings)
        regime = "signal explodes" if explodes else "rate too high" if amber else "none"
    else:
        verdict, regime = "healthy", "none"
    numbers = {
        "loss": m.loss,
        "chance": m.chance,
        "change": total_change(m),
        "expected_change": change,
        "strain": strain(m).value,
        "largest_strain": strain(m).bound,
        "signal_growth": signal,
        "input_scale": m.input_scale,
        "logit_scale": m.logit_scale,
        "gradient": m.gradient,
    }
    beta, spread = theory.seed_spread([theory.fan_in(p.layer) for p in weighted])
    numbers |= {"beta": beta, "seed_spread": spread}
    return Report(verdict, regime, findings, rows, numbers, remedy(m, regime, change))


def layer_rows(m: "Measurements") -> list[dict[str, Any]]:
    """Each layer's scales beside what theory predicts from its own weights and input."""
    return [
        {
            "layer": p.name,
            "type": type(p.layer).__name__,
            "weighted": p.weighted,
            "signal": p.out_scale,
            "predicted": predicted,
            "gradient": p.gradient_scale,
            "update_ratio": m.step.ratios.get(p.name) if p.weighted else None,
            "dead": p.dead,
        }
        for p, predicted in zip(m.passages, m.predictions, strict=True)
    ]


def _growth(scales: list[float]) -> float:
    """The geometric mean of the growth from one to the next."""
    if len(scales) < 2 or scales[0] <= 0 or scales[-1] <= 0 or any(s != s for s in scales):
        return 1.0
    return inf if inf in scales else exp(log(scales[-1] / scales[0]) / (len(scales) - 1))


def _not_finite(m: "Measurements") -> list[Finding]:
    for p in m.passages:
        if not isfinite(p.out_scale):
            return [
                Finding(
                    *("non-finite", p.name, p.out_scale, None, inf),
                    "The forward pass overflows before the first step: this is the first layer "
                    "whose output is not finite.",
                    "use a variance-preserving initialisation and inputs of scale 1",
                    "red",
                )
            ]
    if not isfinite(m.loss) or not isfinite(m.gradient):
        return [
            Finding(
                *("non-finite", "model", m.gradient, None, inf),
                "Loss or gradient of the first batch is not finite.",
                "use a variance-preserving initialisation and inputs of scale 1",
                "red",
            )
        ]
    return []


def _rate(m: "Measurements", change: float) -> list[Finding]:
    now, (convicted, cleared) = strain(m), trial_says(m)
    red = convicted or (now.value > now.bound and not cleared)
    if m.rate is None or not (red or change > CHANGE_AMBER):
        return []
    worst = max(m.step.ratios, key=lambda name: m.step.ratios[name])
    tried = [strain(m, step) for step in m.trial] if convicted else []
    said = max([now, *tried], key=lambda s: s.value)
    return [
        Finding(
            *("update-ratio", worst, said.value if red else change, None),
            said.bound if red else CHANGE_AMBER,
            f"The first update changes the layers' weights by {total_change(m):.2g} of their size "
            f"in all, most in this one ({m.step.ratios[worst]:.2g}); once training is under way it "
            f"is {change:.2g}. What decides is {said.meaning}: {said.value:.2g}; "
            f"random networks like this one diverged above {said.bound:.2g} and seldom below.",
            f"lower the learning rate to about {safe_rate(m, change):.2g}, or clip the gradient's "
            "norm, if the scale of the signal is right; else mend that first",
            "red" if red else "amber",
        )
    ]


def _trial(m: "Measurements") -> list[Finding]:
    losses = [step.loss for step in m.trial]
    last = losses[-1] if losses and losses[-1] == losses[-1] else inf
    if not trial_says(m)[0]:
        return []
    return [
        Finding(
            *("trial-loss", "model", last, m.loss, max(m.loss, m.chance)),
            f"The loss rose to this in {len(m.trial)} trial steps, which were undone, and has not "
            "come back.",
            "lower the learning rate, or mend the scale of the signal if that is wrong too",
            "red",
        )
    ]


def _overshoot(m: "Measurements") -> list[Finding]:
    """Steps past the minimum along the gradient, further each time.

    Of a quadratic loss with curvature λ, g' = (1 - αλ)g: it diverges where αλ > 2(1 + μ). The
    gradient of a cross-entropy is bounded, and comes back from the first such step.
    """
    turns = [-t for t in m.turns]
    known = m.chance == m.chance or m.adaptive or m.step.room < inf
    bound = 1 + 2 * m.momentum
    if known or len(turns) < 2 or not all(t > bound for t in turns):
        return []
    return [
        Finding(
            *("overshoot", "model", min(turns), None, bound),
            "Each of the first steps, which were undone, turns the gradient round and makes it "
            "this many times as large.",
            f"lower the learning rate to about {safe_rate(m, expected_change(m)):.2g}",
            "red",
        )
    ]


def _signal(m: "Measurements", inner: list[Passage], growth: float) -> list[Finding]:
    found = []
    if m.input_scale > INPUT_AMBER:
        found.append(
            Finding(
                *("input-scale", "model", m.input_scale, 1.0, INPUT_AMBER),
                "The images' root mean square. Pixels of 0 to 255 give 60 to 150; the largest "
                "stable rate falls with its square.",
                "scale the images to [0, 1] or standardise them",
            )
        )
    if m.loss > LOSS_AMBER * m.chance:
        found.append(
            Finding(
                *("initial-loss", "model", m.loss, m.chance, LOSS_AMBER * m.chance),
                "An untrained network should be as good as a guess, ln K: it is this sure and "
                "wrong because its logits are too large.",
                f"initialise with {init(m)}, which keeps the signal's scale from layer to layer",
            )
        )
    if growth > GROWTH_AMBER:
        pairs = itertools.pairwise(inner)
        _, steepest = max(pairs, key=lambda pair: pair[1].out_scale / (pair[0].out_scale or 1e-300))
        found.append(
            Finding(
                *("forward-growth", steepest.name, growth, 1.0, GROWTH_AMBER),
                "The signal's scale is multiplied by this from one weighted layer to the next, "
                "and so is the gradient's on its way back.",
                f"initialise with {init(m)}",
            )
        )
    return found


def _dead(m: "Measurements", weighted: list[Passage]) -> list[Finding]:
    if m.gradient == 0 and isfinite(m.loss):
        dead = [p.name for p in m.passages if p.dead > DEAD_RED]
        return [
            Finding(
                *("dead", dead[0] if dead else "model", 1.0, 0.5, DEAD_RED),
                "Every gradient is exactly 0: no unit of this layer is above 0 for any image, so "
                "nothing can ever change.",
                f"initialise the weights with {init(m)} and the biases with 0",
                "red",
            )
        ]
    found = []
    for p in m.passages:
        red = p.dead > DEAD_RED
        # Half of all units are 0 for a single image, and that is as it should be.
        if red or (p.dead >= DEAD_AMBER and p.out_shape[0] > 1):
            found.append(
                Finding(
                    *("dead" if red else "dead-units", p.name, p.dead, None),
                    DEAD_RED if red else DEAD_AMBER,
                    "This share of the units is 0 for every image of the batch and learns nothing"
                    " from it.",
                    f"initialise with {init(m)} and biases of 0, or use LeakyReLU; lower the rate",
                    "red" if red else "amber",
                )
            )
    return found


def _vanishing(m: "Measurements", weighted: list[Passage], change: float) -> list[Finding]:
    weighted = [p for p in weighted if p.layer.weight.data.any()]  # type: ignore[attr-defined]
    if m.gradient == 0 or len(weighted) < 2 or not isfinite(m.loss):
        return []
    first, last = weighted[0], weighted[-1]
    left = last.out_scale / first.out_scale if first.out_scale else 1.0
    if left >= VANISHED or m.logit_scale > VANISHED * 10:
        return []
    return [
        Finding(
            *("vanishing", last.name, left, 1.0, VANISHED),
            "So little of the signal's scale at the first layer is left at the last: the output "
            "hardly depends on the image, and the gradient vanishes on its way back.",
            f"initialise with {init(m)}",
            "red",
        )
    ]


def _architecture(m: "Measurements", weighted: list[Passage]) -> list[Finding]:
    found = []
    _, spread = theory.seed_spread(
        [theory.fan_in(p.layer) for p in weighted if p.name not in m.normalised]
    )
    if spread > SPREAD_AMBER:
        found.append(
            Finding(
                *("seed-spread", "model", spread, None, SPREAD_AMBER),
                "√(5β), β = Σ 1/fan_in: one standard deviation of ln ‖x‖² between seeds, so some "
                "seeds start far too large and others far too small.",
                "widen the layers or use fewer of them",
            )
        )
    norms = sum(isinstance(p.layer, nn.BatchNorm2d) for p in m.passages)
    growth = theory.BATCH_NORM_GROWTH**norms
    if growth > 10 and not m.residual:
        found.append(
            Finding(
                *("batchnorm-growth", "model", growth, growth, 10.0),
                f"{norms} BatchNorm layers enlarge the gradient by 1.21 each at the start.",
                "warm the rate up, or add residual connections",
            )
        )
    return found
