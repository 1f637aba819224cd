"""Pictures of a network: its filters, its feature maps, and the pixels that decide its answer."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..checks import check
from ..device import FLOAT, to_device, to_host
from ..errors import ConfigError
from ..modes import evaluating, no_grad
from ..nn import Conv2d, Module
from ..ops import sum as total
from ..tensor import ArrayLike, Tensor, as_tensor
from .figures import PathLike, finite, limit, new_figure, write_figure

_MOST = 64  # tiles in a figure


def filters(model: Module, path: PathLike | None = None, *, layer: str | None = None) -> Any:
    """The kernels of a convolution, the first one by default, as tiles.

    Kernels of three channels are shown in colour, others channel by channel with 0 in white, red
    above and blue below. layer: the name of another convolution.
    Raises: ConfigError where the model has no such layer, or as in `curves`.
    """
    return _tiles(_filters(model, layer), f"filters of {_convolution(model, layer)[0]}", path)


def feature_maps(
    model: Module, image: ArrayLike, path: PathLike | None = None, *, most: int = 8
) -> Any:
    """The output of each convolution of the model for one image: a row of maps for each layer.

    image: (C, H, W) or (1, C, H, W), as the model expects it. most: how many maps of a layer to
    draw. Red is above 0, blue below.
    Raises: ConfigError where the model has no convolution, or as in `curves`.
    """
    check("plot.feature_maps", "an int >= 1", most=most)
    maps = _feature_maps(model, image)
    figure, axes = new_figure(1.1 * most + 1.2, 1.15 * len(maps) + 0.3, len(maps), most,
                              squeeze=False)  # fmt: skip
    for row, (name, values) in zip(axes, maps.items(), strict=True):
        end = limit(values)
        for axis, one in zip(row, values, strict=False):
            axis.imshow(one, cmap="RdBu_r", vmin=-end, vmax=end, interpolation="nearest")
        for axis in row:
            axis.set_axis_off()
        row[0].set_title(f"{name}: {len(values)} maps", loc="left", fontsize=8)
    return write_figure(figure, path)


def saliency(
    model: Module, image: ArrayLike, path: PathLike | None = None, *, label: int | None = None
) -> Any:
    """An image, and the derivative of one logit by each of its pixels.

    Red: a larger pixel raises the logit; blue: it lowers it. For a pixel of several channels the
    derivative with the largest size is shown. image: as in `feature_maps`. label: the class of the
    logit; by default the one that the model finds most probable.
    Raises: ConfigError for a label that is no class, or as in `curves`.
    Source: Simonyan, Vedaldi, Zisserman 2013, "Deep Inside Convolutional Networks", section 3.
    """
    slope, chosen = _saliency(model, image, label)
    figure, axes = new_figure(6.2, 3.2, 1, 2)
    _show(axes[0], _array(image)[0])
    axes[0].set_title("image", fontsize=9)
    end = limit(slope)
    picture = axes[1].imshow(slope, cmap="RdBu_r", vmin=-end, vmax=end)
    axes[1].set_title(f"∂ logit {chosen} / ∂ pixel", fontsize=9)
    figure.colorbar(picture, ax=axes[1], fraction=0.046)
    for axis in axes:
        axis.set_axis_off()
    return write_figure(figure, path)


def take_pictures(model: Module, image: ArrayLike, label: int | None = None) -> dict[str, Any]:
    """The pictures that `strip` shows for one moment of a training.

    {"filters": the first convolution's kernels, "maps": its output, "saliency": as in `saliency`}.
    image, label, Raises: as for `saliency`.
    """
    first = next(iter(_feature_maps(model, image).values()))
    slope, _ = _saliency(model, image, label)
    return {"filters": _filters(model, None), "maps": first, "saliency": slope}


def strip(
    pictures: Mapping[str, Mapping[str, np.ndarray]],
    path: PathLike | None = None,
    *,
    most: int = 8,
) -> Any:
    """How pictures change: a column for each moment, filters, maps and saliency from top to bottom.

    pictures: the result of `take_pictures` by the name of its moment ("epoch 3"). most: about how
    many moments to draw, evenly chosen; the last is always among them.
    Raises: ConfigError where there are none, or as in `curves`.
    """
    check("plot.strip", "an int >= 1", most=most)
    if not pictures:
        raise ConfigError("plot.strip: expected at least one picture, got none")
    step = max(1, -(-len(pictures) // most))
    names = [*pictures][::step]
    if names[-1] != [*pictures][-1]:
        names.append([*pictures][-1])
    figure, axes = new_figure(1.6 * len(names) + 0.6, 5.4, 3, len(names), squeeze=False)
    for column, name in zip(axes.T, names, strict=True):
        taken = pictures[name]
        sheets = [_sheet(taken["filters"]), _sheet(taken["maps"][:, None]), taken["saliency"]]
        for axis, sheet in zip(column, sheets, strict=True):
            if sheet.ndim == 3:
                axis.imshow(sheet)
            else:
                end = limit(sheet)
                axis.imshow(sheet, cmap="RdBu_r", vmin=-end, vmax=end)
            axis.grid(False)
            axis.set_xticks([])
            axis.set_yticks([])
            axis.spines[:].set_visible(False)
        column[0].set_title(name, fontsize=9)
    rows = ("filters", "feature maps", "∂ logit / ∂ pixel")
    for axis, what in zip(axes[:, 0], rows, strict=True):
        axis.set_ylabel(what, fontsize=9)
    return write_figure(figure, path)


def _convolution(model: Module, name: str | None) -> tuple[str, Conv2d]:
    found = {n: m for n, m in model.named_modules() if isinstance(m, Conv2d)}
    if not found or (name is not None and name not in found):
        raise ConfigError(
            f"plot.filters: expected the name of a convolution of the model, got {name!r}; it has "
            f"{', '.join(found) or 'none'}"
        )
    return next((n, m) for n, m in found.items() if name in (None, n))


def _filters(model: Module, layer: str | None) -> np.ndarray:
    """The kernels (out, in, kh, kw) of a convolution."""
    return to_host(_convolution(model, layer)[1].weight.data)


def _array(image: ArrayLike) -> np.ndarray:
    """One image as (1, C, H, W)."""
    array = to_host(as_tensor(image).data)
    array = array[None] if array.ndim == 3 else array
    if array.ndim != 4 or len(array) != 1:
        raise ConfigError(
            f"plot: expected one image (C, H, W) as the model expects it, got {array.shape}"
        )
    return array


def _placed(model: Module, image: ArrayLike) -> Tensor:
    first = next(iter(model.parameters()), Tensor(np.zeros(1, FLOAT)))
    return Tensor(to_device(_array(image).astype(first.dtype), first.device))


def _feature_maps(model: Module, image: ArrayLike) -> dict[str, np.ndarray]:
    """The output (channels, H, W) of each convolution, by its name."""
    maps: dict[str, np.ndarray] = {}
    layers = {n: m for n, m in model.named_modules() if isinstance(m, Conv2d)}
    if not layers:
        raise ConfigError("plot.feature_maps: expected a model with convolutions, got one without")

    def note(name: str) -> Any:
        return lambda layer, inputs, y: maps.__setitem__(name or "model", to_host(y.data)[0])

    hooks = [layer.register_forward_hook(note(name)) for name, layer in layers.items()]
    try:
        with no_grad(), evaluating(model):
            model(_placed(model, image))
    finally:
        for hook in hooks:
            hook.remove()
    return maps


def _saliency(model: Module, image: ArrayLike, label: int | None) -> tuple[np.ndarray, int]:
    """(∂logit/∂pixel (H, W), at each pixel for the channel where it is largest; the class)."""
    x = _placed(model, image)
    x.requires_grad = True
    frozen = [p for p in model.parameters() if p.requires_grad]
    try:
        for p in frozen:
            p.requires_grad = False
        with evaluating(model):
            logits = model(x)
        count = logits.shape[-1]
        chosen = int(to_host(logits.data).argmax()) if label is None else label
        whole = isinstance(chosen, int | np.integer)
        if logits.ndim != 2 or not whole or not 0 <= chosen < count:
            raise ConfigError(
                f"plot.saliency: expected a label from 0 to {count - 1} and logits (1, K), got "
                f"label {label!r} and outputs {logits.shape}"
            )
        if logits.requires_grad:
            total(logits[:, chosen]).backward()
    finally:
        for p in frozen:
            p.requires_grad = True
    # Where the logits do not depend on the image at all, their derivative is 0.
    slope = to_host(x.data * 0 if x.grad is None else x.grad.data)[0]
    largest = np.abs(slope).argmax(0)[None]
    return np.take_along_axis(slope, largest, 0)[0], chosen


def _show(axis: Any, image: np.ndarray) -> None:
    """Draw an image (C, H, W), its smallest value black and its largest white."""
    seen = _stretched(image)
    if len(image) == 3:
        axis.imshow(seen.transpose(1, 2, 0))
    else:
        axis.imshow(seen[0], cmap="gray")


def _sheet(kernels: np.ndarray) -> np.ndarray:
    """One array with the tiles (n, C, h, w) side by side, NaN between them: (rows, columns, 3) in
    colours from 0 to 1 for three channels, else (rows, columns) of values, a tile per channel.
    """
    colour = kernels.shape[1] == 3
    if not colour:
        kernels = kernels.reshape(-1, 1, *kernels.shape[2:])
    kernels = kernels[:_MOST]
    n, _, h, w = kernels.shape
    across = int(np.ceil(np.sqrt(n)))
    sheet = np.full((-(-n // across) * (h + 1) - 1, across * (w + 1) - 1, kernels.shape[1]), np.nan)
    for i, tile in enumerate(kernels):
        top, left = i // across * (h + 1), i % across * (w + 1)
        sheet[top : top + h, left : left + w] = tile.transpose(1, 2, 0)
    if not colour:
        return sheet[..., 0]
    return np.nan_to_num(_stretched(sheet), nan=1.0)


def _stretched(values: np.ndarray) -> np.ndarray:
    """Values from 0, their least, to 1, their largest; NaN where they are not finite."""
    known = values[np.isfinite(values)].astype(np.float64)
    low, high = known.min(initial=np.inf), known.max(initial=-np.inf)
    return (finite(values) - low) / (high - low or 1.0) if known.size else finite(values)


def _tiles(kernels: np.ndarray, about: str, path: PathLike | None) -> Any:
    sheet = _sheet(kernels)
    figure, axis = new_figure(4.6, 4.6)
    if sheet.ndim == 3:
        axis.imshow(sheet, interpolation="nearest")
    else:
        end = limit(sheet)
        picture = axis.imshow(sheet, cmap="RdBu_r", vmin=-end, vmax=end)
        figure.colorbar(picture, ax=axis, fraction=0.046)
    axis.set_axis_off()
    shown = min(len(kernels) * (1 if kernels.shape[1] == 3 else kernels.shape[1]), _MOST)
    axis.set_title(f"{about}: {shown} of {kernels.shape[0]}×{kernels.shape[1]} kernels "
                   f"{kernels.shape[2]}×{kernels.shape[3]}", fontsize=9)  # fmt: skip
    return write_figure(figure, path)
