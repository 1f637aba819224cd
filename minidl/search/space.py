"""The space of a search: for each option of a run, the values from which a trial draws one.

An option is fixed (one value), a choice among values, or a range of numbers. Some options have a
meaning only beside others: the depth beside deep_plain_cnn, a clip's limit beside that clip. Such
an option is drawn only where it applies, so that a search learns nothing from idle numbers.
"""

import dataclasses
import difflib
import inspect
import math
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..files import PathLike
from ..nn import init
from ..runs import Config
from ..runs.config import AUGMENTATIONS, MODELS, check_option

# What a search does not choose: where the data is, what the trials are compared by.
NOT_DRAWN = ("data", "root", "validation", "size", "gray", "skip_bad", "device", "seed", "epochs")
# Options that only a search has. Each stands for options of a run, see `Space.config`.
BODIES: dict[str, tuple[str, ...]] = {  # the models that can have it
    "plain": MODELS,
    "batch-norm": ("article", "deep_plain_cnn"),
    "residual": ("deep_plain_cnn",),
    "weight-norm": ("article", "mlp", "deep_plain_cnn"),
}
CLIPS = ("none", "norm", "value", "adaptive")
# An option, the option that decides whether it applies, and the values with which it does.
APPLIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "depth": ("model", ("deep_plain_cnn",)),
    "width": ("model", ("deep_plain_cnn",)),
    "momentum": ("optimizer", ("sgd", "momentum")),
    "weight_norm": ("body", ("weight-norm",)),
    "clip_norm": ("clip", ("norm",)),
    "clip_value": ("clip", ("value",)),
    "clip_adaptive": ("clip", ("adaptive",)),
}
UNIT_LENGTH = 2**0.5  # of a weight vector: with ReLU the signal then keeps its size
_NONE = "none"  # TOML has no null


@dataclass(frozen=True)
class Choice:
    """One of several values; of a single one, nothing is drawn."""

    values: tuple[Any, ...]

    def draw(self, trial: Any, name: str) -> Any:
        """The value that Optuna's sampler chooses for a trial."""
        one = len(self.values) == 1
        return self.values[0] if one else trial.suggest_categorical(name, self.values)

    def ends(self) -> tuple[Any, ...]:
        """The values that must be valid."""
        return self.values

    def plain(self) -> Any:
        """As in a file: a value, or a list of them."""
        written = [_NONE if value is None else value for value in self.values]
        return written[0] if len(written) == 1 else written


@dataclass(frozen=True)
class Range:
    """A number from `low` to `high`, both included; a whole number where both are.

    log: each factor is as likely as another, not each difference.
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
        """The numbers that must be valid."""
        return self.low, self.high

    def plain(self) -> Any:
        """As in a file."""
        return dataclasses.asdict(self)


class Space:
    """The domains of a search, by option.

    domains: each option with a value (fixed), a list of values, or {"low": ..., "high": ...,
    "log": true}; the names are those of the command line, with - or _. Three more options stand for
    several of a run: body (plain, batch-norm, residual, weight-norm), clip (none, norm, value,
    adaptive) and init-scale, which multiplies the weights that an initializer draws.
    Raises: ConfigError for an unknown option, and for a domain that no run would accept.
    """

    def __init__(self, domains: Mapping[str, Any]) -> None:
        if not isinstance(domains, Mapping):
            raise ConfigError(
                f"Space: expected options with their values, got {type(domains).__name__}"
            )
        found = {_known(name): _domain(str(name), value) for name, value in domains.items()}
        for name, domain in found.items():
            _check(name, domain)
        # An option is drawn after the one that decides whether it applies.
        self.domains = dict(sorted(found.items(), key=lambda pair: pair[0] in (*APPLIES, "body")))
        self.drawn = [n for n, d in self.domains.items() if len(set(d.ends())) > 1]

    @classmethod
    def from_file(cls, path: PathLike) -> "Space":
        """Read a TOML file. Raises: ConfigError, also where it cannot be read."""
        return cls(read_space(path))

    @classmethod
    def default(cls, models: tuple[str, ...] = MODELS, colour: bool = False) -> "Space":
        """The space that a person would choose, for some of the models.

        colour: whether the images are photographs, which may be mirrored.
        """
        bodies = [b for b, able in BODIES.items() if all(m in able for m in models)]
        if len(models) > 1:
            bodies = list(BODIES)  # drawn for the models that can have all of them
        space = cls(
            {
                "model": list(models),
                "depth": {"low": 2, "high": 14},
                "width": [8, 16, 32],
                "body": bodies,
                "init": ["he_normal", "xavier_normal", "lecun_normal", "orthogonal"],
                "init-scale": {"low": 0.3, "high": 3.0, "log": True},
                "optimizer": ["sgd", "momentum", "rmsprop", "adam", "adamw"],
                "lr": {"low": 1e-4, "high": 1.0, "log": True},
                "schedule": ["constant", "cosine", "one-cycle"],
                "warmup": [0, 20, 100],
                "clip": list(CLIPS),
                "clip-norm": {"low": 0.1, "high": 10.0, "log": True},
                "clip-value": {"low": 0.01, "high": 1.0, "log": True},
                "clip-adaptive": {"low": 0.01, "high": 0.3, "log": True},
                "weight-decay": {"low": 1e-6, "high": 1e-2, "log": True},
                "batch-size": [32, 64, 128],
                "augment": list(AUGMENTATIONS if colour else AUGMENTATIONS[:2]),
            }
        )
        return space.without(space.idle(Config()))

    def narrowed(self, domains: Mapping[str, Any]) -> "Space":
        """The same space, with other domains for some options."""
        kept = self.to_dict()
        given = {_known(name).replace("_", "-"): value for name, value in domains.items()}
        return Space(kept | given)

    def without(self, names: Iterable[str]) -> "Space":
        """The same space, without some options."""
        gone = {name.replace("_", "-") for name in names}
        return Space({name: d for name, d in self.to_dict().items() if name not in gone})

    def idle(self, base: Config) -> dict[str, str]:
        """The options that no trial can use, each with the reason."""
        found = {}
        for name in self.domains:
            decides, wanted = APPLIES.get(name, ("", ()))
            if name == "body":
                decides, wanted = "model", self._carriers()
            if decides and not set(wanted) & set(self._possible(decides, base)):
                shown = " or ".join(wanted) or "model that can have all these bodies"
                found[name.replace("_", "-")] = f"it needs the {decides} {shown}"
        return found

    def _carriers(self) -> tuple[str, ...]:
        """The models that can have every body of the space."""
        bodies = self.domains["body"].ends()
        return tuple(m for m in MODELS if all(m in BODIES[body] for body in bodies))

    def _possible(self, decides: str, base: Config) -> tuple[Any, ...]:
        """The values that an option which decides over others may take."""
        if decides in self.domains:
            return self.domains[decides].ends()
        if decides in ("body", "clip"):  # without it in the space the option stands for itself
            return APPLIES["weight_norm"][1] if decides == "body" else CLIPS
        return (getattr(base, decides) or base.method,)

    def draw(self, trial: Any, base: Config) -> dict[str, Any]:
        """The options of a trial (of Optuna), those that apply."""
        options: dict[str, Any] = {}
        for name, domain in self.domains.items():
            if self._applies(name, options, base):
                options[name] = domain.draw(trial, name.replace("_", "-"))
        return options

    def config(self, base: Config, options: Mapping[str, Any]) -> Config:
        """The options of a run: those of `base`, changed to what a trial has drawn."""
        run = {name: value for name, value in options.items() if hasattr(base, name)}
        body = options.get("body", "plain")
        if body in ("batch-norm", "residual"):
            run[body.replace("-", "_")] = True
        elif body == "weight-norm":
            run.setdefault("weight_norm", UNIT_LENGTH)
        if "init_scale" in options:
            run["init"] = scaled(run.get("init", base.init), options["init_scale"])
        model = run.get("model", base.model)
        if model != "deep_plain_cnn":
            run |= {"depth": Config.depth, "width": Config.width}
        return dataclasses.replace(base, **run)

    def to_dict(self) -> dict[str, Any]:
        """The domains as in a file."""
        return {name.replace("_", "-"): domain.plain() for name, domain in self.domains.items()}

    def _applies(self, name: str, options: Mapping[str, Any], base: Config) -> bool:
        if name == "body":
            return options.get("model", base.model) in self._carriers()
        decides, wanted = APPLIES.get(name, ("", ()))
        if not decides:
            return True
        if decides in self.domains:
            return options.get(decides) in wanted
        return bool(set(wanted) & set(self._possible(decides, base)))


def scaled(name: str, factor: float) -> str:
    """An initializer's name with its weights multiplied: "he_normal", 2 is "he_normal:2.828".

    Initializers without a gain, and those that have their number already, stay as they are.
    """
    make = getattr(init, name, None)
    gain = make and inspect.signature(make).parameters.get("gain")
    return f"{name}:{gain.default * factor:.6g}" if gain else name


def read_space(path: PathLike) -> dict[str, Any]:
    """The options in a TOML file, not yet checked. Raises: ConfigError if it cannot be read."""
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"space: cannot read {str(path)!r}: {reason}") from None


def _known(name: Any) -> str:
    """The option's name with underscores. Raises: ConfigError where no search draws it."""
    option = str(name).replace("-", "_")
    if option in NOT_DRAWN:
        raise ConfigError(
            f"space: {name} is the same for all trials of a search; give it as an option of "
            "the search, not in its space"
        )
    ours = ["body", "clip", "init_scale"]
    known = [f.name for f in dataclasses.fields(Config) if f.name not in NOT_DRAWN] + ours
    if option in ("batch_norm", "residual"):
        raise ConfigError(f'space: {name}: write it as a body, such as body = ["plain", "{name}"]')
    if option not in known:
        near = difflib.get_close_matches(option, known, 1)
        hint = f" (did you mean {near[0].replace('_', '-')}?)" if near else ""
        names = ", ".join(sorted(n.replace("_", "-") for n in known))
        raise ConfigError(f"space: unknown option {name!r}{hint}; known are {names}")
    return option


def _domain(name: str, value: Any) -> Choice | Range:
    if isinstance(value, Mapping):
        return _range(name, value)
    values = value if isinstance(value, list | tuple) else [value]
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


_OURS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "body": (lambda v: v in BODIES, f"one of {', '.join(BODIES)}"),
    "clip": (lambda v: v in CLIPS, f"one of {', '.join(CLIPS)}"),
    "init_scale": (
        lambda v: type(v) in (int, float) and 0 < v < math.inf,
        "a number above 0",
    ),
}


def _check(name: str, domain: Choice | Range) -> None:
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
