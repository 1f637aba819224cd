"""The recipe of a training: all that decides its result, as plain values.

A resumed run, and every process of a team, must have the same recipe.
"""

import functools
import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np

from ..data import DataLoader, Dataset
from ..data.pictures import Pictures, image_digests
from ..nn import Module
from .settings import Settings

_SIMPLE = (bool, int, float, str, np.number)


def describe(job: Settings, loader: DataLoader) -> dict[str, Any]:
    """The recipe: a dictionary of values that JSON can hold; None is written as "none"."""
    data = loader.dataset
    return {
        "seed": int(loader.seed),
        "batch size": loader.batch_size,
        "smaller last batch": "dropped" if loader.drop_last else "kept",
        "images": [*data.shape, str(data.source.dtype)],
        "classes": list(data.classes),
        "data": digest(data),
        "model": {name or "model": plain(m) for name, m in job.model.named_modules()},
        "frozen": [name for name, p in job.model.named_parameters() if not p.requires_grad],
        "loss": plain(job.loss),
        "optimizer": _optimizer(job),
        "schedule": plain(job.schedule),
        "clip": plain(job.clip_option),
        "augmentation": plain(loader.transform),
        "deterministic": job.deterministic,
        "batch normalisation over all processes": job.sync_batch_norm,
    }


def _optimizer(job: Settings) -> dict[str, Any]:
    """The optimizer's options, for each group of parameters; no rate where a schedule sets it."""
    left_out = {"params", "initial_lr" if job.schedule is None else "lr"}
    groups = getattr(job.optimizer, "param_groups", [])
    described: dict[str, Any] = {
        f"group {i}": {"parameters": len(group["params"])}
        | {n: plain(v) for n, v in group.items() if n not in left_out}
        for i, group in enumerate(groups)
    }
    if len(groups) == 1:
        described = described["group 0"]
        described.pop("initial_lr", None)  # it gives the ratio of the groups' rates
    return {"name": type(job.optimizer).__name__} | described


def plain(value: Any) -> Any:
    """An option as text, a number, a list, or a dictionary with the name of its type.

    A function becomes its name, with the options and functions that it closes over. Any other
    object becomes its repr, if its type defines one without an address. Otherwise, and if it is a
    Module, it becomes the name of its type, with the attributes that are numbers, text, or tuples
    of them.
    """
    if value is None:
        return "none"
    if isinstance(value, _SIMPLE):
        return value.item() if isinstance(value, np.number) else value
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray) and value.size > 20:
        same = hashlib.blake2b(np.ascontiguousarray(value).tobytes(), digest_size=8)
        return f"array {value.shape} {value.dtype} {same.hexdigest()}"
    if isinstance(value, functools.partial):
        given = {str(i): v for i, v in enumerate(value.args)} | value.keywords
        return {"name": _name(value.func)} | {n: plain(v) for n, v in given.items()}
    if hasattr(value, "__code__"):
        cells = (cell.cell_contents for cell in value.__closure__ or ())
        caught = dict(zip(value.__code__.co_freevars, cells, strict=True))
        inside = {
            n: plain(v)
            for n, v in caught.items()
            if _is_option(v) or callable(v) or isinstance(v, np.ndarray)
        }
        return {"name": _name(value)} | inside if inside else _name(value)
    options: dict[str, Any] = {}
    if not isinstance(value, Module):
        if type(value).__repr__ is not object.__repr__ and " at 0x" not in repr(value):
            return repr(value)
        options = vars(value)
    elif type(value).__module__.startswith("minidl."):  # others may count their calls
        options = vars(value)
    options = {n: plain(v) for n, v in options.items()
               if n[0] != "_" and n != "training" and _is_option(v)}  # fmt: skip
    return {"name": type(value).__name__} | options


def differences(
    then: dict[str, Any], now: dict[str, Any], words: str = "was {}, is {}"
) -> list[str]:
    """A line for each entry of both recipes whose values differ. words: the wording of a line."""
    both = (name for name in now if name in then)
    return [line for name in both for line in _compare(name, then[name], now[name], words)]


def _compare(name: str, then: Any, now: Any, words: str) -> list[str]:
    if isinstance(then, dict) and isinstance(now, dict):
        pairs = ((n, then.get(n, "none"), now.get(n, "none")) for n in {**then, **now})
        lines = (_compare(name if n == "name" else f"{name} {n}", a, b, words) for n, a, b in pairs)
        return [line for part in lines for line in part]
    return [] if then == now else [f"  {name}: {words.format(_short(then), _short(now))}"]


def digest(data: Dataset) -> str:
    """A hash of all inputs and targets; different data practically never have the same hash."""
    total = hashlib.blake2b(digest_size=8)
    source: Any = data.source
    if isinstance(source, Pictures):  # hashed once, whatever kind they are
        transforms = getattr(source, "transforms", ())
        total.update(repr([plain(transform) for transform in transforms]).encode())
        source = image_digests(source)
    for array in (source, data.labels):
        for start in range(0, len(array), 256):  # a copy of the whole might not fit into memory
            total.update(np.ascontiguousarray(array[start : start + 256]).tobytes())
    return total.hexdigest()


def _is_option(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_option, value))
    return value is None or isinstance(value, _SIMPLE)


def _name(function: Callable[..., Any]) -> str:
    name = getattr(function, "__qualname__", None) or type(function).__name__
    return name.removesuffix(".<locals>.<lambda>")


def _short(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_short, value)) or "none"
    if isinstance(value, dict):
        return str(value.get("name", value))
    return str(value)
