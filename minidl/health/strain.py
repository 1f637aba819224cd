"""Stage 4: how much an update changes a network, and how much change the network can take.

Strain measures the part of the change that feeds back on itself: layers that change together
enlarge each other's gradients, so the next update is larger still. Above its critical strain a
network like this one diverges.

The constants were fitted to 4,400 random networks, each trained for 60 steps under SGD, momentum or
Adam: plain CNNs, MLPs, LeNets, and residual, BatchNorm, LayerNorm and tanh networks.
`tools/doctor_study.py` draws new networks and counts how often the doctor is right. docs/doctor.md
gives the reason for each step.
"""

from math import expm1, inf, isfinite, log1p, sqrt
from typing import NamedTuple

from .. import nn
from .measure import Measurements, Step
from .probe import ACTIVATIONS, NORMS

# The critical strain (under gradient descent, under Adam or RMSProp). "dense": all trained layers
# are Dense; the other networks have convolutions. "relu": units that can die, because a ReLU that
# is below 0 for every image gets no gradient. "open": units that cannot die, or residual branches.
# "bounded": tanh or sigmoid.
CRITICAL_STRAIN = {
    "relu": (0.8, 1.0),
    "open": (1.1, 1.8),
    "bounded": (1.8, 8.0),
    "dense relu": (0.5, 1.2),
    "dense open": (0.35, 1.2),
}
# The critical strain of "relu" is multiplied by 1 + 4·Σ 1/width over the layers before a ReLU.
NARROW_RELU = 4.0
# The critical strain where only the last layer can run away.
CRITICAL_BOUNDED = 1.3  # in MLPs of tanh or sigmoid units
CRITICAL_NORMALISED = 1.0  # in networks whose other layers are normalised
CRITICAL_NORMALISED_DENSE = 0.25  # in those of Dense layers alone, under gradient descent
CHANGE_AMBER = 0.6  # an expected change of the weights above this is a finding
CLIPPED_STEPS = 4.0  # clipped steps never shrink: their joint effect counts at most this many times
TRAINED_LOGITS = 4.0  # the RMS of the logits of a network that has learned something
# Trial steps show that a network is safe if all three hold:
SAFE_STRAIN = 0.15  # the strain of the last step is below this share of the critical strain
SAFE_LOSS = 2.0  # the loss never rose above this many times its start
SAFE_BATCH = 16  # the batch has at least this many images: three steps learn fewer by heart


class Strain(NamedTuple):
    """A strain, the critical strain of networks like this one, and the first one's meaning."""

    value: float
    critical: float
    meaning: str


def strain(m: Measurements, step: Step | None = None) -> Strain:
    """The strain that updates like the first one, or like a trial step, will put on the network."""
    step = step or m.step
    growth = _growth(m, step)
    weighted = m.weighted
    others = ", times the share by which the other layers change"
    if _is_bounded(m) and _is_dense(m):
        changed = [min(growth * step.ratios.get(c.name, 0.0), 1.0) for c in weighted[:-1]]
        meaning = "how far an update moves a logit, in multiples of the loss"
        return Strain(logit_movement(m) * _mean(changed), CRITICAL_BOUNDED, meaning + others)
    free = [growth * r for name, r in step.ratios.items() if name not in m.normalised]
    meaning = "how far the layers' changes enlarge each other"
    found = Strain(compound(free), critical_strain(m), meaning)
    if m.normalised:
        # Signals have size 1 from the start, so updates do not grow as the logits do: no `growth`.
        ratios = {name: accumulation(m) * r for name, r in step.ratios.items()}
        changed = [min(r, 1.0) for name, r in ratios.items() if name in m.normalised]
        last = sum(r for name, r in ratios.items() if name not in m.normalised)
        slow = _is_dense(m) and not m.adaptive
        critical = CRITICAL_NORMALISED_DENSE if slow else CRITICAL_NORMALISED
        meaning = "by what share of its size the last layer, which is not normalised, changes"
        second = Strain(last * _mean(changed), critical, meaning + others)
        found = max(found, second, key=lambda one: one.value / one.critical)
    return found


def total_change(m: Measurements) -> float:
    """Σ ‖Δθ‖/‖θ‖ over the layers, by the first update.

    Two kinds of layers are left out: those before a normalisation, which undoes a change of their
    size, and those whose weights start at 0, so that there is no size to compare with.
    """
    skipped = m.normalised | m.zero_initialised
    return sum(r for name, r in m.step.ratios.items() if name not in skipped)


def expected_change(m: Measurements) -> float:
    """The total change of an update in the middle of training, larger than that of the first."""
    return total_change(m) * _growth(m, m.step)


def accumulation(m: Measurements) -> float:
    """The size of later updates over that of the first one, for gradients of the same size.

    Under momentum μ, gradients that point the same way add up to 1/(1 - μ) times one of them, and
    random ones to about the root of that. The root is taken. RMSProp's first step is larger than
    those that follow, so it is divided out.
    """
    return (1 - m.momentum) ** -0.5 * m.later_step / m.first_step


def _growth(m: Measurements, step: Step) -> float:
    """The size of updates in the middle of training over that of this one.

    Small logits must grow before anything is learned. The layers grow together for that, and the
    gradient by one layer grows with the other layers. Adam and RMSProp divide the gradient by its
    size, so their updates do not grow, whether clipped or not.
    """
    growth = 1.0 if m.adaptive else _logit_growth(step.logit_rms, TRAINED_LOGITS)
    # A clip that binds already has a headroom of 1, up to rounding.
    if not m.adaptive and growth > step.clip_headroom * (1 - 1e-3):
        growth = min(step.clip_ratio * growth, CLIPPED_STEPS * step.clip_headroom)
    return accumulation(m) * growth


def _logit_growth(logit_rms: float, trained: float) -> float:
    """How many times gradients will grow until the logits reach the RMS `trained`.

    It is the root of the growth of the logits. In a network of two layers each grows by that root,
    and the gradient by one is proportional to the other.
    """
    share = min(max(logit_rms / trained, 1e-6), 1.0) if isfinite(logit_rms) else 1.0
    return share**-0.5


def compound(ratios: list[float]) -> float:
    """The strain of layers that change by the shares r₁, r₂, ... of their size.

    Factors that change by these shares change their product by Π(1 + r) - 1. This has two parts.
    The sum Σ r is the change that the layers make each alone. It is harmless: the gradient by a
    layer does not grow with that layer, so the next step comes back. The rest,

        rest = Π(1 + r) - 1 - Σ r

    is the change by which layers enlarge each other's gradients. To compare networks of any depth,
    the rest is put on the scale of Σ r. Many equal layers with the sum s have the rest eˢ - 1 - s.
    The strain is the s that solves eˢ - 1 - s = rest: 0 for one layer, √(2 r₁r₂) for two small
    changes, near Σ r for a deep network.
    """
    total = rest = 0.0
    for r in ratios:  # the rest is summed by itself: as a difference it would drown in rounding
        rest, total = rest * (1 + r) + r * total, total + r
    if not rest < 1e300:
        return inf
    s = min(sqrt(2 * rest), log1p(rest) + 2)  # not below the root, so Newton's steps come down
    for _ in range(50 if s > 1e-4 else 0):
        s -= (expm1(s) - s - rest) / expm1(s)
    return s


def critical_strain(m: Measurements) -> float:
    """The strain above which networks like this one diverge.

    A narrow ReLU layer dies before it diverges: a large step leaves none of its few units above 0.
    A dead network is stuck, not lost, so the more such layers, the higher the critical strain.
    Nothing dies where a residual branch leads past, or where the activation has a slope below 0.
    Gradient descent changes a Dense layer along the few directions of the batch. Its output then
    changes by a larger share than its weights do, so the critical strain is lower.
    """
    fed = [call.source for call in m.calls if isinstance(call.layer, nn.ReLU) and call.source]
    relu = [call for call in fed if not isinstance(call.layer, ACTIVATIONS + NORMS)]
    dying = relu if not m.residual else []
    kind = "bounded" if _is_bounded(m) else "relu" if dying else "open"
    if _is_dense(m):
        kind = f"dense {kind}"
    narrow = sum(1 / call.out_shape[call.unit_axis] for call in dying)
    return (1 + NARROW_RELU * narrow) * CRITICAL_STRAIN[kind][m.adaptive]


def logit_movement(m: Measurements) -> float:
    """How far later updates of the last layer move a logit, in multiples of the loss.

    The gradient by the last layer's weights is its input h times an error of about 1. So a step at
    the learning rate α adds α·‖h‖² to a logit. Under Adam and RMSProp each weight moves by
    α·`first_step`, which adds α·`first_step`·‖h‖₁. Logits below 1 will grow, and h with them, at
    most to 1, the bound of tanh and sigmoid.
    """
    if not m.weighted or not m.gradient:
        return 0.0
    last = m.weighted[-1]
    h = min(last.in_rms * _logit_growth(m.logit_rms, 1.0), 1.0)
    moved = last.in_shape[-1] * (h * m.first_step if m.adaptive else h * h)
    return (m.rate or 0.0) * moved * accumulation(m) / max(m.loss, m.chance_loss, 1e-12)


def judge_trial(m: Measurements) -> tuple[bool, bool]:
    """(diverges, safe): what the trial steps show; both may be False.

    The network diverges where the strain of a step is above the critical one and the last loss is
    above the first, or where a loss is not finite. It is safe where the last strain is small and
    the loss never doubled. Where Adam bounds the steps, or the activation bounds the signal, the
    loss is often thrown far up and comes back, so the trial steps show neither.
    """
    if not m.trial or m.adaptive or _is_bounded(m):
        return False, False
    strains = [strain(m, step) for step in m.trial]
    rises = [step.loss / max(m.loss, m.chance_loss, 1e-12) for step in m.trial]
    lost = any(not s.value <= s.critical for s in strains) and not rises[-1] <= 1
    safe = strains[-1].value < SAFE_STRAIN * strains[-1].critical
    safe = safe and all(rise <= SAFE_LOSS for rise in rises) and m.images >= SAFE_BATCH
    return lost or not all(map(isfinite, rises)), safe


def _mean(values: list[float]) -> float:
    return sum(values) / max(len(values), 1)


def _is_bounded(m: Measurements) -> bool:
    """Whether tanh or sigmoid bound the signal everywhere."""
    kinds = {type(call.layer) for call in m.calls if isinstance(call.layer, ACTIVATIONS)}
    bounded = bool(kinds) and kinds <= {nn.Tanh, nn.Sigmoid}
    return bounded and not m.normalised and not m.residual


def _is_dense(m: Measurements) -> bool:
    """Whether all layers that are trained are Dense."""
    return {c.name for c in m.calls if isinstance(c.layer, nn.Dense)} >= set(m.step.ratios)
