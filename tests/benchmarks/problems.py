"""The problem of a case, made by minidl itself."""

from typing import Any

import numpy as np
from cases import BATCHES, Case, Problem

import minidl as md


def problem_of(case: Case) -> Problem:
    """Weights, layers and data of a case, always the same ones."""
    md.manual_seed(0)
    model = getattr(md.models, case.network)(**case.options)
    rng = np.random.default_rng(0)
    small = case.network in ("vgg_small", "resnet_small")
    size = case.options.get("size", 32 if small else 28)
    shape = (case.options.get("in_channels", 3 if small else 1), size, size)
    images = rng.standard_normal((BATCHES, case.batch, *shape), dtype=np.float32)
    labels = rng.integers(0, 10, (BATCHES, case.batch))
    weights = model.state_dict()
    return Problem(
        _describe(model, ""), weights, images, labels, case.train, case.network, case.options
    )


def _describe(layer: Any, path: str) -> list[dict[str, Any]]:
    """A layer in words that every engine understands."""
    nn = md.nn
    if isinstance(layer, nn.Sequential):
        parts = enumerate(layer)
        return [d for i, part in parts for d in _describe(part, f"{path}.{i}".lstrip("."))]
    if isinstance(layer, nn.Residual):
        short = layer.shortcut
        branch = _describe(layer.branch, f"{path}.branch")
        shortcut = None if short is None else _describe(short, f"{path}.shortcut")
        return [{"kind": "residual", "branch": branch, "shortcut": shortcut}]
    if isinstance(layer, nn.Conv2d):
        same = layer.padding == "same"
        padding = layer.kernel_size[0] // 2 if same else layer.padding
        return [{"kind": "conv", "name": path, "stride": layer.stride, "padding": padding}]
    if isinstance(layer, nn.Dense):
        return [{"kind": "dense", "name": path}]
    if isinstance(layer, nn.BatchNorm2d):
        return [{"kind": "norm", "name": path}]
    if isinstance(layer, nn.MaxPool2d):
        return [{"kind": "pool", "size": layer.size}]
    kinds = {nn.ReLU: "relu", nn.Flatten: "flatten", nn.GlobalAvgPool2d: "mean"}
    return [{"kind": kinds[type(layer)]}]
