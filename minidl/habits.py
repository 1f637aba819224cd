"""Names from PyTorch, Keras and NumPy that are called otherwise here: an error says how."""

import functools
from collections.abc import Callable
from typing import Any, NoReturn

LAYERS = {
    "Linear": "Dense", "BatchNorm": "BatchNorm2d", "BatchNormalization": "BatchNorm2d",
    "Conv2D": "Conv2d", "MaxPooling2D": "MaxPool2d", "AveragePooling2D": "AvgPool2d",
    "GlobalAveragePooling2D": "GlobalAvgPool2d", "AdaptiveAvgPool2d": "GlobalAvgPool2d",
    "CrossEntropyLoss": "md.ops.cross_entropy, a function", "ModuleList": "a list",
    "MSELoss": "md.ops.mse_loss, a function", "ModuleDict": "a dict", "SiLU": "md.ops.silu",
    "BCEWithLogitsLoss": "md.ops.binary_cross_entropy, a function", "functional": "md.ops",
}  # fmt: skip
OPERATIONS = {
    "cat": "concatenate", "permute": "transpose", "view": "reshape", "unsqueeze": "expand_dims",
    "pow": "power", "mul": "multiply", "sub": "subtract", "div": "divide", "neg": "negative",
    "bmm": "matmul", "mm": "matmul", "dot": "matmul", "nll_loss": "cross_entropy, of logits",
    "huber": "huber_loss", "binary_cross_entropy_with_logits": "binary_cross_entropy",
}  # fmt: skip
TENSORS = OPERATIONS | {
    "cuda": 'to("cuda")', "cpu": 'to("cpu")', "numel": "size", "dim": "ndim", "get": "numpy()",
    "requires_grad_": "requires_grad = True", "detach_": "detach()", "zero_": "data[...] = 0",
    "tolist": "numpy().tolist()", "contiguous": "nothing: every tensor can be used as it is",
    "unsqueeze_": "expand_dims", "float": 'astype("float32")', "double": 'astype("float64")',
    "long": 'astype("int64")', "int": 'astype("int32")', "t": "T", "copy": "md.tensor(x)",
    "clone": "md.tensor(x), or x * 1 where the gradient is to flow",
}  # fmt: skip
TOP = {"cat": "md.ops.concatenate", "Linear": "md.nn.Dense", "from_numpy": "md.as_tensor"}
ARGUMENTS = {"dim": "axis", "dims": "axis", "keepdim": "keepdims", "other": "the second argument"}
TRAINER = {
    "lr": "the optimizer's, as in optimizer=md.optim.SGD(model.parameters(), 0.01),",
    "loss_fn": "loss",
    "criterion": "loss",
    "callbacks": "monitors",
} | dict.fromkeys(("epochs", "batch_size", "validation", "progress"), "an argument of fit")


def missing(owner: str, name: str, table: dict[str, str]) -> NoReturn:
    """Raise AttributeError for an unknown name, and say what it is called here, if it is."""
    here = f"; here it is {table[name]}" if name in table else ""
    raise AttributeError(f"{owner} has no attribute {name!r}{here}")


def explained(
    function: Callable[..., Any], call: str = "", arguments: dict[str, str] = ARGUMENTS
) -> Callable[..., Any]:
    """The function, whose TypeError for a foreign argument says what it is called here.

    call: the name that the message gives it, where that is not its own.
    """

    @functools.wraps(function)
    def inside(*args: Any, **options: Any) -> Any:
        try:
            return function(*args, **options)
        except TypeError as error:
            foreign = [name for name in options if name in arguments]
            if foreign and "unexpected keyword" in str(error):
                names = ", ".join(f"{name}= is {arguments[name]} here" for name in foreign)
                raise TypeError(f"{call or function.__name__}: {names}") from None
            own = f"{function.__qualname__}()"
            if call and str(error).startswith(own):
                raise TypeError(call + str(error).removeprefix(own)) from None
            raise

    return inside
