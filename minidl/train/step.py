"""One step of training. Read `gradients`, then `step`: this is all of gradient descent."""

from collections.abc import Callable
from typing import Any

from ..device import Array
from ..errors import ConfigError
from ..tensor import Tensor
from .metrics import measure
from .settings import Settings


def gradients(job: Settings, x: Tensor, targets: Array) -> Array:
    """Forward pass, loss, backward pass: then each parameter θ holds ∂loss/∂θ in `.grad`.

    Returns loss, accuracy and the norm of each gradient in one array, see `metrics.measure`.
    """
    outputs = job.model(x)
    loss = one_number(job.loss(outputs, Tensor(targets)))
    loss.backward()
    return measure(job, loss, outputs, targets)


def step(
    job: Settings,
    x: Tensor,
    targets: Array,
    look: Callable[[Array], float],
    compute: Callable[[Settings, Tensor, Array], Array] = gradients,
) -> None:
    """Change every parameter once, to make the loss of this batch smaller.

    look: records the numbers that `compute` returns (loss, accuracy, norms), and returns the norm
    of all gradients together. It raises an error if loss or norm is not finite, so that such
    gradients never reach the weights.
    compute: computes the gradients; `gradients`, unless the batch is shared or captured.
    """
    job.forget_gradients()
    norm = look(compute(job, x, targets))
    if job.clip is not None:
        job.clip(job.parameters, norm)
    job.optimizer.step()


def one_number(loss: Any) -> Tensor:
    """The loss, if it can be differentiated. Raises: ConfigError unless it is a scalar Tensor."""
    if isinstance(loss, Tensor) and loss.ndim == 0:
        return loss
    got, cure = type(loss).__name__, "compute it with md.ops, which remember how to differentiate"
    if isinstance(loss, Tensor):
        got, cure = f"a Tensor of shape {loss.shape}", "take its mean: md.ops.mean(loss)"
    raise ConfigError(
        f"Trainer: expected loss(outputs, targets) to return a Tensor with one number, got {got}; "
        f"{cure}"
    )
