"""Stage 5: from numbers to findings, and from findings to a verdict and its cause, the regime.

Each rule compares one number with one bound. The bounds stand here; those of the strain stand in
strain.py. remedies.py adds the cure to each finding.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import exp, inf, isfinite, log
from typing import Any

from .. import nn
from . import theory
from .measure import Measurements
from .probe import LayerCall
from .strain import CHANGE_AMBER, expected_change, judge_trial, strain, total_change

INPUT_AMBER = 5.0  # RMS of the images
LOSS_AMBER = 10.0  # times the loss of a guess
GROWTH_AMBER = 1.5  # times, from one weighted layer to the next
DEAD_AMBER, DEAD_RED = 0.5, 0.999  # share of a layer's units
VANISHED = 1e-2  # share of the first layer's signal that is left at the last
VANISHED_GRADIENT = 5e-3  # share of the largest relative step that the first layer takes
FINEST = 1.2e-7  # the smallest relative step that float32 can take
SPREAD_AMBER = 1.5  # standard deviation of ln ‖x‖² between seeds
BATCH_NORM_AMBER = 10.0  # times

EXPLODES, FAST = "signal explodes", "rate too high"
VANISHES, DEAD, NONE = "signal vanishes", "dead", "none"
# The signs of each cause, by their codes, with their evidence: why the bound stands where it does.
SIGNS = {
    EXPLODES: {
        "non-finite": "The numbers overflow before the first step: {first}.",
        "input-scale": "The root mean square of the images. Pixels of 0 to 255 give 60 to 150. The "
        "larger it is, the smaller is the largest stable learning rate.",
        "forward-growth": "The signal grows by this factor from one layer with weights to the "
        "next: the average over all but the last one. It grows most in this layer. The gradient "
        "grows in the same way as it goes back.",
        "initial-loss": "An untrained network should be as good as a guess, whose loss is ln K. "
        "This one is sure of wrong answers, because its logits are too large.",
    },
    FAST: {
        "update-ratio": "In the first step, the ratios update/weight of all layers add up to "
        "{total:.2g}. The largest is this layer's, {largest:.2g}.{later} The strain decides. It "
        "says {meaning}: {strain:.2g}. Random networks like this one diverged above "
        "{critical:.2g} and seldom below.",
        "trial-loss": "The loss rose to this in {steps} trial steps, which were undone, and has "
        "not come back.",
        "overshoot": "Each of the first steps, which were undone, reverses the gradient and makes "
        "it this many times as large.",
    },
    VANISHES: {
        "vanishing": "Only this share of the first layer's signal is left at the last layer. The "
        "output hardly depends on the image, and the gradient vanishes on its way back.",
        "vanishing-gradient": "The first layer changes only by this share of what layer {fastest} "
        "changes by, relative to its weights: the gradient vanishes on its way back. Of random "
        "networks of sigmoids none learned below the bound.",
    },
    DEAD: {
        "dead": "No gradient gets through: this share of the units is 0 for every image of the "
        "batch, or the loss does not depend on them.",
    },
    NONE: {
        "dead-units": "This share of the units is 0 for every image of the batch and learns "
        "nothing from it.",
        "seed-spread": "√(5β), β = Σ 1/fan_in, is one standard deviation of ln ‖x‖² between "
        "seeds: with some the signal starts far too large, with others far too small.",
        "batchnorm-growth": "Each of {norms} BatchNorm layers enlarges the gradient by 1.21 on its "
        "way back, at the start: together by this.",
        "not-in-optimizer": "So many parameters need a gradient but are not in the optimizer: they "
        "will never change. The first is {first}.",
    },
}
REGIMES = {code: regime for regime, signs in SIGNS.items() for code in signs}
# These ruin the training.
RED = {"non-finite", "trial-loss", "overshoot", "vanishing", "vanishing-gradient", "dead"}


@dataclass(frozen=True)
class Finding:
    """One number that lies outside its range.

    code: a name for programs. layer: its path in the model, or "model". threshold: the bound that
    the measured number passed. predicted: the number that theory gives, or that a healthy network
    would have; None where neither is known. evidence: why the bound stands where it does.
    prescription: what to do about it, in words. cure: the prescription as settings.
    severity: "amber", or "red" where it ruins the training.
    """

    code: str
    layer: str
    measured: float
    predicted: float | None
    threshold: float
    evidence: str
    prescription: str = ""
    severity: str = "amber"
    cure: dict[str, Any] = field(default_factory=dict, hash=False)

    @property
    def regime(self) -> str:
        """The cause that this is a sign of, or "none"."""
        return REGIMES[self.code]


def find(m: Measurements) -> list[Finding]:
    """All findings. A wrong signal comes before a wrong rate, which may be its consequence."""
    signal = (_not_finite, _input, _growth, _initial_loss)
    rate = (_rate, _trial, _overshoot)
    others = (_dead, _vanishing, _vanishing_gradient, _seed_spread, _batch_norm, _missing)
    return [finding for rule in (*signal, *rate, *others) for finding in rule(m)]


def judge(m: Measurements, findings: list[Finding]) -> tuple[str, str]:
    """(verdict, regime): what will happen, and its cause.

    A signal that grows is called the cause only where the weights or the images have the wrong
    size. Weights of the right size are not blamed for it.
    """
    exempt = {"forward-growth", "initial-loss"} if theory.well_initialised(m) else set()
    seen = {f.regime for f in findings if f.code not in exempt}
    red = {f.regime for f in findings if f.severity == "red"}
    if red and not red & {EXPLODES, FAST}:
        return "will not learn", DEAD if DEAD in red else VANISHES
    regime = next((cause for cause in (EXPLODES, FAST) if cause in seen), NONE)
    return "will diverge" if red else "watch" if findings else "healthy", regime


def by_cause(findings: list[Finding], regime: str) -> list[Finding]:
    """The findings in the order in which to read them: signs of the cause, then red, then amber."""
    return sorted(findings, key=lambda f: (f.regime != regime, f.severity != "red"))


def signal_growth(m: Measurements) -> float:
    """The geometric mean of the signal's growth from one hidden weighted layer to the next.

    1 where it cannot be said: with fewer than two such layers, or where a signal is 0 or NaN.
    """
    sizes = [call.out_rms for call in _hidden(m)]
    if len(sizes) < 2 or sizes[0] <= 0 or sizes[-1] <= 0 or any(s != s for s in sizes):
        return 1.0
    return inf if inf in sizes else exp(log(sizes[-1] / sizes[0]) / (len(sizes) - 1))


def _hidden(m: Measurements) -> list[LayerCall]:
    return [call for call in m.weighted[:-1] if call.name not in m.normalised]


def _finding(
    code: str,
    measured: float,
    threshold: float,
    *,
    layer: str = "model",
    predicted: float | None = None,
    red: bool = False,
    **details: Any,
) -> Finding:
    """The finding of a code, with the details that its evidence names."""
    return Finding(
        code=code,
        layer=layer,
        measured=measured,
        predicted=predicted,
        threshold=threshold,
        evidence=SIGNS[REGIMES[code]][code].format(**details),
        severity="red" if red or code in RED else "amber",
    )


def _not_finite(m: Measurements) -> Iterator[Finding]:
    layer = next((call for call in m.calls if not isfinite(call.out_rms)), None)
    if layer:
        first = "this is the first layer whose output is not finite"
        yield _finding("non-finite", layer.out_rms, inf, layer=layer.name, first=first)
    elif not isfinite(m.loss) or not isfinite(m.gradient):
        yield _finding("non-finite", m.gradient, inf, first="the loss or its gradient")


def _input(m: Measurements) -> Iterator[Finding]:
    if m.input_rms > INPUT_AMBER:
        yield _finding("input-scale", m.input_rms, INPUT_AMBER, predicted=1.0)


def _growth(m: Measurements) -> Iterator[Finding]:
    growth = signal_growth(m)
    if growth > GROWTH_AMBER:
        pairs = itertools.pairwise(_hidden(m))
        _, steepest = max(pairs, key=lambda pair: pair[1].out_rms / (pair[0].out_rms or 1e-300))
        yield _finding("forward-growth", growth, GROWTH_AMBER, layer=steepest.name, predicted=1.0)


def _initial_loss(m: Measurements) -> Iterator[Finding]:
    if m.loss > LOSS_AMBER * m.chance_loss:
        bound = LOSS_AMBER * m.chance_loss
        yield _finding("initial-loss", m.loss, bound, predicted=m.chance_loss)


def _rate(m: Measurements) -> Iterator[Finding]:
    change, now, (diverged, safe) = expected_change(m), strain(m), judge_trial(m)
    red = diverged or (now.value > now.critical and not safe)
    if m.rate is None or not (red or change > CHANGE_AMBER):
        return
    worst = max(m.step.ratios, key=lambda name: m.step.ratios[name], default="model")
    tried = [strain(m, step) for step in m.trial] if diverged else []
    found = max([now, *tried], key=lambda s: s.value)
    first, middle = f"{total_change(m):.2g}", f"{change:.2g}"
    yield _finding(
        "update-ratio",
        measured=found.value if red else change,
        threshold=found.critical if red else CHANGE_AMBER,
        layer=worst,
        red=red,
        total=total_change(m),
        largest=m.step.ratios.get(worst, 0.0),
        later="" if first == middle else f" In the middle of training it will be {middle}.",
        meaning=found.meaning,
        strain=found.value,
        critical=found.critical,
    )


def _trial(m: Measurements) -> Iterator[Finding]:
    if judge_trial(m)[0]:
        last, start = m.trial[-1].loss, max(m.loss, m.chance_loss)
        measured = last if last == last else inf
        yield _finding("trial-loss", measured, start, predicted=m.loss, steps=len(m.trial))


def _overshoot(m: Measurements) -> Iterator[Finding]:
    """Steps go past the minimum along the gradient, further each time.

    For a quadratic loss with curvature λ, a step at the rate α turns the gradient g into
    g' = (1 - αλ)g. With momentum μ the steps diverge where αλ > 2(1 + μ), which is
    -g'·g/‖g‖² > 1 + 2μ. The gradient of a cross-entropy is bounded, so training comes back from the
    first such step. Clipped and adaptive steps are bounded as well.
    """
    past = [-p for p in m.projections]
    steps_are_bounded = m.chance_loss == m.chance_loss or m.adaptive or m.step.clip_headroom < inf
    bound = 1 + 2 * m.momentum
    if not steps_are_bounded and len(past) > 1 and all(p > bound for p in past):
        yield _finding("overshoot", min(past), bound)


def _dead(m: Measurements) -> Iterator[Finding]:
    if m.gradient == 0 and isfinite(m.loss):
        layer = next((call.name for call in m.calls if call.dead > DEAD_RED), "model")
        yield _finding("dead", 1.0, DEAD_RED, layer=layer, predicted=0.5)
        return
    for call in m.calls:
        if call.dead > DEAD_RED:
            yield _finding("dead", call.dead, DEAD_RED, layer=call.name)
        # For a single image half of all units are 0 even in a healthy network.
        elif call.dead >= DEAD_AMBER and call.out_shape[0] > 1:
            yield _finding("dead-units", call.dead, DEAD_AMBER, layer=call.name)


def _vanishing(m: Measurements) -> Iterator[Finding]:
    weighted = [c for c in m.weighted if c.layer.weight.data.any()]  # type: ignore[attr-defined]
    if m.gradient == 0 or len(weighted) < 2 or not isfinite(m.loss):
        return
    first, last = weighted[0], weighted[-1]
    left = last.out_rms / first.out_rms if first.out_rms else 1.0
    if left < VANISHED and m.logit_rms <= VANISHED * 10:
        yield _finding("vanishing", left, VANISHED, layer=last.name, predicted=1.0)


def _vanishing_gradient(m: Measurements) -> Iterator[Finding]:
    """The first layer hardly changes, and so what the others see of an image.

    Adaptive optimizers divide a gradient by its own size, so that a small one moves a weight too.
    """
    ratios = m.step.ratios
    names = [c.name for c in m.weighted if c.name in ratios and c.name not in m.unchanged]
    fastest = max(names, key=lambda name: ratios[name], default="")
    unlike = m.rate is None or m.adaptive or m.zero_initialised  # then the first step tells little
    # At tiny rates most updates are rounded away, and the ratios compare what is left of them.
    readable = FINEST / VANISHED_GRADIENT
    if unlike or not names or not readable < ratios[fastest] < inf:
        return
    left = ratios[names[0]] / ratios[fastest]
    if left < VANISHED_GRADIENT:
        yield _finding(
            "vanishing-gradient",
            left,
            VANISHED_GRADIENT,
            layer=names[0],
            predicted=1.0,
            fastest=fastest,
        )


def _seed_spread(m: Measurements) -> Iterator[Finding]:
    widths = [theory.fan_in(call.layer) for call in m.weighted if call.name not in m.normalised]
    _, spread = theory.seed_spread(widths)
    if spread > SPREAD_AMBER:
        yield _finding("seed-spread", spread, SPREAD_AMBER)


def _batch_norm(m: Measurements) -> Iterator[Finding]:
    norms = sum(isinstance(call.layer, nn.BatchNorm2d) for call in m.calls)
    growth = theory.BATCH_NORM_GROWTH**norms
    if growth > BATCH_NORM_AMBER and not m.residual:
        yield _finding("batchnorm-growth", growth, BATCH_NORM_AMBER, norms=norms)


def _missing(m: Measurements) -> Iterator[Finding]:
    if m.missing:
        first, count = m.missing[0], len(m.missing)
        layer = first.rpartition(".")[0] or "model"
        yield _finding("not-in-optimizer", count, 0, layer=layer, predicted=0, first=first)
