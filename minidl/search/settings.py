"""The settings of a search: they are kept in its storage, so that every worker does the same."""

import dataclasses
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..runs import Config
from ..runs.config import GREY, MODELS
from .domains import read_space
from .space import Space

SAMPLERS = ("tpe", "random", "cma-es")
PRUNERS = ("median", "hyperband", "none")
DOCTORS = ("off", "diverge", "both")
FREE = ("trials", "best_seeds")  # what may change when a search goes on
_BODY = ("batch_norm", "residual", "weight_norm")
_CLIP = ("clip_norm", "clip_value", "clip_adaptive")


@dataclass(frozen=True)
class Settings:
    """Everything that decides what the trials of a search are.

    base: the options that all trials share. space: the values that the others are drawn from.
    trials: how many there will be, refused ones included. sampler, pruner: a name in SAMPLERS, in
    PRUNERS. doctor: the verdicts for which a trial is refused: "off", none; "diverge", "will
    diverge"; "both", also "will not learn". audit: the share of the refused trials that are trained
    all the same. best_seeds: with how many new seeds the best settings are trained again.
    """

    base: Config
    space: Space
    trials: int = 40
    sampler: str = "tpe"
    pruner: str = "median"
    doctor: str = "both"
    audit: float = 0.1
    best_seeds: int = 3

    def check(self) -> None:
        """Raises: ConfigError for what no search can do."""
        self.base.check()
        for name, known in (("sampler", SAMPLERS), ("pruner", PRUNERS), ("doctor", DOCTORS)):
            value = getattr(self, name)
            if value not in known:
                raise ConfigError(f"{name}: expected one of {', '.join(known)}, got {value!r}")
        for name, least in (("trials", 1), ("best_seeds", 0)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise ConfigError(
                    f"{name.replace('_', '-')}: expected an int of at least {least}, got {value!r}"
                )
        if isinstance(self.audit, bool) or not isinstance(self.audit, int | float):
            raise ConfigError(f"audit: expected a share from 0 to 1, got {self.audit!r}")
        if not 0 <= self.audit <= 1:
            raise ConfigError(f"audit: expected a share from 0 to 1, got {self.audit!r}")
        for name, reason in self.space.idle(self.base).items():
            raise ConfigError(f"space: no trial would use {name}: {reason}")
        if not self.space.drawn:
            raise ConfigError(
                "space: expected at least one option with several values, but all are fixed; "
                "minidl train trains a single setting"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for the storage."""
        plain = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return plain | {"base": self.base.to_dict(), "space": self.space.to_dict()}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Settings":
        """Raises: ConfigError, KeyError, TypeError for what `to_dict` did not make."""
        made = {"base": Config.from_dict(plain["base"]), "space": Space(plain["space"])}
        return cls(**dict(plain) | made)

    def differences(self, other: "Settings") -> list[str]:
        """A line for each setting in which `other` differs, those in FREE aside."""
        lines = []
        mine, theirs = self.to_dict(), other.to_dict()
        for name in mine:
            if name in FREE or mine[name] == theirs[name]:
                continue
            if not isinstance(mine[name], dict):
                lines.append(f"  {name}: was {mine[name]!r}, is {theirs[name]!r}")
                continue
            for option in sorted({*mine[name], *theirs[name]}):
                was, now = mine[name].get(option), theirs[name].get(option)
                if was != now:
                    shown = option.replace("_", "-")
                    where = "in the space " * (name == "space")
                    lines.append(f"  {where}{shown}: was {was!r}, is {now!r}")
        return lines


def make_space(base: Config, given: Collection[str] = (), space: Any = None) -> Space:
    """The space of a search: the default one, narrowed or widened by a file or a mapping.

    given: the options of `base` that the user has fixed, which are not drawn. space: a Space, which
    is taken as it is; a path of a TOML file; a mapping; or None.
    """
    if isinstance(space, Space):
        return space.without(given)
    if not isinstance(space, Mapping | str | os.PathLike | None):
        raise ConfigError(
            "space: expected a mapping of options to their values, the path of a TOML file or a "
            f"Space, got {type(space).__name__}"
        )
    domains = space if space is None or isinstance(space, Mapping) else read_space(Path(space))
    own = Space({}).narrowed(domains or {})
    both = {n for n in given if n in own.domains}
    if both:
        names = ", ".join(sorted(n.replace("_", "-") for n in both))
        raise ConfigError(f"space: {names}: expected as an option or in the space, got both")
    models: tuple[str, ...] = (base.model,) if "model" in given else MODELS
    if "model" in own.domains:
        models = own.domains["model"].ends()
    colour = base.data not in GREY and not base.gray
    default = Space.default(models, colour).without(given)
    if set(given) & set(_BODY):
        default = default.without(("body", *_BODY))
    if set(given) & set(_CLIP):
        default = default.without(("clip", *_CLIP))
    if "init" in given:
        default = default.without(["init-scale"])
    merged = default.narrowed(own.to_dict())
    unused = set(merged.idle(base)) - set(own.to_dict())
    return merged.without(unused)
