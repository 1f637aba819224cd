"""A run and its folder: trained, opened again, measured, asked about images."""

import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import plot
from ..data import Normalize, load_image, normalize
from ..errors import CheckpointError, ConfigError, DataError, GradientError
from ..health import doctor
from ..nn import Module
from ..train import History, Trainer, load
from ..train.files import remove_parts, write_bytes
from .config import FREE, Config
from .data import Splits, load_data

PathLike = str | os.PathLike[str]


@dataclass
class Result:
    """What a run came to. seconds: of training, without reading the data."""

    config: Config
    history: History
    trainer: Trainer
    test: dict[str, float]
    seconds: float
    out: Path | None
    figures: list[str]


@dataclass
class Run:
    """A trained model with all that it needs to judge an image."""

    config: Config
    model: Module
    classes: Sequence[str]
    shape: tuple[int, ...]
    normalize: Normalize | None

    @classmethod
    def open(cls, folder: PathLike, device: str = "cpu") -> "Run":
        """Read config.json and model.safetensors. Raises: CheckpointError, ConfigError."""
        config, facts = read_config(folder)
        shape = tuple(facts["image_shape"])
        model = config.build_model(shape, len(facts["classes"]))
        load(Path(folder) / "model.safetensors", model)
        return cls(config, model.to(device), facts["classes"], shape, facts["normalize"])

    def trainer(self) -> Trainer:
        """A Trainer of the model, to measure and predict with."""
        return Trainer(self.model, optimizer=self.config.build_optimizer(self.model))

    def evaluate(self, progress: bool = True) -> dict[str, float]:
        """Loss and accuracy on the test part of the run's data."""
        return self.trainer().evaluate(load_data(self.config, self.normalize, progress).test)

    def predict(self, paths: Iterable[PathLike]) -> np.ndarray:
        """The probabilities (N, K) for image files, brought to the model's size and colours."""
        channels, height, width = self.shape
        read = [load_image(path, gray=channels == 1, size=(height, width)) for path in paths]
        if not read:
            raise DataError("predict: expected at least one image file, got none")
        images = np.stack(read)
        return self.trainer().predict(self.normalize(images) if self.normalize else images)


def train(
    config: Config,
    out: PathLike | None = None,
    *,
    resume: bool = False,
    progress: bool = True,
    say: Callable[[str], Any] = lambda text: None,
    monitors: Sequence[Any] = (),
) -> Result:
    """Train as the options say, and fill the folder `out`.

    say: told what is about to happen, and the model's summary.
    Raises: MinidlError of every kind, before training wherever it can be known.
    """
    config.check()
    folder = None if out is None else Path(out)
    if folder is not None:
        _check_folder(folder, config, resume)
    say(f"data: {config.data}")
    again = resume and folder is not None and (folder / "config.json").exists()
    if resume and not again:
        say(f"resume: there is no run in {str(folder)!r} yet; this one starts from the beginning")
    fitted = read_config(folder)[1]["normalize"] if again and folder else None
    splits = load_data(config, fitted, progress)
    shape, classes = splits.train.images.shape[1:], splits.train.classes
    model = config.build_model(shape, len(classes))
    say(
        f"{len(splits.train):,} images to train on, {len(splits.validation):,} to validate with, "
        f"{'the same' if splits.validation is splits.test else f'{len(splits.test):,}'} to test "
        f"with; {len(classes)} classes\n\n{model.summary(shape)}\n"
    )
    model.to(config.device)
    optimizer = config.build_optimizer(model)
    steps = config.epochs * -(-len(splits.train) // config.batch_size)
    trainer = Trainer(
        model,
        optimizer=optimizer,
        schedule=config.build_schedule(steps),
        clip=config.build_clip(),
        monitors=monitors,
        seed=config.seed,
    )
    if folder is not None:
        _check_space(folder, model)
        folder.mkdir(exist_ok=True)
        content = _describe(config, splits)
        if again:  # only the options that may change do
            content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            content["options"] = config.to_dict()
        write_bytes(folder / "config.json", (json.dumps(content, indent=2) + "\n").encode())
    start = time.perf_counter()
    figures: list[str] = []
    try:
        trainer.fit(
            splits.train,
            validation=splits.validation,
            epochs=config.epochs,
            batch_size=config.batch_size,
            out=folder,
            resume=resume,
            progress=progress,
            transform=config.build_transform(shape[-1]),
        )
    except GradientError as error:
        raise GradientError(f"{error}.\n{_diagnosis(config, splits, trainer, folder)}") from None
    finally:
        seconds = time.perf_counter() - start
        if folder is not None and len(trainer.history):
            figures = _draw(trainer.history, folder, say)
    test = trainer.evaluate(splits.test)
    return Result(config, trainer.history, trainer, test, seconds, folder, figures)


def _diagnosis(config: Config, splits: Splits, trainer: Trainer, folder: Path | None) -> str:
    """What the gradient doctor says of the last good weights and the batch that failed."""
    images = splits.train.images
    model = config.build_model(images.shape[1:], len(splits.train.classes))
    if folder is not None:
        load(folder / "model.safetensors", model)
    optimizer = config.build_optimizer(model.to(config.device))
    optimizer.lr = trainer.optimizer.lr
    assert trainer.batch is not None  # a step has failed
    found = doctor(model, trainer.batch, optimizer, clip=config.build_clip())
    which = "the first weights" if folder is None else "the weights that were kept"
    lines = [f"  {f.code} ({f.layer}): {f.evidence}\n  -> {f.prescription}" for f in found.findings]
    return "\n".join([f"The gradient doctor says of {which}: {found.verdict}", *lines])


def train_seeds(
    config: Config, seeds: Iterable[int], out: PathLike | None = None, **options: Any
) -> list[Result]:
    """The same run for several seeds, in the folders out/seed-0, out/seed-1, ...

    The parts of the data stay; initialisation, order and augmentation change with the seed.
    """
    results = []
    for seed in seeds:
        one = Config.from_dict(config.to_dict() | {"seed": seed})
        results.append(train(one, None if out is None else Path(out) / f"seed-{seed}", **options))
    return results


def read_config(folder: PathLike) -> tuple[Config, dict[str, Any]]:
    """(options, what is known of the data) from a run's config.json; the device is left to you.

    Raises: CheckpointError if it is missing or damaged.
    """
    path = Path(folder) / "config.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        config, facts = Config.from_dict(content["options"]), content["data"]
        names, shape = facts["classes"], facts["image_shape"]
        if not (_all(str, names) and names and _all(int, shape) and len(shape) == 3):
            raise ValueError(f"classes {names!r}, image_shape {shape!r}")
        known = {
            "classes": names,
            "image_shape": shape,
            "normalize": facts["normalize"] and normalize(**facts["normalize"]),
        }
    except (FileNotFoundError, NotADirectoryError):
        raise CheckpointError(
            f"cannot open {str(folder)!r}: it is no run folder (there is no config.json in it); "
            "give the folder that minidl train wrote"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(f"cannot open {str(path)!r}: it is damaged ({error})") from None
    config.device = "cpu"
    config.check()
    return config, known


def _all(kind: type, values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is kind for value in values)


def _check_folder(folder: Path, config: Config, resume: bool) -> None:
    """Find out now, not after an hour, whether the folder can be written and may be."""
    remove_parts(folder, "config.json")
    if resume and (folder / "config.json").exists():
        before = read_config(folder)[0].to_dict()
        now = config.to_dict()
        differ = [
            f"  {name.replace('_', '-')}: was {before[name]!r}, is {now[name]!r}"
            for name in now
            if name not in FREE and now[name] != before[name]
        ]
        if differ:
            raise ConfigError(
                f"resume: the run in {str(folder)!r} was started with other options:\n"
                + "\n".join(differ)
                + "\nleave them out, or choose another folder"
            )
    elif folder.exists() and not folder.is_dir():
        raise ConfigError(f"out: {str(folder)!r} is a file; choose another name")
    elif folder.exists() and any(folder.iterdir()):
        raise ConfigError(
            f"out: {str(folder)!r} is not empty; choose another name"
            + (", or go on with the run in it: --resume" if not resume else "")
        )
    try:
        new = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        if new:  # what fails before the first step leaves no empty folder
            folder.rmdir()
    except OSError as error:
        raise CheckpointError(
            f"out: cannot write to {str(folder)!r}: {error.strerror or error}; choose another one"
        ) from None


def _check_space(folder: Path, model: Module) -> None:
    weights = sum(array.nbytes for array in model.state_dict().values())
    # Weights and two slots of the optimizer in four checkpoints (three and the one being
    # written), the model's own file twice, and a megabyte for the rest.
    need = weights * (4 * 3 + 2) + 2**20
    free = shutil.disk_usage(folder if folder.exists() else folder.parent).free
    if free < need:
        raise CheckpointError(
            f"out: the run needs about {need / 1e6:,.0f} MB in {str(folder)!r}, but the disk has "
            f"{free / 1e6:,.0f} MB free; free some space, or choose another folder"
        )


def _describe(config: Config, splits: Splits) -> dict[str, Any]:
    from .. import __version__

    norm = splits.normalize
    return {
        "options": config.to_dict(),
        "data": {
            "classes": list(splits.train.classes),
            "image_shape": list(splits.train.images.shape[1:]),
            "images": {
                "train": len(splits.train),
                "validation": len(splits.validation),
                "test": len(splits.test),
            },
            "normalize": None if norm is None else norm.to_config(),
        },
        "versions": {
            "minidl": __version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "machine": {
            "platform": platform.platform(),
            "processor": platform.processor() or platform.machine(),
            "cpus": os.cpu_count(),
        },
    }


def _draw(history: History, folder: Path, say: Callable[[str], Any]) -> list[str]:
    try:
        plot.curves(history, folder / "curves.png")
        plot.gradients(history, folder / "gradients.png")
    except ConfigError as error:  # no matplotlib: the run itself is whole
        say(f"no figures: {error}")
        return []
    return ["curves.png", "gradients.png"]
