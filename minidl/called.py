"""Packages that are functions too: `md.scope` is a package, and `md.scope(model, batch)` a call.

A program may import the package (`import minidl.scope`) before or after it asks for the function,
so one name has to serve for both.
"""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any


def let_be_called(package: str, function: Callable[..., Any]) -> None:
    """Let the imported package with this full name be called like the function."""

    class Called(ModuleType):
        __call__ = staticmethod(function)

    sys.modules[package].__class__ = Called
