"""The backprop microscope: one recorded step of a network, served to a browser or as a page.

`md.scope(model, batch)` opens it, so this package can be called. Read in this order: `record`, what
happened in a step; `source`, the text of each pullback; `expected`, what theory says; `film`, a
training step by step; `subject`, which network; `views`, what the page is sent; `desk`, who answers
it; `server`, how; `page`, the page itself; `recorded`, the page with its answers in it.
"""

import sys
from types import ModuleType
from typing import Any

from .opening import Scope, scope


class _Callable(ModuleType):
    """A package that is a function too: `md.scope` names both."""

    def __call__(self, *args: Any, **options: Any) -> Scope:
        return scope(*args, **options)


_Callable.__call__.__doc__ = scope.__doc__
sys.modules[__name__].__class__ = _Callable
