"""Stage 6: what to do about each finding, as settings and in words.

One cause gets one cure. All findings that are signs of the same cause get the same prescription.
Where the signal is wrong, the learning rate cannot be judged yet: its findings point to that cause.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import isfinite
from typing import Any

from ..errors import ConfigError
from . import theory
from .measure import Measurements
from .rules import EXPLODES, FAST, INPUT_AMBER, NONE, VANISHES, Finding
from .strain import expected_change

# How a setting is written in Python, and as an option of `minidl train`. "do" is advice for which
# there is no setting. On the command line biases start at 0 already.
WORDS = {
    "code": {
        "input": "standardise the images with md.data.standardize(images)(images)",
        "init": 'initialise the layers with init="{}"',
        "bias": "start the biases at {:g}",
        "lr": "lower the learning rate to about {:.2g}",
        "do": "{}",
    },
    "command line": {
        "input": "add --standardize",
        "init": "set --init {}",
        "lr": "set --lr {:.2g}",
        "do": "{}",
    },
}


def in_words(
    cure: Mapping[str, Any], place: str = "code", given: Callable[[float], float] = float
) -> str:
    """The settings of a cure in words. given: how the reader has to give a learning rate.

    Raises: ConfigError for a place that is not in WORDS.
    """
    if place not in WORDS:
        raise ConfigError(f"Report: expected place to be one of {', '.join(WORDS)}, got {place!r}")
    words = WORDS[place]
    cure = {name: given(value) if name == "lr" else value for name, value in cure.items()}
    return ", ".join(words[name].format(value) for name, value in cure.items() if name in words)


def prescribe(m: Measurements, findings: list[Finding], regime: str) -> list[Finding]:
    """The findings, each with its cure."""
    cures = [_cure(m, finding, regime) for finding in findings]
    return [
        replace(finding, cure=cure, prescription=in_words(cure))
        for finding, cure in zip(findings, cures, strict=True)
    ]


def remedy(m: Measurements, regime: str) -> dict[str, Any]:
    """The settings that cure a regime."""
    if regime == NONE:
        return {}
    if regime == FAST:
        return {"lr": safe_rate(m)}
    if regime == VANISHES and theory.well_initialised(m):
        return {
            "do": "let ReLU with He weights take the place of Sigmoid or Tanh, or add BatchNorm2d, "
            "LayerNorm or residual branches"
        }
    large = regime == EXPLODES and m.input_rms > INPUT_AMBER
    settings = {"input": "standardize"} if large else {}
    if large and theory.well_initialised(m):
        return settings
    return settings | {"init": theory.initializer(m), "bias": 0.0}


def safe_rate(m: Measurements) -> float:
    """The learning rate at which updates would change the weights by 0.1 in all.

    It is at most half of the present rate. Where the loss is not a cross-entropy, it is also at
    most the rate whose step ends at the minimum along the gradient. Where the change is 0 or not
    finite, it is 0.001.
    """
    change = expected_change(m)
    if not (isfinite(change) and change > 0):
        return 1e-3
    unknown = [p for p in m.projections if isfinite(p)] if m.chance_loss != m.chance_loss else []
    past = max([0.0, *(-p for p in unknown)])
    return (m.rate or 0.0) * min(0.5, 0.1 / change, 1 / (1 + past))


def _cure(m: Measurements, finding: Finding, regime: str) -> dict[str, Any]:
    init, fine = theory.initializer(m), theory.well_initialised(m)
    if finding.regime == FAST and regime != FAST:
        return {"do": f"cure the cause first ({regime}), then judge the learning rate again"}
    if finding.regime == EXPLODES and regime != EXPLODES and fine:
        return {"do": f"the weights have the size of {init} already: add BatchNorm2d or LayerNorm"}
    if finding.regime != NONE:
        return remedy(m, finding.regime)
    if finding.code == "dead-units" and not fine:
        return {"init": init, "bias": 0.0}
    advice = {
        "dead-units": "use LeakyReLU, whose units cannot die, or a lower learning rate",
        "seed-spread": "widen the layers, or use fewer of them",
        "batchnorm-growth": "warm the learning rate up, or add residual connections",
        "not-in-optimizer": "make the optimizer from model.parameters(), or freeze the others "
        "(p.requires_grad = False)",
    }
    return {"do": advice[finding.code]}
