"""How objects show themselves in a notebook: as HTML, which Jupyter asks for by `_repr_html_`."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .nn import Module
    from .tensor import Tensor

SHOWN = 8  # rows and columns of a tensor's values


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """An HTML table; cells are shown as text."""
    lines = [*(("th", row) for row in [head] if head), *(("td", row) for row in rows)]
    cells = ("".join(f"<{tag}>{escape(str(c))}</{tag}>" for c in row) for tag, row in lines)
    return f"<table>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>"


def escape(text: str) -> str:
    """The text with <, > and & written as HTML wants them."""
    import html  # takes memory that only a notebook needs

    return html.escape(text)


def number(x: float) -> str:
    """x with four significant digits."""
    return f"{x:.4g}"


class TensorHtml:
    """A tensor in a notebook: shape, type, range, and values of up to two axes."""

    __slots__ = ()

    def _repr_html_(self: "Tensor") -> str:  # type: ignore[misc]
        values = self.numpy()
        words = [f"shape {self.shape}", str(self.dtype), f"on {self.device}"]
        if self.requires_grad:
            words.append("made by " + self.node.name if self.node else "requires a gradient")
        if self.size > 1 and values.dtype.kind in "fiu":
            finite = values[np.isfinite(values)]
            if finite.size:
                words.append(f"from {number(finite.min())} to {number(finite.max())}")
            if finite.size < values.size:
                words.append(f"{values.size - finite.size:,} not finite")
        if values.ndim == 0:
            words.insert(0, str(values))
        if values.ndim not in (1, 2):
            return f"<b>Tensor</b> {escape(', '.join(words))}"
        show = number if values.dtype.kind == "f" else str
        rows = [[show(x) for x in row[:SHOWN]] for row in np.atleast_2d(values)[:SHOWN]]
        for row in rows:
            row.extend(["…"] if values.shape[-1] > SHOWN else [])
        below = [["…"] * len(rows[0])] if values.ndim == 2 and len(values) > SHOWN else []
        return f"<b>Tensor</b> {escape(', '.join(words))}{table((), rows + below)}"


class ModuleHtml:
    """A model in a notebook: a row for each layer, with its parameters counted."""

    def _repr_html_(self: "Module") -> str:  # type: ignore[misc]
        rows = []
        for path, module in self.named_modules():
            own = [(name, t) for name, t in module.named_parameters() if "." not in name]
            count = sum(t.size for _, t in own)
            if own or not list(module.named_modules())[1:]:
                shapes = ", ".join(f"{name} {t.shape}" for name, t in own)
                rows.append((path, type(module).__name__, shapes, f"{count:,}"))
        rows.append(("", "all", "", f"{sum(t.size for t in self.parameters()):,}"))
        return f"<b>{type(self).__name__}</b>" + table(("", "layer", "weights", "numbers"), rows)
