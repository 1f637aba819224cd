"""How much an update changes a network, and how much change it bears.

The numbers were fitted to 4,400 random networks, each trained for 60 steps: CNNs of 4 to 13 layers;
CNNs, LeNets and MLPs of 1 to 3; residual, BatchNorm, LayerNorm and tanh networks, MLPs and others,
under SGD, momentum and Adam. `minidl.lab.doctor_study` draws new ones and counts how often
they are right.
"""

from math import expm1, inf, isfinite, log1p, sqrt
from typing import TYPE_CHECKING, NamedTuple

from .. import nn
from .probe import ACTIVATIONS, NORMS

if TYPE_CHECKING:
    from .measure import Measurements, Step

# What networks bear of the compound change, under gradient descent and under Adam or RMSProp.
BEARS = {
    "dying": (0.8, 1.0),  # convolutions, and units of ReLU, which can die
    "alive": (1.1, 1.8),  # convolutions, and units that cannot
    "dense, dying": (0.5, 1.2),  # Dense layers alone
    "dense, alive": (0.35, 1.2),
    "bounded": (1.8, 8.0),  # convolutions, and units of tanh or sigmoid
}
DYING = 4.0  # Σ 1/width over the layers of ReLU units adds this many times itself
# Where only the last layer can run away: in MLPs of bounded units, in normalised networks.
RUN_BOUNDED, RUN_NORMALISED = 1.3, 1.0
RUN_NORMALISED_DENSE = 0.25  # of Dense layers alone, under gradient descent
CHANGE_AMBER = 0.6
CLIPPED = 4.0  # what steps do together that a clip keeps equally large
SMALL_BATCH = 16  # images; three steps learn them by heart
CALM, RISEN = 0.15, 2.0  # in trial steps: of the bound, of the loss
TRAINED_LOGITS = 4.0  # the scale of logits that tell something


def reach(m: "Measurements") -> float:
    """How far updates will go beyond the first one.

    Gradients that point the same way add up to 1/(1 - μ) under momentum μ, random ones to about
    the root of that. RMSProp's first step is larger than those that follow.
    """
    return (1 - m.momentum) ** -0.5 * m.later / m.first


def total_change(m: "Measurements") -> float:
    """Σ ‖Δθ‖/‖θ‖ over the layers.

    Left out are those before a normalisation, which keep their scale, and those that start at 0,
    which had none.
    """
    return sum(r for name, r in m.step.ratios.items() if name not in m.normalised | m.born)


def expected_change(m: "Measurements") -> float:
    """What the total change will be once training is under way.

    The gradient by a layer is as large as the signal that the other layers make of it. Small
    logits must grow before anything is learned, and the updates grow with them; not those of Adam
    and RMSProp, which are as large as the rate, whatever the gradient.
    """
    return total_change(m) * _growth(m, m.step)


TURNED = ", times the share of the other weights that changes"


class Strain(NamedTuple):
    """What an update asks of a network, the bound above which networks like it diverge, and what
    is measured, in words."""

    value: float
    bound: float
    meaning: str


def strain(m: "Measurements", step: "Step | None" = None) -> Strain:
    """The strain of the first update, or of a trial step, as it will be in training."""
    step = step or m.step
    growth = _growth(m, step)
    weighted = [p for p in m.passages if p.weighted]
    if _bounded(m) and _dense(m):
        turned = [min(growth * step.ratios.get(p.name, 0.0), 1.0) for p in weighted[:-1]]
        run, meaning = logits_run(m), "how many times the loss an update moves a logit"
        return Strain(run * _mean(turned), RUN_BOUNDED, meaning + TURNED)
    free = [growth * r for name, r in step.ratios.items() if name not in m.normalised]
    found = Strain(compound(free), _bears(m), "how far the layers' changes enlarge each other")
    if m.normalised:  # its signal has the scale 1 from the start: nothing grows
        ratios = {name: reach(m) * r for name, r in step.ratios.items()}
        turned = [min(r, 1.0) for name, r in ratios.items() if name in m.normalised]
        run = sum(r for name, r in ratios.items() if name not in m.normalised)
        meaning = "by how much of its size a layer changes that is not normalised"
        bound = RUN_NORMALISED_DENSE if _dense(m) and not m.adaptive else RUN_NORMALISED
        last = Strain(run * _mean(turned), bound, meaning + TURNED)
        found = max(found, last, key=lambda one: one.value / one.bound)
    return found


def compound(ratios: list[float]) -> float:
    """The part of these changes that feeds back, as the Σ r of many equal layers.

    Factors that change by r₁, r₂, ... change their product by Π(1 + r) - 1. Of this, Σ r is what
    each does alone: a step too far, but the gradient by a layer does not grow with the layer
    itself, and the next step comes back. In the rest layers enlarge each other's gradients. Many
    equal layers with Σ r = s leave the rest eˢ - 1 - s; this is the s that leaves as much: 0 for
    one layer, √(2 r₁r₂) for two small changes.
    """
    total = rest = 0.0
    for r in ratios:
        rest, total = rest * (1 + r) + r * total, total + r  # no difference of large numbers
    if not rest < 1e300:
        return inf
    s = min(sqrt(2 * rest), log1p(rest) + 2)  # above the root; Newton comes down to it
    for _ in range(50 if s > 1e-4 else 0):
        s -= (expm1(s) - s - rest) / expm1(s)
    return s


def _growth(m: "Measurements", step: "Step") -> float:
    growth = 1.0 if m.adaptive else _growth_to_come(step.logit_scale)
    if growth > step.room:  # the clip will bind, and no step be smaller than it allows
        growth = min(step.cut * growth, CLIPPED * step.room)
    return reach(m) * growth


def _growth_to_come(logit_scale: float, enough: float = TRAINED_LOGITS) -> float:
    small = min(max(logit_scale / enough, 1e-6), 1.0) if isfinite(logit_scale) else 1.0
    return small**-0.5


def trial_says(m: "Measurements") -> tuple[bool, bool]:
    """Whether the trial steps convict the network, and whether they clear it.

    Convicted: a strain above the bound, and a loss that has not come back, or is not finite.
    Cleared: the last strain is small, and the loss never doubled. Where Adam bounds the steps, or
    the activation the signal, the loss is often thrown far up and comes back: nothing is said.
    """
    if not m.trial or m.adaptive or _bounded(m):
        return False, False
    strains = [strain(m, step) for step in m.trial]
    rises = [step.loss / max(m.loss, m.chance, 1e-12) for step in m.trial]
    lost = any(not s.value <= s.bound for s in strains) and not rises[-1] <= 1
    calm = strains[-1].value < CALM * strains[-1].bound and all(rise <= RISEN for rise in rises)
    calm = calm and m.images >= SMALL_BATCH
    return lost or not all(map(isfinite, rises)), calm


def _mean(values: list[float]) -> float:
    return sum(values) / max(len(values), 1)


def _bounded(m: "Measurements") -> bool:
    """Whether tanh or sigmoid bound the signal everywhere."""
    kinds = {type(p.layer) for p in m.passages if isinstance(p.layer, ACTIVATIONS)}
    bounds = bool(kinds) and kinds <= {nn.Tanh, nn.Sigmoid}
    return bounds and not m.normalised and not m.residual


def _dense(m: "Measurements") -> bool:
    """Whether all that is trained are Dense layers."""
    dense = {p.name for p in m.passages if isinstance(p.layer, nn.Dense)}
    return dense >= set(m.step.ratios)


def _bears(m: "Measurements") -> float:
    """The compound change above which networks like this one diverge.

    A narrow ReLU layer dies before it diverges: a large step leaves none of its few units above
    0, and a dead network is stuck; the more such layers, the sooner. Nothing dies where a residual
    branch leads past, or where the activation has a slope below 0. Gradient descent changes a
    Dense layer along the few directions of the batch, so that its output changes by more than
    r; Adam changes every weight alike.
    """
    fed = [p.after for p in m.passages if isinstance(p.layer, nn.ReLU) and p.after]
    dying = [p for p in fed if not isinstance(p.layer, ACTIVATIONS + NORMS)]
    dies = dying and not m.residual
    kind = "bounded" if _bounded(m) else "dying" if dies else "alive"
    if _dense(m):
        kind = f"dense, {kind}"
    more = 1 + DYING * sum(1 / p.out_shape[p.units] for p in dying) if dies else 1.0
    return more * BEARS[kind][m.adaptive]


def logits_run(m: "Measurements") -> float:
    """How far an update at full reach moves a logit, in multiples of the loss.

    The last layer's gradient is an error of about 1 times its input h, so a step at the rate α adds
    α·‖h‖² to a logit, and α·‖h‖₁ where each weight moves by α (Adam; RMSProp by more). h grows as
    logits below 1 will, up to the 1 of bounded units.
    """
    weighted = [p for p in m.passages if p.weighted]
    if not weighted or not m.gradient:
        return 0.0
    last = weighted[-1]
    h = min(last.in_scale * _growth_to_come(m.logit_scale, 1.0), 1.0)
    way = h * m.first if m.adaptive else h * h
    moved = (m.rate or 0.0) * last.in_shape[-1] * way * reach(m)
    return moved / max(m.loss, m.chance, 1e-12)
