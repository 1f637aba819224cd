"""Figures made of images: mistakes, a confusion table."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .figures import PathLike, literal, new_figure, write_figure


def confusion(counts: np.ndarray, classes: Sequence[str], path: PathLike | None = None) -> Any:
    """How often images of each true class (rows) got each predicted class (columns), as shares.

    counts: (K, K); a row's shares sum to 1. Up to 20 classes the counts are written into the cells.
    Raises: ConfigError as in `curves`.
    """
    k, names = len(classes), [literal(name) for name in classes]
    side = min(max(3.5, 1.8 + 0.5 * k), 14)
    figure, axis = new_figure(side + 1, side)
    total = counts.sum(1, keepdims=True)
    share = np.divide(counts, total, out=np.zeros(counts.shape), where=total > 0)
    picture = axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axis.grid(False)
    if k <= 20:
        for i, j in np.argwhere(counts):
            color = "white" if share[i, j] > 0.5 else "black"
            axis.text(j, i, f"{counts[i, j]:,}", ha="center", va="center", color=color, fontsize=8)
    if k <= 60:
        axis.set_xticks(range(k), names, rotation=90, fontsize=8)
        axis.set_yticks(range(k), names, fontsize=8)
    axis.set_xlabel("predicted class")
    axis.set_ylabel("true class")
    axis.set_aspect("auto")
    figure.colorbar(picture, ax=axis, label="share of the row")
    return write_figure(figure, path)


def gallery(
    images: np.ndarray, titles: Sequence[str], about: str, path: PathLike | None = None
) -> Any:
    """Images (N, C, H, W) in [0, 1], gray or RGB, five in a row, each below its title.

    about: the title of the whole figure. Raises: ConfigError as in `curves`.
    """
    columns = 5
    rows = max(-(-len(images) // columns), 1)
    figure, axes = new_figure(8, 1.9 * rows + 0.4, rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, image, title in zip(axes.flat, images, titles, strict=False):
        seen = np.clip(image.transpose(1, 2, 0), 0, 1)
        gray = seen.shape[2] != 3
        axis.imshow(seen[..., 0] if gray else seen, cmap="gray" if gray else None, vmin=0, vmax=1)
        axis.set_title(literal(title), fontsize=8)
    figure.suptitle(about, fontsize=10)
    return write_figure(figure, path)
