"""The published updates in plain NumPy, and random problems to run them on."""

import numpy as np
import pytest

import minidl as md
from minidl.nn import Parameter

SHAPES = ((3, 4), (5,), (), (2, 3, 2, 2))
STEPS = 50


def sgd(theta, gs, lr=0.1, momentum=0.0, nesterov=False, weight_decay=0.0):
    v = np.zeros_like(theta)
    for g in gs:
        g = g + weight_decay * theta
        v = momentum * v + g
        theta = theta - lr * (g + momentum * v if nesterov else v)
    return theta


def rmsprop(theta, gs, lr=0.01, alpha=0.99, eps=1e-8, weight_decay=0.0):
    s = np.zeros_like(theta)
    for g in gs:
        g = g + weight_decay * theta
        s = alpha * s + (1 - alpha) * g**2
        theta = theta - lr * g / (np.sqrt(s) + eps)
    return theta


def adam(theta, gs, lr=0.001, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, apart=False):
    m = v = np.zeros_like(theta)
    for t, g in enumerate(gs, 1):
        if apart:
            theta = theta - lr * weight_decay * theta
        else:
            g = g + weight_decay * theta
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        mean, square = m / (1 - betas[0] ** t), v / (1 - betas[1] ** t)
        theta = theta - lr * mean / (np.sqrt(square) + eps)
    return theta


def adamw(theta, gs, weight_decay=0.01, **options):
    return adam(theta, gs, weight_decay=weight_decay, apart=True, **options)


CASES = [
    ("SGD", sgd, {"lr": 0.1}),
    ("SGD", sgd, {"lr": 0.1, "weight_decay": 0.3}),
    ("SGD", sgd, {"lr": 0.05, "momentum": 0.9}),
    ("SGD", sgd, {"lr": 0.05, "momentum": 0.8, "weight_decay": 0.1}),
    ("SGD", sgd, {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    ("SGD", sgd, {"lr": 0.05, "momentum": 0.7, "nesterov": True, "weight_decay": 0.2}),
    ("RMSProp", rmsprop, {}),
    ("RMSProp", rmsprop, {"lr": 0.02, "alpha": 0.9, "eps": 1e-3, "weight_decay": 0.1}),
    ("Adam", adam, {}),
    ("Adam", adam, {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1}),
    ("AdamW", adamw, {}),
    ("AdamW", adamw, {"lr": 0.02, "betas": (0.5, 0.9), "weight_decay": 0.3}),
]
cases = pytest.mark.parametrize(
    ("name", "formula", "options"), CASES, ids=[f"{n} {o}" for n, _, o in CASES]
)
kinds = pytest.mark.parametrize("name", ["SGD", "RMSProp", "Adam", "AdamW"])


def draw(dtype=np.float64, order="C"):
    rng = np.random.default_rng(0)
    thetas = [rng.normal(size=s) for s in SHAPES]
    gradients = [[rng.normal(size=s) for s in SHAPES] for _ in range(STEPS)]
    params = [Parameter(np.array(t, order=order), dtype=dtype) for t in thetas]
    return params, thetas, gradients


def put(params, gradients):
    for p, g in zip(params, gradients, strict=True):
        p.grad = md.tensor(g, dtype=p.dtype)
