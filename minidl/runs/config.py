"""The options of a run: their defaults, their bounds, and what they build."""

import dataclasses
import functools
import inspect
import json
import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .. import device, models, optim, rng
from ..data import compose, random_crop, random_flip
from ..errors import ConfigError
from ..files import PathLike, read_text
from ..nn import (
    BatchNorm2d,
    Conv2d,
    Dense,
    Module,
    Residual,
    Sequential,
    init,
    weight_norm,
)
from ..ops import cross_entropy

DATA = ("digits", "mnist", "fashion-mnist", "cifar10")  # known by name; else a folder
MODELS = ("article", "mlp", "vgg_small", "resnet_small", "deep_plain_cnn")
# Each optimizer, with its learning rate for calm gradients and for any others. Gradients are calm
# in networks that normalise, and on the grey data sets, whose images are mostly black. Elsewhere a
# Dense layer with thousands of inputs multiplies them: with the rate for calm ones, the loss of the
# article's network on standardised CIFAR-10 grows a hundred thousandfold.
OPTIMIZERS: dict[str, tuple[Callable[..., Any], float, float]] = {
    "sgd": (optim.SGD, 0.1, 0.003),
    "momentum": (functools.partial(optim.SGD, momentum=0.9), 0.02, 0.001),
    "rmsprop": (optim.RMSProp, 0.001, 0.00003),
    "adam": (optim.Adam, 0.001, 0.0003),
    "adamw": (functools.partial(optim.AdamW, weight_decay=0.01), 0.001, 0.0003),
}
GREY = ("digits", "mnist", "fashion-mnist")
_NORMALISED = ("vgg_small", "resnet_small")
AUTO = "auto"  # the learning rate that the doctor finds safe
SCHEDULES = ("constant", "step", "exponential", "inverse-time", "cosine", "one-cycle")
AUGMENTATIONS = ("none", "crop", "crop-flip")
_FOR_BATCH_NORM = ("article", "deep_plain_cnn")
_FOR_RESIDUAL = ("deep_plain_cnn",)
_WITH_MOMENTUM = ("sgd", "momentum")
# A resumed run may change these.
FREE = ("epochs", "device", "lazy", "cache", "keep_pictures")
# And the place of its data, if hashes of the images tell that they are still the same.
PLACE = ("data", "root")
_LARGEST = float(np.finfo(np.float32).max)
_MOST_WEIGHTS = 2**28  # a gigabyte in float32

_Rule = tuple[Any, Callable[[Any], bool], str]


def _one_of(*names: str) -> _Rule:
    return str, lambda value: value in names, f"one of {', '.join(names)}"


def _at_least(least: int) -> _Rule:
    return int, lambda value: value >= least, f"an int of at least {least}"


_POSITIVE: _Rule = ((int, float), lambda value: 0 < value < math.inf, "a number above 0")


def _is_rate(value: Any) -> bool:
    return value == AUTO if isinstance(value, str) else 0 < value < math.inf


_FLAG: _Rule = (bool, lambda value: True, "true or false")
_TEXT: _Rule = (str, lambda value: value != "" and "\0" not in value, "a text that is not empty")
_RULES: dict[str, _Rule] = {
    "data": _TEXT,
    "root": _TEXT,
    "init": _TEXT,
    "model": _one_of(*MODELS),
    "optimizer": _one_of(*OPTIMIZERS),
    "schedule": _one_of(*SCHEDULES),
    "augment": _one_of(*AUGMENTATIONS),
    "device": _one_of("cpu", "cuda"),
    "lr": ((int, float, str), _is_rate, 'a number above 0, or "auto"'),
    "clip_norm": _POSITIVE,
    "clip_value": _POSITIVE,
    "clip_adaptive": _POSITIVE,
    "momentum": ((int, float), lambda value: 0 <= value < 1, "a number from 0, below 1"),
    "weight_decay": ((int, float), lambda value: 0 <= value < math.inf, "a number of at least 0"),
    "label_smoothing": ((int, float), lambda value: 0 <= value < 1, "a number from 0, below 1"),
    "validation": (float, lambda value: 0 < value < 1, "a share between 0 and 1"),
    "epochs": _at_least(1),
    "patience": _at_least(1),
    "batch_size": _at_least(1),
    "base_batch": _at_least(1),
    "size": _at_least(1),
    "depth": (int, lambda value: 1 <= value <= 10_000, "an int from 1 to 10,000"),
    "width": _at_least(1),
    "warmup": _at_least(0),
    "seed": _at_least(0),
    "batch_norm": _FLAG,
    "residual": _FLAG,
    "deterministic": _FLAG,
    "sync_batch_norm": _FLAG,
    "weight_norm": _POSITIVE,
    "gray": _FLAG,
    "skip_bad": _FLAG,
    "lazy": _FLAG,
    "cache": _FLAG,
    "keep_pictures": _FLAG,
    "standardize": _FLAG,
}


def check_option(option: str, value: Any) -> None:
    """Check one option of a run by itself. Raises: ConfigError for a value out of its bounds."""
    kind, valid, expected = _RULES[option]
    if value is None and getattr(Config, option) is None:
        return
    mistaken = isinstance(value, bool) and kind is not bool  # bool is an int to Python
    if mistaken or not isinstance(value, kind) or not valid(value):
        raise ConfigError(f"{option.replace('_', '-')}: expected {expected}, got {value!r}")
    if isinstance(value, int | float) and value > _LARGEST:
        raise ConfigError(
            f"{option.replace('_', '-')}: expected a number that float32 can hold, got {value}"
        )
    if option == "init":
        init.draw("train", initializer(value), (2, 2))


def as_fields(call: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as a file names them, with - or _, under the names of Config's fields.

    Raises: ConfigError where an option is given twice, with - and with _.
    """
    found = {str(name).replace("-", "_"): value for name, value in options.items()}
    if len(found) < len(options):
        twice = [str(n) for n in options if str(n) not in found]
        raise ConfigError(f"{call}: expected {', '.join(twice)} once, got it with - and with _")
    return found


def initializer(name: str) -> Any:
    """An initializer by its name; "normal:0.3" is normal(0.3), a function of a shape."""
    plain, colon, number = str(name).partition(":")
    if not colon:
        return plain
    try:
        make = getattr(init, plain)
        inspect.signature(make).bind((1, 1), float(number))  # zeros takes a shape alone
        return make(float(number))
    except (AttributeError, TypeError, ValueError):
        raise ConfigError(
            f"init: expected the name of an initializer, or with its number as in "
            f"normal:0.3, got {name!r}"
        ) from None


def _bounded(draw_weights: Any) -> Callable[[tuple[int, ...]], Any]:
    """An initializer that refuses to draw more weights in all than a machine can hold."""
    drawn = 0

    def draw(shape: tuple[int, ...]) -> Any:
        nonlocal drawn
        drawn += math.prod(shape)
        if drawn > _MOST_WEIGHTS:
            raise ConfigError(
                f"model: expected at most {_MOST_WEIGHTS:,} weights, got a layer of {shape}; give "
                "a smaller size, width or depth"
            )
        return init.draw("model", draw_weights, shape)

    return draw


def _with_remedies(model: Sequential, batch_norm: bool, residual: bool) -> Sequential:
    """The chain of layers with a BatchNorm after each convolution, or a shortcut around it.

    A shortcut needs a convolution whose output has the shape of its input.
    """
    layers: list[Module] = []
    for layer in model.layers:
        if isinstance(layer, Conv2d):
            n_out, n_in = layer.weight.shape[:2]
            around = residual and n_in == n_out and layer.geometry["stride"] in (1, (1, 1))
            branch = [layer, BatchNorm2d(n_out)] if batch_norm else [layer]
            layers += [Residual(Sequential(*branch))] if around else branch
        else:
            layers.append(layer)
    return Sequential(*layers)


@dataclass(frozen=True)
class RunSchedule:
    """Step -> learning rate over a run of `steps` steps, with a warm-up of `warmup` steps.

    A run is compared with its checkpoint by the repr of its parts. A resumed run may have more
    epochs, and then the schedule is stretched. So the repr leaves `steps` out.
    """

    name: str
    rate: float
    warmup: int
    steps: int = field(repr=False)

    def __call__(self, step: float) -> float:
        return self._rates(step)

    @functools.cached_property
    def _rates(self) -> Callable[[float], float]:
        rate, steps, third = self.rate, self.steps, max(1, math.ceil(self.steps / 3))
        make: dict[str, Callable[[], Callable[[float], float]]] = {
            "constant": lambda: optim.constant(rate),
            "step": lambda: optim.step_decay(rate, third, 0.1),
            "exponential": lambda: optim.exponential_decay(rate, 0.01 ** (1 / steps)),
            "inverse-time": lambda: optim.inverse_time_decay(rate, 9 / steps),
            "cosine": lambda: optim.cosine(rate, steps),
            "one-cycle": lambda: optim.one_cycle(rate, steps),
        }
        schedule = make[self.name]()
        return optim.warmup(schedule, self.warmup) if self.warmup else schedule


@dataclass(frozen=True, repr=False)
class RunClip:
    """Clips each value, then each unit by its weights, then all together; None leaves one out."""

    value: float | None
    norm: float | None
    adaptive: float | None = None

    def __repr__(self) -> str:
        """As runs have kept it: a clip without `adaptive` does not mention it."""
        more = "" if self.adaptive is None else f", adaptive={self.adaptive!r}"
        return f"RunClip(value={self.value!r}, norm={self.norm!r}{more})"

    def __call__(self, parameters: list[Any]) -> None:
        if self.value is not None:
            optim.clip_grad_value(parameters, self.value)
        if self.adaptive is not None:
            optim.clip_grad_adaptive(parameters, self.adaptive)
        if self.norm is not None:
            optim.clip_grad_norm(parameters, self.norm)


@dataclass
class Config:
    """The options of `minidl train`, by the same names; `minidl train --help` explains each.

    lazy and cache are those of ImageFolder: nothing that is learned depends on them. depth and
    width are those of deep_plain_cnn.
    Where they are None, `optimizer` is sgd for networks without normalisation on the grey data sets
    and else adam, `lr`, `momentum` and `weight_decay` are the optimizer's own, and `standardize` is
    true for a folder.
    """

    data: str = "digits"
    root: str | None = None
    validation: float | None = None
    size: int | None = None
    gray: bool = False
    skip_bad: bool = False
    lazy: bool | None = None
    cache: bool = False
    standardize: bool | None = None
    augment: str = "none"
    model: str = "article"
    depth: int = 8
    width: int = 16
    init: str = "he_normal"
    optimizer: str | None = None
    lr: float | str | None = None
    schedule: str = "cosine"
    warmup: int = 0
    clip_norm: float | None = None
    clip_value: float | None = None
    clip_adaptive: float | None = None
    momentum: float | None = None
    weight_decay: float | None = None
    label_smoothing: float = 0.0
    batch_norm: bool = False
    residual: bool = False
    weight_norm: float | None = None
    epochs: int = 5
    patience: int | None = None
    batch_size: int = 64
    keep_pictures: bool = False
    device: str = "cpu"
    seed: int = 0
    deterministic: bool = False
    sync_batch_norm: bool = True
    base_batch: int | None = None

    def check(self) -> None:
        """Raises: ConfigError for an unknown name or a number out of its bounds; DeviceError."""
        for option in _RULES:
            check_option(option, getattr(self, option))
        shaped = {n for n in ("depth", "width") if getattr(self, n) != getattr(Config, n)}
        if shaped and self.model != "deep_plain_cnn":
            raise ConfigError(
                f"{', '.join(sorted(shaped))}: expected only with the model deep_plain_cnn, got "
                f"model {self.model}"
            )
        wanted = {"batch-norm": self.batch_norm, "residual": self.residual}
        for remedy, models_for_it in (("batch-norm", _FOR_BATCH_NORM), ("residual", _FOR_RESIDUAL)):
            if wanted[remedy] and self.model not in models_for_it:
                raise ConfigError(
                    f"{remedy}: expected only with the model {' or '.join(models_for_it)}, got "
                    f"{self.model}{' (it has it already)' if self.model in _NORMALISED else ''}"
                )
        if self.keep_pictures and self.model == "mlp":
            raise ConfigError("keep-pictures: expected a model with convolutions, got mlp")
        if self.momentum is not None and self.method not in _WITH_MOMENTUM:
            raise ConfigError(
                f"momentum: expected only with the optimizer {' or '.join(_WITH_MOMENTUM)}, got "
                f"{self.method}"
            )
        device.to_device(np.zeros(1), self.device)

    @property
    def rate(self) -> float:
        """The learning rate: `lr`, or the optimizer's own (see OPTIMIZERS).

        With `base_batch` the rate is meant for batches of that size, and grows in proportion to the
        batch (Goyal et al. 2017, section 2.1). For "auto" it is the larger one of the optimizer's
        two rates, at which the search for a safe rate begins.
        """
        return self._unscaled * (self.batch_size / self.base_batch if self.base_batch else 1)

    def given(self, rate: float) -> float:
        """The `lr` with which these options have this rate."""
        return rate * (self.base_batch / self.batch_size if self.base_batch else 1)

    @property
    def _unscaled(self) -> float:
        """The rate for batches of `base_batch`."""
        _, calm, other = OPTIMIZERS[self.method]
        suits = calm if self.data in GREY or self.is_normalised or self.lr == AUTO else other
        return suits if self.lr in (None, AUTO) else float(self.lr)

    @property
    def method(self) -> str:
        """The optimizer's name: `optimizer`, or the one that suits model and data."""
        plain = self.data in GREY and not self.is_normalised
        return self.optimizer or ("sgd" if plain else "adam")

    @property
    def is_normalised(self) -> bool:
        """Whether the model has batch normalisation."""
        return self.model in _NORMALISED or self.batch_norm

    @property
    def standardizes(self) -> bool:
        """Whether the images get mean 0 and deviation 1: `standardize`, or yes for a folder."""
        return self.data not in DATA if self.standardize is None else self.standardize

    def resolved(self) -> "Config":
        """The same options, with the values that a run takes in place of None.

        The rate "auto" stays: only a look at the model and the data can say what it is.
        """
        return dataclasses.replace(
            self,
            optimizer=self.method,
            lr=AUTO if self.lr == AUTO else self._unscaled,
            standardize=self.standardizes,
        )

    def build_model(self, shape: tuple[int, ...], classes: int) -> Module:
        """The model for images of this shape (C, H, W), freshly initialised with the seed."""
        channels, height, width = shape
        if height != width:
            raise ConfigError(
                f"model: expected square images, got {height}x{width}; give a size, which "
                "stretches them (--size 32)"
            )
        rng.manual_seed(self.seed)
        weights = _bounded(initializer(self.init))
        makers: dict[str, Callable[..., Any]] = {
            "mlp": lambda init, in_channels, size, classes: models.mlp(
                in_channels * size**2, classes=classes, init=init
            ),
            "article": models.article_cnn,
            "vgg_small": models.vgg_small,
            "resnet_small": models.resnet_small,
            "deep_plain_cnn": functools.partial(models.deep_plain_cnn, self.depth, self.width),
        }
        model = makers[self.model](init=weights, in_channels=channels, size=height, classes=classes)
        if self.batch_norm or self.residual:
            model = _with_remedies(model, self.batch_norm, self.residual)
        if self.weight_norm is not None:
            for _, layer in model.named_modules():
                if type(layer) in (Conv2d, Dense):
                    weight_norm(layer, self.weight_norm)
        return model

    def build_optimizer(self, model: Module) -> Any:
        """The optimizer of the model's parameters."""
        given = {"momentum": self.momentum, "weight_decay": self.weight_decay}
        options = {name: value for name, value in given.items() if value is not None}
        return OPTIMIZERS[self.method][0](model.parameters(), self.rate, **options)

    def build_loss(self) -> Callable[[Any, Any], Any]:
        """Cross-entropy, smoothed where that is asked for."""
        if not self.label_smoothing:
            return cross_entropy
        return functools.partial(cross_entropy, label_smoothing=self.label_smoothing)

    def build_schedule(self, steps: int) -> RunSchedule | None:
        """step -> rate over a run of `steps`; None where it stays constant."""
        if self.schedule == "constant" and not self.warmup:
            return None
        return RunSchedule(self.schedule, self.rate, self.warmup, steps)

    def build_clip(self) -> RunClip | None:
        """A function that clips each value, each unit and the global norm; None without clips."""
        limits = self.clip_value, self.clip_norm, self.clip_adaptive
        return None if limits == (None, None, None) else RunClip(*limits)

    def build_transform(self, size: int) -> Callable[..., np.ndarray] | None:
        """Augmentation: shifts by up to an eighth of the image, and mirroring."""
        if self.augment == "none":
            return None
        crop = random_crop(size, padding=max(1, size // 8))
        return compose(crop, random_flip()) if self.augment == "crop-flip" else crop

    def to_dict(self) -> dict[str, Any]:
        """The options by name, for a JSON file."""
        return dataclasses.asdict(self)

    @classmethod
    def from_file(cls, path: PathLike) -> "Config":
        """The options of a file, as `options_of_file`; the others have their defaults."""
        config = cls.from_dict(cls.options_of_file(path))
        try:
            config.check()
        except ConfigError as error:
            raise ConfigError(f"config: cannot use {str(path)!r}: {error}") from None
        return config

    @classmethod
    def options_of_file(cls, path: PathLike) -> dict[str, Any]:
        """The options that stand in a TOML file, or in a run's config.json.

        In TOML each is a line such as `batch-size = 32`, with the names of the command line. Each
        is checked by itself: whether they fit each other depends on those that override them.
        Raises: ConfigError for a file that cannot be read, an unknown option, a wrong value.
        """
        try:
            text = read_text(path)
            if Path(path).suffix == ".json":
                options = dict(json.loads(text)["options"])
            else:
                options = as_fields("config", tomllib.loads(text))
            cls.from_dict(options)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ConfigError(f"config: cannot read {str(path)!r}: {error}") from None
        for name, value in options.items():
            try:
                check_option(name, value)
            except ConfigError as error:
                raise ConfigError(f"config: cannot use {str(path)!r}: {error}") from None
        return options

    @classmethod
    def from_dict(cls, options: dict[str, Any]) -> "Config":
        """The Config of these options by name. Raises: ConfigError for an unknown option."""
        known = [field.name for field in dataclasses.fields(cls)]
        unknown = [name for name in options if name not in known]
        if unknown:
            raise ConfigError(
                f"Config: unknown options {', '.join(unknown)}; known are {', '.join(known)}"
            )
        return cls(**options)
