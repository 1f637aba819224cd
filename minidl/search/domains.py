"""The domains of a space: for an option, its fixed value, a choice of values, or a range."""

import dataclasses
import difflib
import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ConfigError
from ..files import PathLike, read_text
from ..runs import Config
from ..runs.config import MODELS, check_option

# What a search does not choose: where the data is, what the trials are compared by.
NOT_DRAWN = (
    *("data", "root", "validation", "size", "gray", "skip_bad", "lazy", "cache", "device", "seed"),
    *("epochs", "patience", "keep_pictures", "deterministic", "sync_batch_norm"),
)
# Options that only a search has. Each stands for options of a run, see `Space.config`.
BODIES: dict[str, tuple[str, ...]] = {  # the models that can have it
    "plain": MODELS,
    "batch-norm": ("article", "deep_plain_cnn"),
    "residual": ("deep_plain_cnn",),
    "weight-norm": ("article", "mlp", "deep_plain_cnn"),
}
CLIPS = ("none", "norm", "value", "adaptive")
_NONE = "none"  # TOML has no null


@dataclass(frozen=True)
class Choice:
    """One of several values. A single value is fixed: nothing is drawn."""

    values: tuple[Any, ...]

    def draw(self, trial: Any, name: str) -> Any:
        """The value that Optuna's sampler chooses for a trial."""
        one = len(self.values) == 1
        return self.values[0] if one else trial.suggest_categorical(name, self.values)

    def ends(self) -> tuple[Any, ...]:
        """The values, to check that a run accepts them."""
        return self.values

    def plain(self) -> Any:
        """The domain as a TOML file has it: a value, or a list of values."""
        written = [_NONE if value is None else value for value in self.values]
        return written[0] if len(written) == 1 else written


@dataclass(frozen=True)
class Range:
    """A number from `low` to `high`, both included; a whole number where both are.

    log: the logarithm of the number is drawn evenly, not the number.
    """

    low: float
    high: float
    log: bool = False

    def draw(self, trial: Any, name: str) -> Any:
        """The number that Optuna's sampler chooses for a trial."""
        whole = isinstance(self.low, int) and isinstance(self.high, int)
        suggest = trial.suggest_int if whole else trial.suggest_float
        return suggest(name, self.low, self.high, log=self.log)

    def ends(self) -> tuple[Any, ...]:
        """The bounds, to check that a run accepts them."""
        return self.low, self.high

    def plain(self) -> Any:
        """The domain as a TOML file has it."""
        return dataclasses.asdict(self)


def read_space(path: PathLike) -> dict[str, Any]:
    """The options in a TOML file, not yet checked. Raises: ConfigError if it cannot be read."""
    try:
        return tomllib.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"space: cannot read {str(path)!r}: {error}") from None


_OURS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "body": (lambda v: v in BODIES, f"one of {', '.join(BODIES)}"),
    "clip": (lambda v: v in CLIPS, f"one of {', '.join(CLIPS)}"),
    "init_scale": (lambda v: type(v) in (int, float) and 0 < v < math.inf, "a number above 0"),
}


def known_option(name: Any) -> str:
    """The option's name with underscores. Raises: ConfigError where no search draws it."""
    option = str(name).replace("-", "_")
    if option in NOT_DRAWN:
        raise ConfigError(
            f"space: {name} is the same for all trials of a search; give it as an option of "
            "the search, not in its space"
        )
    of_a_body = ("batch_norm", "residual")
    hidden = (*NOT_DRAWN, *of_a_body)
    known = [f.name for f in dataclasses.fields(Config) if f.name not in hidden] + [*_OURS]
    if option in of_a_body:
        raise ConfigError(f'space: {name}: write it as a body, such as body = ["plain", "{name}"]')
    if option not in known:
        near = difflib.get_close_matches(option, known, 1)
        hint = f" (did you mean {near[0].replace('_', '-')}?)" if near else ""
        names = ", ".join(sorted(n.replace("_", "-") for n in known))
        raise ConfigError(f"space: unknown option {name!r}{hint}; known are {names}")
    return option


def _python(value: Any) -> Any:
    """NumPy's arrays and numbers as Python's, which a storage can keep."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def domain_of(name: str, value: Any) -> Choice | Range:
    """The domain that a value, a list of values or {"low", "high", "log"} stands for.

    Raises: ConfigError for anything else.
    """
    value = _python(value)
    if isinstance(value, Mapping):
        return _range(name, {key: _python(v) for key, v in value.items()})
    values = [_python(v) for v in value] if isinstance(value, list | tuple) else [value]
    if not values:
        raise ConfigError(f"space: {name}: expected at least one value, got an empty list")
    nullable = getattr(Config, name.replace("-", "_"), 0) is None
    values = [None if v == _NONE and nullable else v for v in values]
    for i, v in enumerate(values):
        if v is not None and not isinstance(v, bool | int | float | str):
            raise ConfigError(
                f"space: {name}: expected values (text, numbers, true, false), got {v!r}"
            )
        if any(v == w and type(v) is type(w) for w in values[:i]):
            raise ConfigError(f"space: {name}: {v!r} stands in the list twice; leave one out")
    return Choice(tuple(values))


def _range(name: str, value: Mapping[str, Any]) -> Range:
    wanted = "expected { low = ..., high = ... }, and log = true if factors count"
    if not {"low", "high"} <= set(value) <= {"low", "high", "log"}:
        raise ConfigError(f"space: {name}: {wanted}, got the keys {', '.join(map(str, value))}")
    low, high, log = value["low"], value["high"], value.get("log", False)
    numbers = all(type(x) in (int, float) and math.isfinite(x) for x in (low, high))
    if not numbers or not isinstance(log, bool):
        raise ConfigError(f"space: {name}: {wanted}, got {dict(value)!r}")
    if not low < high:
        raise ConfigError(f"space: {name}: expected low below high, got {low} and {high}")
    if log and low <= 0:
        raise ConfigError(f"space: {name}: expected low above 0 with log = true, got {low}")
    kinds = {f.name: f.type for f in dataclasses.fields(Config)}
    whole = kinds.get(name.replace("-", "_")) in (int, int | None)
    return Range(low, high, log) if whole else Range(float(low), float(high), log)


def check_domain(name: str, domain: Choice | Range) -> None:
    """Raises: ConfigError where a value of the domain is not one that a run accepts."""
    for value in domain.ends():
        if name in _OURS:
            valid, expected = _OURS[name]
            if not valid(value):
                shown = name.replace("_", "-")
                raise ConfigError(f"space: {shown}: expected {expected}, got {value!r}")
            continue
        try:
            check_option(name, value)
        except ConfigError as error:
            raise ConfigError(f"space: {error}") from None
