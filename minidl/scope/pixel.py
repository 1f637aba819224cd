"""What the loss does when one pixel changes, beside what the gradient says it will do.

The change of the loss is often smaller than float32 can show, so it is computed in float64.
"""

import copy

import numpy as np

from ..device import Array
from ..errors import ConfigError
from ..modes import no_grad
from ..nn import BatchNorm2d, Dropout, Module
from .subject import Network

Pixel = tuple[int, int, int]  # channel, row, column
TOGETHER = 256  # images that are looked at in one pass


def true_change(network: Network, image: int, pixel: Pixel, delta: float) -> float:
    """L(x with the pixel changed by delta) - L(x); L is the mean loss of the batch."""
    images, labels = network.first
    if not 0 <= image < len(images) or any(
        not 0 <= i < n for i, n in zip(pixel, images.shape[1:], strict=True)
    ):
        raise ConfigError(
            f"pixel: expected an image from 0 to {len(images) - 1} and a pixel within "
            f"{images.shape[1:]}, got image {image}, pixel {pixel}"
        )
    model, x = _precise(network.model), images.astype(np.float64)
    changed = x.copy()
    changed[image, *pixel] += delta
    with np.errstate(all="ignore"), no_grad():
        before, after = (network.loss(model(a), labels).item() for a in (x, changed))
    return float(after - before)


def true_changes(network: Network, image: int, delta: float) -> Array:
    """`true_change` for each pixel of an image; shape (C, H, W)."""
    images, labels = network.first
    shape = images.shape[1:]
    pixels = [(c, i, j) for c, i, j in np.ndindex(*shape)]
    if any(isinstance(m, BatchNorm2d | Dropout) for _, m in network.model.named_modules()):
        found = [true_change(network, image, pixel, delta) for pixel in pixels]
        return np.array(found).reshape(shape)
    # No image sees another: the changed versions of one image can be a batch.
    model, x = _precise(network.model), images[image].astype(np.float64)
    label = labels[image : image + 1]
    found = []
    with np.errstate(all="ignore"), no_grad():
        before = network.loss(model(x[None]), label).item()
        for start in range(0, len(pixels), TOGETHER):
            part = pixels[start : start + TOGETHER]
            changed = np.repeat(x[None], len(part), 0)
            for n, pixel in enumerate(part):
                changed[n, *pixel] += delta
            logits = model(changed)
            found += [
                network.loss(logits[n : n + 1], label).item() - before for n in range(len(part))
            ]
    return np.array(found).reshape(shape) / len(images)


def _precise(model: Module) -> Module:
    """A copy of the model in float64."""
    twin = copy.deepcopy(model)
    for t in twin._state().values():
        if t.data.dtype.kind == "f":
            t.data = t.data.astype(np.float64)
    return twin
