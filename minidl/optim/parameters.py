"""What a caller hands to an optimizer or a clipper: tensors, in whatever holds them, and gradients.

Both change arrays in place, so every array is checked before the first one is changed.
"""

from collections.abc import Iterable
from typing import Any

from ..device import Array, is_host
from ..errors import ConfigError, GradientError
from ..tensor import Tensor, as_tensor


def tensors_of(call: str, params: Any) -> list[Tensor]:
    """The tensors in a model, a tensor, or an iterable of tensors or of (name, tensor) pairs.

    Raises: ConfigError for anything else.
    """
    if isinstance(params, Tensor):
        return [params]
    holder = type(params).__name__
    if callable(getattr(params, "parameters", None)):
        params = params.parameters()
    many = isinstance(params, Iterable) and not isinstance(params, str)
    items = list(params) if many else [params]
    found = [item[1] if isinstance(item, tuple) and len(item) == 2 else item for item in items]
    wrong = sorted({type(item).__name__ for item in found if not isinstance(item, Tensor)})
    if wrong:
        raise ConfigError(
            f"{call}: expected params to be a model, a tensor, or a list of tensors such as "
            f"model.parameters() or model.named_parameters(); got {holder} with {', '.join(wrong)}"
        )
    return found


def gradient_of(call: str, i: int, p: Tensor) -> Tensor:
    """The gradient of p, the parameter number i, of p's shape and on p's device.

    An array that was assigned to `.grad` becomes a tensor there.
    Raises: GradientError for another shape or device, or for numbers that are not real.
    """
    if not isinstance(p.grad, Tensor):
        p.grad = as_tensor(p.grad)
    g, theta = p.grad.data, p.data
    if g.shape != theta.shape or is_host(g) != is_host(theta) or g.dtype.kind not in "fiu":
        raise GradientError(
            f"{call}: expected a real gradient {p.shape} on {p.device} for parameter {i}, got "
            f"{g.shape} of {g.dtype} on {p.grad.device}"
        )
    return p.grad


def check_writable(call: str, what: str, i: int, array: Array) -> None:
    """Raise GradientError for memory that must not be written: a file's, or a bytes object's."""
    if is_host(array) and not array.flags.writeable:
        raise GradientError(
            f"{call}: expected {what} {i} of shape {array.shape} in memory that can be written, "
            "got read-only memory; nothing was changed; assign a copy: np.array(...)"
        )
