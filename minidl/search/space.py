"""The space of a search: for each option of a run, the values from which a trial draws one.

An option is fixed (one value), a choice among values, or a range of numbers. Some options have a
meaning only with others: the depth with deep_plain_cnn, a clip's limit with that clip. Such an
option is drawn only where it applies. So the sampler never sees numbers that had no effect.
"""

import dataclasses
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import ConfigError
from ..files import PathLike
from ..nn import init
from ..runs import Config
from ..runs.config import AUGMENTATIONS, MODELS, as_fields
from .domains import BODIES, CLIPS, check_domain, domain_of, known_option, read_space

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
        options = {n.replace("_", "-"): v for n, v in as_fields("space", domains).items()}
        found = {known_option(name): domain_of(name, value) for name, value in options.items()}
        for name, domain in found.items():
            check_domain(name, domain)
        # An option is drawn after the one that decides whether it applies.
        self.domains = dict(sorted(found.items(), key=lambda pair: pair[0] in (*APPLIES, "body")))
        self.drawn = [n for n, d in self.domains.items() if len(set(d.ends())) > 1]

    @classmethod
    def from_file(cls, path: PathLike) -> "Space":
        """Read a TOML file. Raises: ConfigError, also where it cannot be read."""
        return cls(read_space(path))

    @classmethod
    def default(cls, models: tuple[str, ...] = MODELS, colour: bool = False) -> "Space":
        """The space for some of the models, where the user gives none.

        colour: whether the images are photographs in colour, which may be mirrored.
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
        return Space(self.to_dict() | Space(domains).to_dict())

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
        """The values that may occur for an option on which others depend."""
        if decides in self.domains:
            return self.domains[decides].ends()
        if decides in ("body", "clip"):  # without it in the space the option stands for itself
            return APPLIES["weight_norm"][1] if decides == "body" else CLIPS
        return (getattr(base, decides) or base.method,)

    def draw(self, trial: Any, base: Config) -> dict[str, Any]:
        """The options that Optuna's trial draws: those that apply."""
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
        """The domains as a TOML file has them."""
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
