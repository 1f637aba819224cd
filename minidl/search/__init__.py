"""The search for settings: Optuna proposes, the gradient doctor refuses, runs are trained.

`md.search(space, data, out=...)` does it all; `minidl search` is the same on the command line. The
parts, in the order in which to read them:

1. domains, space: which options may differ, and from which values a trial draws them.
2. settings: the settings of the search itself. sampling: Optuna's samplers and pruners, made
   repeatable.
3. storage, study: where a search is kept, so that several processes share it and none loses it.
4. door: the doctor's opinion. trial: one trial, from its draw to its outcome.
5. worker: one trial after the other. launch: several workers.
6. summary, table, best, report: the results.

Optuna is imported in this folder and nowhere else.
"""

from ..called import let_be_called
from ..errors import ConfigError

try:
    import optuna as _optuna
except ImportError:
    raise ConfigError(
        "search: it needs Optuna, which is not installed: run `pip install 'minidl[search]'`"
    ) from None

from .api import Search, go_on, join, open_search, search
from .settings import Settings
from .domains import Choice, Range
from .space import Space
from .summary import Row, Summary

__all__ = ["Choice", "Range", "Row", "Search", "Settings", "Space", "Summary", "join", "search"]

let_be_called(__name__, search)
