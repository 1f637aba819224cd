"""Layers beside PyTorch's: names, layouts, outputs, gradients, running statistics."""

import numpy as np
import pytest

import minidl as md
from minidl import nn
from tests.device import fetch

torch = pytest.importorskip("torch", reason="PyTorch is not installed: nothing to compare with")
torch.set_num_threads(1)
tnn = torch.nn

IMAGES, ROWS = (3, 4, 9, 8), (5, 6)
PAIRS = {
    "dense": (lambda: nn.Dense(6, 3), lambda: tnn.Linear(6, 3), ROWS),
    "dense, no bias": (
        lambda: nn.Dense(6, 3, bias=False),
        lambda: tnn.Linear(6, 3, bias=False),
        ROWS,
    ),
    "conv": (
        lambda: nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2)),
        lambda: tnn.Conv2d(4, 6, (3, 2), (2, 1), (1, 0), (1, 2)),
        IMAGES,
    ),
    "conv, groups": (
        lambda: nn.Conv2d(4, 6, 3, groups=2, bias=False),
        lambda: tnn.Conv2d(4, 6, 3, groups=2, bias=False),
        IMAGES,
    ),
    "conv, same": (
        lambda: nn.Conv2d(4, 2, 3, padding="same"),
        lambda: tnn.Conv2d(4, 2, 3, padding="same"),
        IMAGES,
    ),
    "transposed conv": (
        lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2),
        lambda: tnn.ConvTranspose2d(4, 6, 3, 2, 1, 1, groups=2),
        IMAGES,
    ),
    "max pool": (lambda: nn.MaxPool2d(3, 2, 1), lambda: tnn.MaxPool2d(3, 2, 1), IMAGES),
    "avg pool": (lambda: nn.AvgPool2d(3, 2, 1), lambda: tnn.AvgPool2d(3, 2, 1), IMAGES),
    "flatten": (nn.Flatten, tnn.Flatten, IMAGES),
    "relu": (nn.ReLU, tnn.ReLU, IMAGES),
    "leaky relu": (nn.LeakyReLU, tnn.LeakyReLU, IMAGES),
    "elu": (lambda: nn.ELU(0.7), lambda: tnn.ELU(0.7), IMAGES),
    "selu": (nn.SELU, tnn.SELU, IMAGES),
    "gelu": (nn.GELU, tnn.GELU, IMAGES),
    "gelu, tanh": (lambda: nn.GELU("tanh"), lambda: tnn.GELU("tanh"), IMAGES),
    "tanh": (nn.Tanh, tnn.Tanh, IMAGES),
    "sigmoid": (nn.Sigmoid, tnn.Sigmoid, IMAGES),
    "softmax": (nn.Softmax, lambda: tnn.Softmax(-1), ROWS),
    "batch norm": (
        lambda: nn.BatchNorm2d(4, 0.2, 1e-3),
        lambda: tnn.BatchNorm2d(4, 1e-3, 0.2),
        IMAGES,
    ),
    "layer norm": (lambda: nn.LayerNorm((9, 8)), lambda: tnn.LayerNorm((9, 8)), IMAGES),
    "net": (
        lambda: nn.Sequential(
            *(nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.MaxPool2d(2)),
            nn.Sequential(nn.Flatten(), nn.Dense(45, 3)),
        ),
        lambda: tnn.Sequential(
            *(tnn.Conv2d(4, 5, 3), tnn.BatchNorm2d(5), tnn.ReLU(), tnn.MaxPool2d(2)),
            tnn.Sequential(tnn.Flatten(), tnn.Linear(45, 3)),
        ),
        IMAGES,
    ),
}


def twins(name):
    """Our layer with their weights, both in float64, and the shape of an input."""
    md.manual_seed(0)
    torch.manual_seed(0)
    make, make_theirs, shape = PAIRS[name]
    ours, theirs = make(), make_theirs().double()
    for t in ours._state().values():
        t.data = t.data.astype(np.float64) if t.dtype.kind == "f" else t.data
    ours.load_state_dict({n: t.numpy() for n, t in theirs.state_dict().items()})
    return ours, theirs, shape


def close(a, b):
    np.testing.assert_allclose(fetch(a), b.detach().numpy(), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", PAIRS)
def test_names_and_layouts(name):
    ours, theirs, _ = twins(name)
    state, expected = fetch(ours.state_dict()), theirs.state_dict()
    assert list(state) == list(expected)
    assert [a.shape for a in state.values()] == [tuple(t.shape) for t in expected.values()]
    assert [str(a.dtype) for a in state.values()] == [
        str(t.dtype).removeprefix("torch.") for t in expected.values()
    ]
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    theirs.load_state_dict({n: torch.tensor(a) for n, a in state.items()})


@pytest.mark.parametrize("name", PAIRS)
def test_outputs_gradients_and_state_in_training_and_prediction(name):
    ours, theirs, shape = twins(name)
    for step in range(3):
        rng = np.random.default_rng(step)
        x = md.tensor(rng.normal(size=shape), dtype=np.float64, requires_grad=True)
        x2 = torch.tensor(x.numpy(), requires_grad=True)
        y, y2 = ours(x), theirs(x2)
        close(y, y2)
        g = rng.normal(size=y.shape)
        y.backward(g)
        y2.backward(torch.tensor(g))
        close(x.grad, x2.grad)
        for (n, p), (n2, p2) in zip(
            ours.named_parameters(), theirs.named_parameters(), strict=True
        ):
            assert n == n2
            close(p.grad, p2.grad)
        for array, t in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True):
            close(array, t)
    close(ours.eval()(x), theirs.eval()(x2))


@pytest.mark.parametrize("kind", ["dense", "conv"])
@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_weight_norm(kind):
    ours, theirs, shape = twins(kind)
    nn.weight_norm(ours)
    theirs = tnn.utils.weight_norm(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for p, p2 in zip(ours.parameters(), theirs.parameters(), strict=True):
        close(p, p2)
    x = np.random.default_rng(0).normal(size=shape)
    y, y2 = ours(x), theirs(torch.tensor(x))
    close(y, y2)
    (y * y).sum().backward()
    (y2 * y2).sum().backward()
    for p, p2 in zip(ours.parameters(), theirs.parameters(), strict=True):
        close(p.grad, p2.grad)
