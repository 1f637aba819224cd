"""Proofs by numbers: gradcheck for any function, and Hypothesis strategies to feed it.

`minidl.testing.strategies` needs the hypothesis package and is imported when it is asked for.
"""

from typing import Any

from .checking import Report, gradcheck
from .complexstep import complex_step
from .differences import Kink

__all__ = ["Kink", "Report", "complex_step", "gradcheck"]


def __getattr__(name: str) -> Any:
    if name == "strategies":
        from importlib import import_module

        return import_module(".strategies", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
