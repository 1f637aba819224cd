"""The figure of a recorded graph: every operation with its value and its gradient."""

import shutil
import subprocess
from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import backward
from ..device import to_host
from ..errors import ConfigError, GradientError
from ..norms import rms
from ..tensor import Tensor, cotangent_of
from .figures import COLORS, GREY, PathLike, literal, new_figure, write_figure

MOST = 150  # boxes: a figure with more cannot be read
_WIDTH, _HEIGHT = 1.75, 0.85  # inches from a box to the next
_SWEEPS = 4  # passes that bring boxes nearer to those that they are joined to


def graph(
    tensor: Tensor,
    path: PathLike | None = None,
    *,
    names: Mapping[str, Tensor] | None = None,
) -> Any:
    """Draw how a tensor was computed, from its inputs on the left to itself on the right.

    Each box is an operation with its result: a number, or the shape and the root mean square of an
    array. Below it stands the gradient of the tensor by that result. Where the tensor is no scalar
    it is the gradient of the sum of its values. Leaves are grey where no gradient reaches them. No
    `.grad` is changed. Where Graphviz's program `dot` is installed, it places the boxes.
    names: names for leaves and results in the figure.
    Raises: GradientError where nothing was recorded, or a backward pass has freed the graph;
    ConfigError for more than 150 boxes (operations and leaves), or as in `curves`.
    """
    if not isinstance(tensor, Tensor) or tensor.node is None:
        raise GradientError(
            "plot.graph: expected a Tensor that operations have recorded, got "
            f"{'one that none has' if isinstance(tensor, Tensor) else type(tensor).__name__}; "
            "compute it from tensors with requires_grad=True"
        )
    found = _found(tensor)
    gradients = _gradients(tensor, found)
    edges = [(id(x), id(y)) for y in found.values() for x in _inputs(y)]
    places = _by_dot(found, edges) or _in_columns(found, edges)
    xs, ys = zip(*places.values(), strict=True)
    figure, axis = new_figure(max(3.0, 1.2 + max(xs)), max(1.6, 0.9 + max(ys)))
    axis.set_axis_off()
    axis.set_xlim(-0.9, max(xs) + 0.9)
    axis.set_ylim(-0.6, max(ys) + 0.6)
    called = {id(t): literal(name) for name, t in (names or {}).items()}
    for a, b in edges:
        arrow = {"arrowstyle": "-|>", "color": GREY, "shrinkA": 26, "shrinkB": 30, "lw": 0.9}
        axis.annotate("", xy=places[b], xytext=places[a], arrowprops=arrow)
    for key, t in found.items():
        leaf = t.node is None
        title = called.get(key) or ("leaf" if t.node is None else t.node.name)
        if key in called and t.node is not None:
            title = f"{called[key]} = {t.node.name}"
        text = f"{title}\n{_amount(t.data)}"
        if key in gradients:
            text += f"\n∂ {_amount(gradients[key])}"
        color = "#eeeeee" if leaf and not t.requires_grad else "#e6f2fa" if leaf else "white"
        edge = COLORS[1] if t is tensor else COLORS[0] if t.requires_grad else GREY
        box = {"boxstyle": "round,pad=0.35", "facecolor": color, "edgecolor": edge}
        axis.text(*places[key], text, ha="center", va="center", fontsize=7, bbox=box)
    return write_figure(figure, path)


def _inputs(t: Tensor) -> list[Tensor]:
    if t.node is None:
        return []
    if t.node.inputs is None:
        raise GradientError(
            "plot.graph: expected a recorded graph, but a backward pass has freed it; draw it "
            "before backward(), or call backward(retain_graph=True)"
        )
    return [x for x, _ in t.node.inputs]


def _found(tensor: Tensor) -> dict[int, Tensor]:
    """Every tensor of the graph by its id, each after its inputs."""
    order: dict[int, Tensor] = {}
    waiting: list[tuple[Tensor, bool]] = [(tensor, False)]
    while waiting:
        t, done = waiting.pop()
        if id(t) in order:
            continue
        if done:
            order[id(t)] = t
            continue
        waiting.append((t, True))
        waiting += [(x, False) for x in reversed(_inputs(t)) if id(x) not in order]
        if len(waiting) > 20 * MOST or len(order) > MOST:
            raise ConfigError(
                f"plot.graph: expected at most {MOST} boxes (operations and leaves), got more; "
                "draw the graph of a smaller network, or of one layer"
            )
    return order


def _gradients(tensor: Tensor, found: Mapping[int, Tensor]) -> dict[int, Any]:
    """The gradient of the sum of `tensor` by each tensor of the graph, by the tensor's id."""
    if not tensor.requires_grad:
        return {}
    gradients: dict[int, Any] = {}

    def keep(t: Tensor) -> Any:
        return t.register_hook(lambda g: gradients.__setitem__(id(t), g.data))

    inner = [t for t in found.values() if t.requires_grad and t.node is not None]
    hooks = [keep(t) for t in inner]
    try:
        ones = np.ones(tensor.shape) if tensor.ndim else None
        root = [(tensor, cotangent_of("plot.graph", tensor, ones))]
        for leaf, g in backward.sweep(root, retain_graph=True, create_graph=False):
            gradients[id(leaf)] = g.data
    finally:
        for hook in hooks:
            hook.remove()
    return gradients


def _amount(array: Any) -> str:
    host = to_host(array)
    if host.size == 1:
        return f"{host.reshape(-1)[0]:.4g}"
    if host.dtype.kind not in "fc":
        return f"{'×'.join(map(str, host.shape))} {host.dtype}"
    return f"{'×'.join(map(str, host.shape))}  rms {rms(host):.3g}"


def _by_dot(
    found: Mapping[int, Tensor], edges: list[tuple[int, int]]
) -> dict[int, tuple[float, float]] | None:
    """The places (x, y) in inches that Graphviz gives the boxes; None where it is not installed."""
    program = shutil.which("dot")
    if program is None:
        return None
    boxes = "".join(f'"{key}" [label="" shape=box width=1.4 height=0.6];' for key in found)
    arrows = "".join(f'"{a}" -> "{b}";' for a, b in edges)
    text = f"digraph {{ rankdir=LR; nodesep=0.2; ranksep=0.35; {boxes}{arrows} }}"
    try:
        done = subprocess.run(
            [program, "-Tplain"], input=text, capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    words = (line.split() for line in done.stdout.splitlines())
    places = {int(w[1].strip('"')): (float(w[2]), float(w[3])) for w in words if w[:1] == ["node"]}
    return places if places.keys() == found.keys() else None


def _in_columns(
    found: Mapping[int, Tensor], edges: list[tuple[int, int]]
) -> dict[int, tuple[float, float]]:
    """Boxes in columns by the longest way from a leaf, in rows near those they are joined to."""
    column: dict[int, int] = {}
    for key, made in found.items():  # inputs come first
        column[key] = max((column[id(x)] + 1 for x in _inputs(made)), default=0)
    for key in reversed([*found]):  # a leaf stands right before the operation that uses it
        users = [column[b] for a, b in edges if a == key]
        column[key] = min(users) - 1 if users and found[key].node is None else column[key]
    columns = [[k for k in found if column[k] == c] for c in range(max(column.values()) + 1)]
    row = {key: float(i) for keys in columns for i, key in enumerate(keys)}
    for _ in range(_SWEEPS):
        for keys in columns:
            wish = {
                key: _mean([row[b if a == key else a] for a, b in edges if key in (a, b)], row[key])
                for key in keys
            }
            for i, key in enumerate(sorted(keys, key=wish.__getitem__)):
                row[key] = float(i)
    tallest = max(map(len, columns))
    return {
        key: (_WIDTH * column[key], _HEIGHT * (row[key] + (tallest - len(keys)) / 2))
        for keys in columns
        for key in keys
    }


def _mean(values: list[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise
