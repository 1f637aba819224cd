"""What both the Trainer and the doctor are given: an optimizer of the model, and a clip."""

from collections.abc import Callable, Iterable
from math import inf
from typing import Any

from .. import optim
from ..errors import ConfigError
from ..tensor import Tensor

Clip = float | Callable[[list[Any]], Any]


def check_optimizer(call: str, optimizer: Any, parameters: Iterable[Tensor]) -> None:
    """Raises: ConfigError unless it is an optimizer that holds at least one of the parameters."""
    able = all(hasattr(optimizer, name) for name in ("params", "lr", "step"))
    if not able or isinstance(optimizer, type):
        got = optimizer.__name__ if isinstance(optimizer, type) else repr(optimizer)
        raise ConfigError(
            f"{call}: expected an optimizer such as md.optim.SGD(model.parameters(), 0.1), got "
            f"{got}"
        )
    if not {id(p) for p in parameters} & {id(p) for p in optimizer.params}:
        raise ConfigError(
            f"{call}: the optimizer holds none of this model's parameters; make it from this "
            f"model: md.optim.{type(optimizer).__name__}(model.parameters(), {optimizer.lr:g})"
        )


def clipper(call: str, clip: Clip | None) -> Callable[[list[Any], float | None], Any] | None:
    """`clip` as a function of the parameters and their gradients' norm, None if not measured.

    Raises: ConfigError for a norm that is not above 0.
    """
    if clip is None:
        return None
    if callable(clip):
        return lambda parameters, norm: clip(parameters)
    if isinstance(clip, str) or not 0 < clip < inf:
        raise ConfigError(
            f"{call}: expected clip as a largest gradient norm above 0 or a function, got {clip!r}"
        )
    return lambda parameters, norm: optim.clip_grad_norm(parameters, float(clip), norm)
