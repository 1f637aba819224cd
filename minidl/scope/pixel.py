"""The true change of the loss when one pixel changes, to compare with the gradient's prediction.

The change is often smaller than float32 can show, so it is computed in float64.
"""

import copy

import numpy as np

from ..device import Array
from ..errors import ConfigError
from ..modes import no_grad
from ..nn import BatchNorm2d, Dropout, Module
from .subject import Network

Pixel = tuple[int, int, int]  # channel, row, column
TOGETHER = 256  # images in one forward pass


def true_change(network: Network, image: int, pixel: Pixel, delta: float) -> float:
    """L(x with the pixel changed by delta) - L(x); L is the mean loss of the batch.

    image: its index in the batch. Raises: ConfigError for an image or a pixel that is not there.
    """
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
    losses = []
    for a in (x, changed):
        with np.errstate(all="ignore"), no_grad(), network.same_numbers():
            losses.append(network.loss(model(a), labels).item())
    return float(losses[1] - losses[0])


def images_are_apart(model: Module) -> bool:
    """Whether the output for an image depends neither on the batch's other images (BatchNorm) nor
    on the image's place among them (Dropout).
    """
    return not any(isinstance(m, BatchNorm2d | Dropout) for _, m in model.named_modules())


def true_changes(network: Network, image: int, delta: float) -> Array:
    """`true_change` for each pixel of an image; shape (C, H, W).

    The changed versions of the image form one batch, so the network must keep images apart
    (`images_are_apart`).
    """
    images, labels = network.first
    model, x = _precise(network.model), images[image].astype(np.float64)
    pixels, label = list(np.ndindex(*x.shape)), labels[image : image + 1]
    losses: list[float] = []
    with np.errstate(all="ignore"), no_grad():
        before = network.loss(model(x[None]), label).item()
        for start in range(0, len(pixels), TOGETHER):
            part = pixels[start : start + TOGETHER]
            changed = np.repeat(x[None], len(part), 0)
            for n, pixel in enumerate(part):
                changed[n, *pixel] += delta
            logits = model(changed)
            losses += [network.loss(logits[n : n + 1], label).item() for n in range(len(part))]
    return (np.array(losses) - before).reshape(x.shape) / len(images)


def _precise(model: Module) -> Module:
    """A copy of the model in float64."""
    twin = copy.deepcopy(model)
    for t in twin._state().values():
        if t.data.dtype.kind == "f":
            t.data = t.data.astype(np.float64)
    return twin
