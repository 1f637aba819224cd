"""The exploding-gradient lab: what theory and the article say, measured.

Each file in `predictions/` and `claims/` is one experiment: its question, the answer of theory or
of the article, the measurement, and what follows. The file's name is the experiment's name on the
command line: `predictions/he_gain.py` is `minidl lab he-gain`, `claims/clipping.py` is
`minidl lab claim-clipping`. A new file in one of these folders is a new experiment.
"""

import importlib
import pkgutil

from .registry import REGISTRY, Check, Evidence, Experiment, claim, find, prediction
from . import claims, predictions

for _folder in (predictions, claims):
    for _file in pkgutil.iter_modules(_folder.__path__):
        importlib.import_module(f"{_folder.__name__}.{_file.name}")
