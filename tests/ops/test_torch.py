"""PyTorch as a second opinion on values and gradients, where it is installed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl as md
from tests.ops.cases import CASES

torch = pytest.importorskip("torch")
torch.set_num_threads(1)
F = torch.nn.functional


def axes(axis, x):
    return tuple(range(x.ndim)) if axis is None else axis


def var(x, axis=None, ddof=0, keepdims=False):
    return x.var(axes(axis, x), correction=ddof, keepdim=keepdims)


def conv(function):
    def run(*xs, padding=0, **kwargs):
        return function(*xs, padding=0 if padding == "valid" else padding, **kwargs)

    return run


def pool(function):
    def run(x, size, stride=None, padding=0):
        return function(x, size, stride, 0 if padding == "valid" else padding)

    return run


def within_pytorch(name, arrays, kwargs):
    """Its "same" takes no stride, its pooling pads at most half a window."""
    padding = kwargs.get("padding", 0)
    if "pool" in name and padding not in ("same", "valid"):
        return 2 * padding <= np.min(kwargs.get("size", 2))
    return padding != "same" and (name not in ("max", "min") or arrays[0].ndim > 0)


SECOND_OPINIONS = {
    "abs": torch.abs,
    "clip": lambda x, low=-np.inf, high=np.inf: torch.clamp(x, low, high),
    "elu": F.elu,
    "erf": torch.erf,
    "gelu": F.gelu,
    "leaky_relu": lambda x, slope=0.01: F.leaky_relu(x, slope),
    "log_sigmoid": F.logsigmoid,
    "logaddexp": torch.logaddexp,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "power": torch.pow,
    "relu": F.relu,
    "selu": F.selu,
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "softplus": F.softplus,
    "tanh": torch.tanh,
    "where": torch.where,
    "max": lambda x, axis=None, keepdims=False: torch.amax(x, axes(axis, x), keepdims),
    "min": lambda x, axis=None, keepdims=False: torch.amin(x, axes(axis, x), keepdims),
    "mean": lambda x, axis=None, keepdims=False: torch.mean(x, axis, keepdim=keepdims),
    "logsumexp": lambda x, axis=None, keepdims=False: torch.logsumexp(x, axes(axis, x), keepdims),
    "norm": lambda x, axis=None, keepdims=False: torch.linalg.vector_norm(
        x, 2, axes(axis, x), keepdims
    ),
    "var": var,
    "std": lambda x, **kwargs: var(x, **kwargs).sqrt(),
    "cumsum": torch.cumsum,
    "softmax": lambda x, axis=-1: torch.softmax(x, axis),
    "log_softmax": lambda x, axis=-1: torch.log_softmax(x, axis),
    "mse_loss": F.mse_loss,
    "l1_loss": F.l1_loss,
    "huber_loss": F.huber_loss,
    "binary_cross_entropy": F.binary_cross_entropy_with_logits,
    "cross_entropy": F.cross_entropy,
    "linear": F.linear,
    "matmul": torch.matmul,
    "einsum": lambda *xs, subscripts: torch.einsum(subscripts, *xs),
    "tensordot": lambda a, b, axes=2: torch.tensordot(a, b, axes),
    "tril": lambda x, k=0: torch.tril(x, k),
    "triu": lambda x, k=0: torch.triu(x, k),
    "conv2d": conv(F.conv2d),
    "conv_transpose2d": conv(F.conv_transpose2d),
    "max_pool2d": pool(F.max_pool2d),
    "avg_pool2d": pool(F.avg_pool2d),
    "global_avg_pool2d": lambda x: F.adaptive_avg_pool2d(x, 1)[..., 0, 0],
}


@pytest.mark.parametrize("name", SECOND_OPINIONS)
@given(seed=st.integers(0, 2**32 - 1))
def test_value_and_gradient_agree_with_pytorch(name, seed):
    case = CASES[name]
    rng = np.random.default_rng(seed)
    arrays, kwargs = case.draw(rng)
    if not within_pytorch(name, arrays, kwargs):
        return
    if name == "tensordot" and isinstance(kwargs.get("axes"), tuple):
        kwargs["axes"] = [[a] if isinstance(a, int) else list(a) for a in kwargs["axes"]]
    ours = [md.tensor(a, dtype=a.dtype, requires_grad=a.dtype.kind == "f") for a in arrays]
    theirs = [torch.tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
    y, expected = case.function(name, kwargs)(*ours), SECOND_OPINIONS[name](*theirs, **kwargs)
    np.testing.assert_allclose(y.numpy(), expected.detach().numpy(), rtol=1e-10, atol=1e-12)
    u = rng.normal(size=y.shape)
    y.backward(u)
    expected.backward(torch.tensor(u))
    for a, b in zip(ours, theirs, strict=True):
        if a.requires_grad:
            np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-10, atol=1e-12)
