"""The doctor's word on networks of many kinds, and what training then does to them."""

import functools
import math

import numpy as np
import pytest

import minidl as md
from minidl.health import doctor
from minidl.lab.cnn import batches

nn, optim = md.nn, md.optim
STEPS = 60


class Own(nn.Module):
    """A layer that the doctor does not know."""

    def __init__(self, inputs, outputs):
        self.weight = nn.Parameter(nn.init.he_normal()((outputs, inputs)))

    def forward(self, x):
        return md.ops.matmul(x, self.weight.T)


def zero_head(model):
    model.layers[-1].weight.data[...] = 0
    return model


def normalised(depth):
    parts, size = [nn.Flatten()], 784
    for _ in range(depth):
        parts += [nn.Dense(size, 128), nn.LayerNorm(128), nn.ReLU()]
        size = 128
    return nn.Sequential(*parts, nn.Dense(size, 10))


def residual(branches):
    parts = [nn.Flatten(), nn.Dense(784, 128)]
    parts += [nn.Residual(nn.Sequential(nn.ReLU(), nn.Dense(128, 128))) for _ in range(branches)]
    return nn.Sequential(*parts, nn.Dense(128, 10))


def own(inputs):
    return nn.Sequential(nn.Flatten(), Own(inputs, 64), nn.Tanh(), Own(64, 10))


def squared(logits, labels):
    """Mean squared error to one-hot labels."""
    wanted = np.eye(10, dtype=np.float32)[np.asarray(labels)]
    return ((logits - wanted) ** 2).mean()


mlp = functools.partial(md.models.mlp, 784)
momentum = functools.partial(optim.SGD, momentum=0.9)
# What is built, by which optimizer it is trained, a rate it bears and one that it does not.
NETWORKS = {
    "article": (md.models.article_cnn, optim.SGD, 0.2, 5.0, {}),
    "article, adam": (md.models.article_cnn, optim.Adam, 0.003, 1.0, {}),
    "article, rmsprop": (md.models.article_cnn, optim.RMSProp, 0.01, 3.0, {}),
    "article, clipped": (md.models.article_cnn, optim.SGD, 2.0, 20.0, {"clip": 1.0}),
    "article, zero head": (lambda: zero_head(md.models.article_cnn()), optim.SGD, 0.1, 30.0, {}),
    "softmax": (lambda: mlp([]), optim.SGD, 10.0, None, {}),
    "softmax, squares": (lambda: mlp([]), optim.SGD, 0.03, 0.6, {"loss": squared}),
    "mlp": (lambda: mlp([256]), optim.SGD, 0.2, 2.0, {}),
    "mlp, momentum": (lambda: mlp([256, 256]), momentum, 0.02, 0.6, {}),
    "mlp, zero head": (lambda: zero_head(mlp([256, 256])), optim.SGD, 0.1, 3.0, {}),
    "mlp, selu": (lambda: mlp([256] * 4, init="lecun_normal", activation=nn.SELU), optim.SGD,
                  0.03, 0.6, {}),
    "mlp, tanh": (lambda: mlp([256], init="xavier_normal", activation=nn.Tanh), optim.SGD,
                  0.1, 3.0, {}),
    "mlp, tanh, rmsprop": (lambda: mlp([256] * 2, init="xavier_normal", activation=nn.Tanh),
                           optim.RMSProp, 0.0005, 0.05, {}),
    "layer norm": (lambda: normalised(2), optim.SGD, 0.3, 10.0, {}),
    "layer norm, adam": (lambda: normalised(3), optim.Adam, 0.003, 0.5, {}),
    "residual mlp": (lambda: residual(3), optim.SGD, 0.02, 0.5, {}),
    "own layers": (lambda: own(784), optim.SGD, 0.05, 20.0, {}),
}  # fmt: skip


def outcome(model, optimizer, later, test, loss=md.ops.cross_entropy, clip=None):
    """What 60 steps do, in the words of the study."""
    losses = []
    with np.errstate(all="ignore"):
        for _, (images, labels) in zip(range(STEPS), later, strict=False):
            optimizer.zero_grad()
            value = loss(model(images), labels)
            losses.append(value.item())
            if not math.isfinite(losses[-1]):
                return "diverged"
            value.backward()
            if clip:
                md.optim.clip_grad_norm(model.parameters(), clip)
            optimizer.step()
        with md.no_grad():
            right = (model(test.images).numpy().argmax(1) == test.labels).mean()
    if max(losses) > 3 * max(losses[0], 2.3) and right < 0.2:
        return "diverged"
    return "learned" if right >= 0.5 else "neither"


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", NETWORKS)
def test_what_it_says_happens(name, seed):
    make, method, bears, diverges, options = NETWORKS[name]
    train, test = md.data.digits().split(0.2, seed=0)
    for rate in filter(None, (bears, diverges)):
        md.manual_seed(seed)
        model = make()
        optimizer = method(model.parameters(), rate)
        later = batches(train, seed)
        first = train.images[:64], train.labels[:64]
        said = doctor(model, first, optimizer, **options).verdict
        came = outcome(model, optimizer, later, test, **options)
        wanted = ("will diverge", "diverged") if rate == diverges else (said, "learned")
        assert (said, came) == wanted, rate
        assert (said == "will diverge") == (rate == diverges), rate


@pytest.mark.parametrize("rate", [1.0, 1e4, 1e30])
def test_a_rate_for_squares_comes_from_their_curvature(rate):
    """Of a quadratic loss, whatever the rate: prescribed is one that trains it."""
    train, test = md.data.digits().split(0.2, seed=0)
    first = train.images[:64], train.labels[:64]
    model = mlp([])
    report = doctor(model, first, optim.SGD(model.parameters(), rate), loss=squared)
    assert report.verdict == "will diverge"
    assert [f.code for f in report.findings if f.severity == "red"] == ["overshoot"]
    optimizer = optim.SGD(model.parameters(), report.remedy["lr"])
    later = batches(train, 0)
    assert optimizer.lr > 0
    assert outcome(model, optimizer, later, test, squared) != "diverged"


def test_a_loss_that_reaches_no_weight():
    model = mlp([8])
    first = np.ones((16, 784), np.float32), np.zeros(16, int)
    said = doctor(model, first, optim.SGD(model.parameters(), 0.1), loss=lambda x, y: (x * 0).sum())
    assert said.verdict == "will not learn"
    frozen = mlp([8], activation=nn.LeakyReLU)  # of so few units, all may be dead
    for p in frozen.parameters():
        p.requires_grad = False
    frozen.layers[-1].bias.requires_grad = True
    optimizer = optim.SGD([frozen.layers[-1].bias], 0.1)
    assert doctor(frozen, first, optimizer, loss=squared, trial_steps=2).verdict == "healthy"
