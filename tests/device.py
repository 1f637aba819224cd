"""The device that the suite runs on: `pytest --device cpu|standin|cuda`.

On a device other than the CPU, what a test hands to minidl as a list, a number or a NumPy array
is put there first, where `tensor` and `as_tensor` take it in. The bodies stay the same: they
compare `.numpy()`. Array code without tensors (kernels) asks for `put` and `fetch`.
"""

import functools
import os
import sys
from typing import Any

import numpy as np

import minidl as md
from minidl import device

NAME = "cpu"


def use(name: str) -> None:
    """Run on this device from here on."""
    global NAME
    if name == "cpu":
        return
    NAME = name
    if name == "standin":
        from tests import standin

        standin.install()
        os.environ["MINIDL_CUDA_KERNELS"] = "0"  # array code alone
    device.cupy()
    for function in (md.tensor, md.as_tensor):
        moved = _moving(function)
        for module in [m for n, m in sys.modules.items() if n.split(".")[0] == "minidl"]:
            if vars(module).get(function.__name__) is function:
                setattr(module, function.__name__, moved)


def _moving(function: Any) -> Any:
    @functools.wraps(function)
    def moved(x: Any, *args: Any, **kwargs: Any) -> Any:
        y = function(x, *args, **kwargs)
        asked = isinstance(x, md.Tensor) or kwargs.get("device")
        if not asked:
            y.data = put(y.data)
        return y

    return moved


def put(x: Any) -> Any:
    """The arrays in x, a value or a list of them, on the device."""
    if isinstance(x, list | tuple):
        return type(x)(put(item) for item in x)
    if NAME == "cpu" or not isinstance(x, np.ndarray):
        return x
    return device.to_device(x, "cuda")


def fetch(x: Any) -> Any:
    """The arrays and tensors in x, a value, list or dict, as arrays of the host."""
    if isinstance(x, list | tuple):
        return type(x)(fetch(item) for item in x)
    if isinstance(x, dict):
        return {key: fetch(value) for key, value in x.items()}
    if isinstance(x, md.Tensor):
        return x.numpy()
    return device.to_host(x) if hasattr(x, "dtype") else x


def shares(a: Any, b: Any) -> bool:
    """Whether two arrays lie in the same memory."""
    return device.array_module(a).shares_memory(a, b)


class Moved:
    """A module of array code whose functions take arrays of the host and return such."""

    def __init__(self, module: Any) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._module, name)
        if NAME == "cpu" or not callable(value) or isinstance(value, type):
            return value

        def moved(*args: Any) -> Any:
            return fetch(value(*map(put, args)))

        return moved
