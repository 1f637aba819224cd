"""Write down which names and arguments of NumPy a version of CuPy has, for the tests' stand-in.

    python tools/cupy_names.py tests/standin/names.json

in an environment with CuPy adds that version to the file. No GPU is needed: nothing is computed.
"""

import inspect
import json
import re
import sys
from pathlib import Path
from typing import Any

import cupy
import numpy as np

UFUNC = ["out", "dtype", "casting"]  # what `ufunc.__call__` takes; its own signature is **kwargs


def arguments(f: Any) -> list[str]:
    """The names of a function's arguments, from its signature or, compiled, from its docstring."""
    if isinstance(f, cupy.ufunc):
        return UFUNC
    try:
        return list(inspect.signature(f).parameters)
    except (TypeError, ValueError):
        head = re.match(r"[\w.]+\((.*?)\)", (f.__doc__ or "").strip(), re.S)
        parts = head.group(1).split(",") if head else []
        names = [re.sub(r"=.*", "", part, flags=re.S).split()[-1:] for part in parts]
        return [name[0].lstrip("*") for name in names if name]


def names(there: Any, here: Any) -> dict[str, list[str] | None]:
    """Each public name of `there` that NumPy has too: its arguments, or None for a plain value."""
    found: dict[str, list[str] | None] = {}
    for name in sorted(set(dir(there)) & set(dir(here))):
        value = getattr(there, name)
        if name.startswith("_") or inspect.ismodule(value):
            continue
        plain = not callable(value) or isinstance(value, type)
        found[name] = None if plain else [a for a in arguments(value) if a != "self"]
    return found


def main(path: Path) -> None:
    """Add this version of CuPy to the file."""
    known = json.loads(path.read_text()) if path.exists() else {}
    known[cupy.__version__] = {
        "module": names(cupy, np),
        "ufuncs": sorted(n for n in dir(cupy) if isinstance(getattr(cupy, n), cupy.ufunc)),
        "array": names(cupy.ndarray, np.ndarray),
        "generator": names(cupy.random.Generator, np.random.Generator),
        "graphs": {
            name: [a for a in arguments(f) if a != "self"]
            for name, f in {
                "Stream.begin_capture": cupy.cuda.Stream.begin_capture,
                "Stream.end_capture": cupy.cuda.Stream.end_capture,
                "Graph.launch": cupy.cuda.Graph.launch,
                "MemoryPool.malloc": cupy.cuda.MemoryPool.malloc,
                "using_allocator": cupy.cuda.using_allocator,
            }.items()
        },
        "special": sorted(n for n in dir(cupy.ndarray) if re.fullmatch(r"__\w+__", n)),
    }
    versions = sorted(known.items())
    path.write_text(json.dumps(dict(versions), separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
