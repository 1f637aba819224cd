"""What the doctor prescribes."""

from math import isfinite, sqrt
from typing import TYPE_CHECKING, Any

from .. import nn
from . import theory
from .probe import ACTIVATIONS, Passage, scale

if TYPE_CHECKING:
    from .measure import Measurements

INPUT_AMBER = 5.0  # the scale of images


def safe_rate(m: "Measurements", change: float) -> float:
    """The rate at which updates would change the weights by 0.1 in all; at most half of now.

    Where the loss is not known, the one that reaches the minimum along the gradient, if that is
    less.
    """
    if not (isfinite(change) and change > 0):
        return 1e-3
    unknown = [t for t in m.turns if isfinite(t)] if m.chance != m.chance else []
    return (m.rate or 0.0) * min(0.5, 0.1 / change, 1 / (1 + max([0.0, *(-t for t in unknown)])))


def init(m: "Measurements") -> str:
    """The initializer for its activations."""
    kinds = [type(p.layer) for p in m.passages if isinstance(p.layer, ACTIVATIONS)]
    if nn.SELU in kinds:
        return "lecun_normal"
    return "xavier_normal" if nn.Tanh in kinds or nn.Sigmoid in kinds else "he_normal"


def as_prescribed(m: "Measurements", weighted: list[Passage]) -> bool:
    """Whether the weights have the scale, within a half, that the prescription would give them."""
    gain, both = {"he_normal": (2, 0), "lecun_normal": (1, 0)}.get(init(m), (2, 1))
    for p in weighted:
        w = scale(p.layer.weight.data)  # type: ignore[attr-defined]
        wanted = sqrt(gain / (theory.fan_in(p.layer) + both * theory.fan_out(p.layer)))
        if w and not 1 / 1.5 <= w / wanted <= 1.5:
            return False
    return True


def remedy(m: "Measurements", regime: str, change: float) -> dict[str, Any]:
    """The prescription as settings."""
    if regime == "none":
        return {}
    if regime == "rate too high":
        return {"lr": safe_rate(m, change)}
    if regime == "signal explodes" and m.input_scale > INPUT_AMBER:
        return {"input": "standardize", "init": init(m)}
    return {"init": init(m), "bias": 0.0}
