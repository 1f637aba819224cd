"""The exploding-gradient lab: theory and the article's claims, measured beside predicted.

An experiment is one function in a file named `predictions_*` or `claims*`; every such file is
loaded here, and its decorator enters the experiment in the registry.
"""

import importlib
import pkgutil

from .registry import REGISTRY, Check, Experiment, Result, experiment, find, holds

for _module in pkgutil.iter_modules(__path__):
    if _module.name.startswith(("predictions", "claims")):
        importlib.import_module(f"{__name__}.{_module.name}")
