"""How much an update changes a network, and how much change it bears.

The numbers were fitted to 1,276 random CNNs of 3 to 12 layers, each trained for 60 steps of plain
gradient descent, and to 743 random residual, BatchNorm and tanh networks and MLPs under SGD,
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
DYING_WIDTH = 14.0  # units at which the bound is twice that
DIVERGES_ALIVE = 1.2  # a network whose units cannot die
ADAPTIVE_REACH, ADAPTIVE_REACH_BOUNDED = 0.7, 0.05
CHANGE_AMBER = 0.3
CALM = 0.3  # of the bound


def reach(m: "Measurements") -> float:
    """How far updates will go beyond the first one.

    Gradients that point the same way add up to 1/(1 - μ) under momentum μ, random ones to about
    the root of that. Adam and RMSProp bound every weight's step by the rate; where tanh or a
    normalisation bounds the signal too, nothing can run away.
    """
    if not m.adaptive:
        return (1 - m.momentum) ** -0.5
    kinds = {type(p.layer) for p in m.passages if isinstance(p.layer, ACTIVATIONS)}
    bounded = m.normalised or (kinds and kinds <= {nn.Tanh, nn.Sigmoid})
    return ADAPTIVE_REACH_BOUNDED if bounded else ADAPTIVE_REACH


def total_change(m: "Measurements", ratios: dict[str, float] | None = None) -> float:
    """Σ ‖Δθ‖/‖θ‖ over the layers: a product changes by the sum of its factors' changes.

    A layer before a normalisation keeps its scale whatever happens to it.
    """
    given = m.ratios if ratios is None else ratios
    return sum(r for name, r in given.items() if name not in m.normalised)


def expected_change(m: "Measurements") -> float:
    """What the total change will be once training is under way.

    The gradient by a layer is as large as the signal that the other layers make of it. Logits
    below 1 must grow before anything is learned, and the updates grow with them.
    """
    return _grown(m, m.ratios, m.logit_scale)


def calmed_down(m: "Measurements") -> bool:
    """Whether the last trial step shows an expected change far below the largest.

    Of Adam's later steps three say nothing: its averages have hardly begun.
    """
    if not m.trial or m.adaptive:
        return False
    last = m.trial[-1]
    return _grown(m, last.ratios, last.logit_scale) < CALM * largest_change(m)


def _grown(m: "Measurements", ratios: dict[str, float], logit_scale: float) -> float:
    small = min(max(logit_scale, 1e-6), 1.0) if isfinite(logit_scale) else 1.0
    return total_change(m, ratios) * reach(m) / small ** (2 / 3)


def largest_change(m: "Measurements") -> float:
    """The expected change above which networks like this one diverge.

    A narrow ReLU layer dies before it diverges: a large step leaves none of its few units above
    0, and a dead network is stuck. Nothing dies where a residual branch leads past, or where the
    activation has a slope below 0.
    """
    layers = itertools.pairwise(
        p for p in m.passages if p.weighted or isinstance(p.layer, ACTIVATIONS)
    )
    widths = [a.out_shape[1] for a, b in layers if a.weighted and isinstance(b.layer, nn.ReLU)]
    if not widths or m.residual:
        return DIVERGES_ALIVE
    return DIVERGES * (1 + (DYING_WIDTH / min(widths)) ** 2)
