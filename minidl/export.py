"""A trained model as an ONNX file, which other programs run without minidl."""

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from . import device, kernels, nn
from .checks import check
from .data import Normalize
from .errors import ConfigError
from .files import PathLike, write_bytes
from .modes import evaluating, no_grad
from .nn import Module
from .tensor import Tensor

_OPSET, _IR = 20, 9  # of October 2023: the first with Gelu


def export_onnx(
    path: PathLike,
    model: Module,
    input_shape: tuple[int, ...],
    *,
    normalize: Normalize | None = None,
    classes: Sequence[str] = (),
) -> None:
    """Write the model, as it predicts (in eval mode), to an ONNX file.

    Shapes: `input` (N, *input_shape), N free, -> `output`, what the model gives: logits for those
    of md.models. Weights keep the names of `state_dict`.
    normalize: a step put before the model, so that the file takes images in [0, 1].
    classes: their names, kept in the file's metadata as a JSON list.
    Numerics: float32, whatever the model's dtype.
    Raises: ConfigError without the onnx library, and for a layer that is not minidl's own (layers
    may be nested in Sequential and Residual) or whose output a hook may change; ShapeError
    where input_shape does not fit the model; CheckpointError where the file cannot be written.
    """
    try:
        import onnx
        from onnx import helper, numpy_helper
    except ImportError:
        raise ConfigError("export_onnx: needs onnx: run `pip install 'minidl[onnx]'`") from None
    from . import __version__

    if not isinstance(input_shape, tuple | list):
        raise ConfigError(
            f"export_onnx: expected input_shape as in (1, 28, 28), got {input_shape!r}"
        )
    sides = {f"input_shape[{i}]": side for i, side in enumerate(input_shape)}
    check("export_onnx", "an int >= 1", **sides)
    input_shape = tuple(map(int, input_shape))  # onnx takes no NumPy integers
    graph = _Graph(model)
    with evaluating(model), no_grad():
        x = _Value("input", graph.zeros(input_shape))
        y = graph.layer(model, x if normalize is None else graph.normalized(normalize, x))
    graph.nodes.append(("Identity", [y.name], "output", {}))
    real = onnx.TensorProto.FLOAT
    built = helper.make_model(
        helper.make_graph(
            [helper.make_node(op, names, [out], **how) for op, names, out, how in graph.nodes],
            "minidl",
            [helper.make_tensor_value_info("input", real, ["N", *input_shape])],
            [helper.make_tensor_value_info("output", real, ["N", *y.like.shape[1:]])],
            [numpy_helper.from_array(array, name) for name, array in graph.arrays.items()],
        ),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR,
        producer_name="minidl",
        producer_version=__version__,
    )
    if classes:
        helper.set_model_props(built, {"classes": json.dumps(list(classes))})
    onnx.checker.check_model(built, full_check=True)
    write_bytes(path, built.SerializeToString())


class _Value(NamedTuple):
    """A value of the graph: its name, and one example of it, which knows its shape."""

    name: str
    like: Tensor


class _Graph:
    """The nodes (operation, inputs, output, attributes) and arrays of a model, layer by layer."""

    def __init__(self, model: Module) -> None:
        self.model = model
        self.paths = {id(module): path for path, module in model.named_modules()}
        self.nodes: list[tuple[str, list[str], str, dict[str, Any]]] = []
        self.arrays: dict[str, np.ndarray] = {}

    def zeros(self, shape: tuple[int, ...]) -> Tensor:
        """One example for the model, of its dtype and on its device."""
        first = (*self.model.parameters(), Tensor(np.zeros((), device.FLOAT)))[0]
        return Tensor(device.to_device(np.zeros((1, *shape), first.dtype), first.device))

    def node(self, operation: str, *inputs: str, **attributes: Any) -> str:
        """Add a node; the name of its output."""
        output = f"{operation.lower()}_{len(self.nodes)}"
        self.nodes.append((operation, list(inputs), output, attributes))
        return output

    def array(self, name: str, values: Any) -> str:
        """Add a constant, once for a layer that is used twice; its name."""
        host = device.to_host(values.data) if isinstance(values, Tensor) else np.asarray(values)
        self.arrays[name] = host.astype(device.FLOAT) if host.dtype.kind == "f" else host
        return name

    def own(self, layer: Any, *names: str) -> list[str]:
        """Constants for those of these parameters and buffers that the layer has; their names."""
        have = {name: getattr(layer, name) for name in names}
        return [
            self.array(self.name(layer, name), values)
            for name, values in have.items()
            if values is not None
        ]

    def name(self, layer: Any, attribute: str) -> str:
        """The path of a layer's attribute."""
        return f"{self.paths[id(layer)]}.{attribute}".removeprefix(".")

    def normalized(self, normalize: Normalize, x: _Value) -> _Value:
        """(x - mean) / std."""
        mean, std = (
            self.array(f"normalize.{name}", getattr(normalize, name).reshape(-1, 1, 1))
            for name in ("mean", "std")
        )
        return _Value(self.node("Div", self.node("Sub", x.name, mean), std), x.like)

    def layer(self, layer: Any, x: _Value) -> _Value:
        """The layer's output for x."""
        kind: Any = next((kind for kind in type(layer).__mro__ if kind in _FORMS), None)
        same = kind and (type(layer).forward, type(layer).__call__) == (kind.forward, kind.__call__)
        if not same or "forward" in vars(layer):
            raise ConfigError(
                f"export_onnx: expected minidl's own layers, got {type(layer).__name__} at "
                f"{self.paths[id(layer)]!r}, which has no ONNX form; build it from "
                f"{', '.join(sorted(form.__name__ for form in _FORMS))}"
            )
        if layer.is_watched:
            raise ConfigError(
                f"export_onnx: {type(layer).__name__} at {self.paths[id(layer)]!r} has hooks, "
                "which may change its output; remove them first"
            )
        return _FORMS[kind](self, layer, x)


_Form = Callable[[_Graph, Any, _Value], _Value]


def _sequential(graph: _Graph, layer: nn.Sequential, x: _Value) -> _Value:
    for part in layer:
        x = graph.layer(part, x)
    return x


def _residual(graph: _Graph, layer: nn.Residual, x: _Value) -> _Value:
    branch = graph.layer(layer.branch, x)
    skip = x if layer.shortcut is None else graph.layer(layer.shortcut, x)
    name = branch.name
    if layer.scale != 1:
        scale = graph.array(graph.name(layer, "scale"), np.float32(layer.scale))
        name = graph.node("Mul", name, scale)
    return _Value(graph.node("Add", skip.name, name), layer(x.like))


def _leaf(form: Callable[[_Graph, Any, _Value, Tensor], str]) -> _Form:
    """The form of a layer without parts. `form` adds its nodes and returns the output's name."""

    def convert(graph: _Graph, layer: Any, x: _Value) -> _Value:
        like = layer(x.like)
        return _Value(form(graph, layer, x, like), like)

    return convert


def _one(operation: str, *attributes: str) -> _Form:
    """One node, whose attributes are the layer's."""
    return _leaf(
        lambda graph, layer, x, y: graph.node(
            operation, x.name, **{name: getattr(layer, name) for name in attributes}
        )
    )


def _flatten(graph: _Graph, layer: Any, x: _Value, y: Tensor) -> str:
    shape = np.array([0] * (y.ndim - 1) + [-1])  # 0 keeps an axis, -1 takes the rest
    name = graph.name(layer, f"shape{y.ndim}")  # the layer may be used again, on other axes
    return graph.node("Reshape", x.name, graph.array(name, shape))


def _dense(graph: _Graph, layer: nn.Dense, x: _Value, y: Tensor) -> str:
    weight, *bias = graph.own(layer, "weight", "bias")
    product = graph.node("MatMul", x.name, graph.node("Transpose", weight, perm=[1, 0]))
    return graph.node("Add", product, *bias) if bias else product


def _conv_window(layer: nn.Conv2d, image: Tensor) -> kernels.Window:
    how = layer.stride, layer.padding, layer.dilation
    return kernels.window(type(layer).__name__, image.shape[2:], layer.kernel_size, *how)


def _pool_window(layer: Any, image: Tensor) -> kernels.Window:
    how = layer.size, layer.stride, layer.padding, layer.ceil_mode
    return kernels.pooling(type(layer).__name__, image.shape[2:], *how)


def _attributes(window: kernels.Window) -> dict[str, Any]:
    top, bottom, left, right = window.pads
    return {
        "kernel_shape": window.size,
        "strides": window.stride,
        "pads": (top, left, bottom, right),
        "dilations": window.dilation,
    }


def _conv(graph: _Graph, layer: nn.Conv2d, x: _Value, y: Tensor) -> str:
    how = _attributes(_conv_window(layer, x.like))
    names = graph.own(layer, "weight", "bias")
    return graph.node("Conv", x.name, *names, group=layer.groups, **how)


def _conv_transpose(graph: _Graph, layer: nn.ConvTranspose2d, x: _Value, y: Tensor) -> str:
    window = _conv_window(layer, y)
    # Rows at the bottom and columns at the right of the larger image that no stride reaches.
    rest = [
        (side - reach) % stride
        for side, reach, stride in zip(window.padded, window.reach, window.stride, strict=True)
    ]
    names = graph.own(layer, "weight", "bias")
    how = _attributes(window) | {"group": layer.groups, "output_padding": rest}
    return graph.node("ConvTranspose", x.name, *names, **how)


# ONNX's ceil_mode may add a window that lies in the padding alone. So the rows and columns that
# ours adds are written as padding.


def _max_pool(graph: _Graph, layer: Any, x: _Value, y: Tensor) -> str:
    return graph.node("MaxPool", x.name, **_attributes(_pool_window(layer, x.like)))


def _avg_pool(graph: _Graph, layer: Any, x: _Value, y: Tensor) -> str:
    window, counts = _pool_window(layer, x.like), layer.count_include_pad
    mean = graph.node("AveragePool", x.name, count_include_pad=int(counts), **_attributes(window))
    share = window.share(True)  # None where no window reaches beyond image and padding
    if not counts or share is None:
        return mean
    places = f"share_{len(graph.nodes)}"
    return graph.node("Div", mean, graph.array(graph.name(layer, places), share))


def _global_avg_pool(graph: _Graph, layer: Any, x: _Value, y: Tensor) -> str:
    return graph.node("Flatten", graph.node("GlobalAveragePool", x.name), axis=1)


def _batch_norm(graph: _Graph, layer: nn.BatchNorm2d, x: _Value, y: Tensor) -> str:
    names = graph.own(layer, "weight", "bias", "running_mean", "running_var")
    return graph.node("BatchNormalization", x.name, *names, epsilon=layer.eps)


def _layer_norm(graph: _Graph, layer: nn.LayerNorm, x: _Value, y: Tensor) -> str:
    names = graph.own(layer, "weight", "bias")
    how = {"axis": -len(layer.shape), "epsilon": layer.eps}
    return graph.node("LayerNormalization", x.name, *names, **how)


_FORMS: dict[Any, _Form] = {
    nn.Sequential: _sequential,
    nn.Residual: _residual,
    nn.Dropout: lambda graph, layer, x: x,
    nn.Flatten: _leaf(_flatten),
    nn.Dense: _leaf(_dense),
    nn.Conv2d: _leaf(_conv),
    nn.ConvTranspose2d: _leaf(_conv_transpose),
    nn.MaxPool2d: _leaf(_max_pool),
    nn.AvgPool2d: _leaf(_avg_pool),
    nn.GlobalAvgPool2d: _leaf(_global_avg_pool),
    nn.BatchNorm2d: _leaf(_batch_norm),
    nn.LayerNorm: _leaf(_layer_norm),
    nn.ReLU: _one("Relu"),
    nn.LeakyReLU: _leaf(
        lambda graph, layer, x, y: graph.node("LeakyRelu", x.name, alpha=layer.slope)
    ),
    nn.ELU: _one("Elu", "alpha"),
    nn.SELU: _one("Selu"),
    nn.GELU: _one("Gelu", "approximate"),
    nn.Tanh: _one("Tanh"),
    nn.Sigmoid: _one("Sigmoid"),
    nn.Softmax: _one("Softmax", "axis"),
}
