"""How much an update changes a network, and how much change it bears.

The numbers were fitted to 2,800 random CNNs of 3 to 12 layers, each trained for 60 steps of plain
gradient descent, and to 800 random residual, BatchNorm and tanh networks and MLPs under SGD,
momentum and Adam. `minidl.lab.doctor_study` draws new ones and counts how often they are right.
"""

import itertools
from math import isfinite
from typing import TYPE_CHECKING

from .. import nn
from .probe import ACTIVATIONS

if TYPE_CHECKING:
    from .doctor import Measurements

DIVERGES = 0.9  # a wide ReLU network
DYING_WIDTH = 24.0  # units at which the bound is twice that
DIVERGES_ALIVE = 1.2  # a network whose units cannot die
DIVERGES_BOUNDED = 3.0  # one whose signal is bounded
DIVERGES_ADAPTIVE, DIVERGES_ADAPTIVE_BOUNDED = 1.5, 7.0  # under Adam or RMSProp
LOGITS_RUN, LOGITS_RUN_ADAPTIVE = 8.0, 1.9  # of a tanh MLP, in multiples of the loss
CHANGE_AMBER = 0.6
CALM, DIED = 0.15, 0.01  # of the bound, in trial steps
TRAINED_LOGITS = 4.0  # the scale of logits that tell something


def reach(m: "Measurements") -> float:
    """How far updates will go beyond the first one.

    Gradients that point the same way add up to 1/(1 - μ) under momentum μ, random ones to about
    the root of that.
    """
    return (1 - m.momentum) ** -0.5


def _activations(m: "Measurements") -> set[type]:
    kinds = {type(p.layer) for p in m.passages if isinstance(p.layer, ACTIVATIONS)}
    return kinds or {type(None)}


def _bounded(m: "Measurements") -> bool:
    return _activations(m) <= {nn.Tanh, nn.Sigmoid}


def total_change(m: "Measurements", ratios: dict[str, float] | None = None) -> float:
    """Σ ‖Δθ‖/‖θ‖ over the layers: a product changes by the sum of its factors' changes.

    A layer before a normalisation keeps its scale whatever happens to it.
    """
    given = m.ratios if ratios is None else ratios
    return sum(r for name, r in given.items() if name not in m.normalised)


def expected_change(m: "Measurements") -> float:
    """What the total change will be once training is under way.

    The gradient by a layer is as large as the signal that the other layers make of it. Small
    logits must grow before anything is learned, and the updates grow with them; not those of Adam
    and RMSProp, which are as large as the rate, whatever the gradient.
    """
    return _grown(m, m.ratios, m.logit_scale, m.room)


def trial_tells(m: "Measurements") -> bool:
    """Whether trial steps foretell anything.

    Where Adam bounds the steps, or the activation bounds the signal, the loss is often thrown far
    up at first and comes back.
    """
    return bool(m.trial) and not m.adaptive and not _bounded(m)


def trial_says(m: "Measurements") -> tuple[bool, bool, bool]:
    """Whether the changes in the trial steps stayed large, calmed down, or died."""
    if not trial_tells(m):
        return False, False, False
    changes, bound = (
        [_grown(m, t.ratios, t.logit_scale, t.room) for t in m.trial],
        largest_change(m),
    )
    stayed = sum(not change <= bound for change in changes) > 1
    return stayed, changes[-1] < CALM * bound, changes[-1] < DIED * bound


def _grown(m: "Measurements", ratios: dict[str, float], logit_scale: float, room: float) -> float:
    growth = 1.0 if m.adaptive else min(_growth_to_come(logit_scale), room)
    return total_change(m, ratios) * reach(m) * growth


def _growth_to_come(logit_scale: float, enough: float = TRAINED_LOGITS) -> float:
    small = min(max(logit_scale / enough, 1e-6), 1.0) if isfinite(logit_scale) else 1.0
    return small**-0.5


def largest_change(m: "Measurements") -> float:
    """The expected change above which networks like this one diverge.

    A narrow ReLU layer dies before it diverges: a large step leaves none of its few units above
    0, and a dead network is stuck. Nothing dies where a residual branch leads past, or where the
    activation has a slope below 0.
    In a tanh MLP only the logits can run away, and the bound is what would make them. Where tanh or
    a normalisation bounds the signal, and Adam each weight's step, little else can.
    """
    kinds = _activations(m)
    tanh = kinds == {nn.Tanh} and not m.normalised and not m.residual
    if tanh and all(isinstance(p.layer, nn.Dense) for p in m.passages if p.weighted):
        run, bound = logits_run(m), LOGITS_RUN_ADAPTIVE if m.adaptive else LOGITS_RUN
        return expected_change(m) * bound / run if run else DIVERGES_BOUNDED
    if m.adaptive:
        return DIVERGES_ADAPTIVE_BOUNDED if m.normalised or _bounded(m) else DIVERGES_ADAPTIVE
    if tanh:
        return DIVERGES_BOUNDED
    layers = itertools.pairwise(
        p for p in m.passages if p.weighted or isinstance(p.layer, ACTIVATIONS)
    )
    widths = [
        a.out_shape[a.units] for a, b in layers if a.weighted and isinstance(b.layer, nn.ReLU)
    ]
    if not widths or m.residual:
        return DIVERGES_ALIVE
    return DIVERGES * (1 + DYING_WIDTH / min(widths))


def logits_run(m: "Measurements") -> float:
    """How far an update at full reach moves a logit, in multiples of the loss.

    The last layer's gradient is an error of about 1 times its input h, so a step at the rate α adds
    α·‖h‖² to a logit, and α·‖h‖₁ where each weight moves by α (Adam, RMSProp). h grows as
    logits below 1 will, up to tanh's 1.
    """
    weighted = [p for p in m.passages if p.weighted]
    if not weighted:
        return 0.0
    last = weighted[-1]
    h = min(last.in_scale * _growth_to_come(m.logit_scale, 1.0), 1.0)
    moved = (m.rate or 0.0) * last.in_shape[-1] * (h if m.adaptive else h * h * reach(m))
    return moved / max(m.loss, m.chance, 1e-12)
