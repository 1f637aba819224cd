"""A run and its folder: trained, opened again, measured, asked about images."""

import base64
import functools
import json
import os
import platform
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import plot
from ..data import DataLoader, Dataset, Normalize, Transform, load_image, normalize
from ..errors import CheckpointError, ConfigError, DataError, GradientError, MinidlError
from ..files import check_ordinary, remove_parts, write_bytes
from ..health import doctor
from ..health.report import Report
from ..nn import Module
from ..tensor import Tensor
from ..train import History, Results, Trainer, load
from ..train.lock import locked
from ..train.nonfinite import CURES, NotFiniteError
from ..train.progress import LossJump
from ..train.recipe import describe, differences
from ..train.session import BEST
from ..train.team import team
from .advice import with_safe_rate
from .config import AUTO, FREE, Config
from .data import NAMED, Splits, load_data, split_of
from .keepsakes import PictureKeeper, tensorboard_writer

PathLike = str | os.PathLike[str]


@dataclass
class Outcome:
    """What a run came to. seconds: of training, without reading the data; steps: made in them."""

    config: Config
    history: History
    trainer: Trainer
    test: dict[str, float]
    seconds: float
    steps: int
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
    facts: dict[str, Any]

    @classmethod
    def open(cls, folder: PathLike, device: str = "cpu", *, last: bool = False) -> "Run":
        """Read config.json and the weights: of the best epoch where they were kept, else the last.

        last: take those of the last epoch. Raises: CheckpointError, ConfigError.
        """
        config, facts = read_config(folder)
        shape = tuple(facts["image_shape"])
        model = config.build_model(shape, len(facts["classes"]))
        best = (Path(folder) / BEST).exists() and not last
        load(Path(folder) / (BEST if best else "model.safetensors"), model)
        return cls(config, model.to(device), facts["classes"], shape, facts["normalize"], facts)

    def trainer(self) -> Trainer:
        """A Trainer of the model, to measure and predict with."""
        optimizer = self.config.build_optimizer(self.model)
        return Trainer(self.model, loss=self.config.build_loss(), optimizer=optimizer)

    def test_part(
        self, progress: bool = True, say: Callable[[str], Any] = warnings.warn
    ) -> Dataset:
        """The test part of the run's data, normalised as the model expects it.

        say: is told where test images are among those that the run was trained on.
        Raises: DataError where the data has other classes than the run has learned.
        """
        splits = load_data(self.config, self.normalize, progress)
        if list(splits.test.classes) != self.classes:
            raise DataError(
                f"evaluate: the run has learned the classes {', '.join(self.classes)}, but "
                f"{self.config.data!r} has {', '.join(splits.test.classes)}; give the folders "
                "their names back"
            )
        seen = np.isin(splits.hashes["test"], self.facts["trained_on"]).sum()
        if seen and splits.digests() != self.facts["digests"]:
            say(
                f"{seen} of {len(splits.test)} test images were trained on, so the accuracy says "
                f"too much: files in {self.config.data!r} have been added, removed or changed"
            )
        return splits.test

    def evaluate(
        self, progress: bool = True, say: Callable[[str], Any] = warnings.warn
    ) -> dict[str, float]:
        """Loss and accuracy on the test part of the run's data. Arguments as for `test_part`."""
        return self.trainer().evaluate(self.test_part(progress, say))

    def results(self, test: Dataset) -> Results:
        """What the model says of each image of a test part."""
        probabilities = self.trainer().predict(test)
        return Results(test.labels, probabilities, self.classes, test.paths)

    def as_seen(self, test: Dataset) -> Dataset:
        """A test part with its images as they were before they were normalised."""
        if self.normalize is None:
            return test
        return test.map(Transform(self.normalize.undo, "as seen"))

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
    splits: Splits | None = None,
    doctor: bool = True,
    figures: bool = True,
) -> Outcome:
    """Train as the options say, and fill the folder `out`.

    say: told what is about to happen, the model's summary, and what the doctor thinks of it.
    splits: the data that the options name, where the caller has read it already.
    doctor, figures: False leaves out the doctor's advice, and the figures.
    Raises: MinidlError of every kind, before training wherever it can be known.
    """
    config.check()
    several = team(config.deterministic, config.sync_batch_norm)
    several.check(config.batch_size)
    if several.rank:  # process 0 alone speaks, and writes into the folder
        progress, say = False, lambda text: None
    with several.together(), ExitStack() as stack:
        if out is not None:
            several.first(lambda: stack.enter_context(locked(out)) and None)
        folder = None if out is None else Path(out)
        return _train(
            config, folder, resume, progress, say, monitors, several.first, splits, doctor, figures
        )


def _train(
    config: Config,
    folder: Path | None,
    resume: bool,
    progress: bool,
    say: Callable[[str], Any],
    monitors: Sequence[Any],
    first: Callable[[Callable[[], Any]], Any],
    splits: Splits | None,
    advise: bool,
    draw: bool,
) -> Outcome:
    """As `train`. first: does in process 0 alone what all want to know."""
    if folder is not None:
        first(lambda: _check_folder(folder, config, resume))
    say(f"data: {config.data}")
    again = first(lambda: resume and folder and (folder / "config.json").exists())
    if resume and not again:
        say(f"resume: there is no run in {str(folder)!r} yet; this one starts from the beginning")
    before = first(lambda: read_config(folder)[1]) if again and folder else None
    if splits is None:
        splits = load_data(config, before["normalize"] if before else None, progress, say)
    if before and before["digests"]:
        _check_data(before, splits, folder)
    shape, classes = splits.train.shape[1:], splits.train.classes
    if config.lr == AUTO:
        config = first(lambda: with_safe_rate(config, splits.train))
        say(f"learning rate: {config.rate:.3g}, which the gradient doctor finds safe\n")
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
        loss=config.build_loss(),
        optimizer=optimizer,
        schedule=config.build_schedule(steps),
        clip=config.build_clip(),
        monitors=[*monitors, LossJump(say, _IN_OPTIONS["rate"])],
        seed=config.seed,
        deterministic=config.deterministic,
        sync_batch_norm=config.sync_batch_norm,
    )
    if advise and not again:
        first(lambda: _warn(config, splits, trainer, say))
    if folder is not None:
        first(lambda: _write_config(folder, config, splits, trainer, again))
    counted, start = _Steps(), time.perf_counter()
    trainer.monitors += (counted,)
    keeper = None
    if folder is not None and team().rank == 0:
        writer = tensorboard_writer(folder, say)
        trainer.monitors += () if writer is None else (writer,)
        if config.keep_pictures:
            image, label = splits.test[0]
            keeper = PictureKeeper(folder, image, label, steps // config.epochs)
            trainer.monitors += (keeper,)
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
            patience=None if splits.validation is splits.test else config.patience or config.epochs,
        )
    except NotFiniteError as error:
        diagnosis = first(lambda: _diagnosis(config, splits, trainer, folder))
        raise GradientError(f"{error.what}.\n{diagnosis or _in_options(error)}") from None
    finally:
        seconds = time.perf_counter() - start
        figures = []
        if draw and folder is not None and len(trainer.history):
            figures = first(lambda: _draw(trainer.history, folder, say, keeper))
    test = trainer.evaluate(splits.test)
    history = trainer.history
    return Outcome(config, history, trainer, test, seconds, counted.made, folder, figures)


def _write_config(
    folder: Path, config: Config, splits: Splits, trainer: Trainer, again: bool
) -> None:
    _check_space(folder, trainer.model)
    content = _describe(config, splits, trainer)
    if again:  # only the options that may change do
        content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        content["options"] = _options(config)
    write_bytes(folder / "config.json", (json.dumps(content, indent=2) + "\n").encode())


class _Steps:
    """A monitor that counts the steps made now, which a resumed run adds to those of before."""

    made = 0

    def after_update(self, trainer: Trainer, step: int) -> None:
        self.made += 1


# What helps against NaN and infinity, in the options of the command line.
_IN_OPTIONS = {
    "rate": "give a smaller --lr (it is {rate:g})",
    "init": "initialise for the activation: --init he_normal",
    "inputs": "standardise the images: --standardize",
}


def _in_options(error: NotFiniteError) -> str:
    return _IN_OPTIONS.get(error.cure, CURES[error.cure]).format(rate=error.rate)


def _warn(config: Config, splits: Splits, trainer: Trainer, say: Callable[[str], Any]) -> None:
    """Tell before the first step what the doctor has against the options."""
    data = splits.train
    batch = next(iter(DataLoader(data, config.batch_size, shuffle=True, seed=config.seed)))
    rate = trainer.optimizer.lr
    if trainer.schedule is not None:
        trainer.optimizer.lr = trainer.schedule(0)
    placed = trainer.place(batch[0]), Tensor(trainer.place_targets(batch[1]))
    try:
        found = doctor(
            trainer.model, placed, trainer.optimizer, loss=trainer.loss, clip=trainer.clip_option
        )
    except MinidlError as error:
        say(f"the gradient doctor cannot judge these options: {error}\n")
        return
    finally:
        trainer.optimizer.lr = rate
    if found.verdict != "healthy":
        say(f"the gradient doctor says before training: {found.verdict}{_findings(found)}\n")


def _findings(report: Report) -> str:
    return "".join(
        f"\n  {f.code} ({f.layer}): {f.evidence}\n  -> {f.prescription}" for f in report.findings
    )


def _diagnosis(config: Config, splits: Splits, trainer: Trainer, folder: Path | None) -> str:
    """What the doctor says of the last good weights and the batch that failed; "" for nothing."""
    shape = splits.train.shape[1:]
    model = config.build_model(shape, len(splits.train.classes))
    if folder is not None:
        load(folder / "model.safetensors", model)
    optimizer = config.build_optimizer(model.to(config.device))
    optimizer.lr = trainer.optimizer.lr
    if trainer.batch is None:  # no step was made
        return ""
    images, labels = trainer.batch
    batch = trainer.place(images), Tensor(labels)
    found = doctor(model, batch, optimizer, clip=config.build_clip())
    which = "the first weights" if folder is None else "the weights that were kept"
    if not found.findings:
        return ""
    return f"The gradient doctor says of {which}: {found.verdict}{_findings(found)}"


def train_seeds(
    config: Config, seeds: Iterable[int], out: PathLike | None = None, **options: Any
) -> list[Outcome]:
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
    check_ordinary(path)
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
            "digests": dict(facts.get("digests", {})),
            "trained_on": np.frombuffer(base64.b64decode(facts.get("trained_on", "")), "<u8"),
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
        before = read_config(folder)[0].resolved().to_dict()
        now = config.resolved().to_dict()
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
    elif any(folder.iterdir()):
        raise ConfigError(
            f"out: {str(folder)!r} is not empty; choose another name"
            + (", or go on with the run in it: --resume" if not resume else "")
        )
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise CheckpointError(
            f"out: cannot write to {str(folder)!r}: {error.strerror or error}; choose another one"
        ) from None


def _check_data(before: dict[str, Any], splits: Splits, folder: Path | None) -> None:
    """Raises: CheckpointError unless the data is the one that the run was started with."""
    data = {"classes": list(splits.train.classes)}
    then = {"classes": before["classes"], "images and labels": before["digests"]}
    differ = differences(then, data | {"images and labels": splits.digests()})
    if differ:
        raise CheckpointError(
            f"resume: the run in {str(folder)!r} was started with other data:\n"
            + "\n".join(differ)
            + "\nbring the data back as it was, or start a new run in another folder"
        )


def _check_space(folder: Path, model: Module) -> None:
    weights = sum(array.nbytes for array in model.state_dict().values())
    # Weights and two slots of the optimizer in four checkpoints (three and the one being
    # written), the model's own file and the best weights twice, and a megabyte for the rest.
    need = weights * (4 * 3 + 4) + 2**20
    free = shutil.disk_usage(folder).free
    if free < need:
        raise CheckpointError(
            f"out: the run needs about {need / 1e6:,.0f} MB in {str(folder)!r}, but the disk has "
            f"{free / 1e6:,.0f} MB free; free some space, or choose another folder"
        )


def _options(config: Config) -> dict[str, Any]:
    return {name: x for name, x in config.resolved().to_dict().items() if x is not None}


def _describe(config: Config, splits: Splits, trainer: Trainer) -> dict[str, Any]:
    from .. import __version__

    norm, data = splits.normalize, splits.train
    fixed = config.data in NAMED and NAMED[config.data].where is not None
    seen = b"" if fixed else np.sort(splits.hashes["train"]).tobytes()
    transform = config.build_transform(data.shape[-1])
    loader = DataLoader(
        data, config.batch_size, shuffle=True, seed=config.seed, transform=transform
    )
    return {
        "options": _options(config),
        "recipe": describe(trainer, loader) | {"split": split_of(config)},
        "data": {
            "classes": list(data.classes),
            "image_shape": list(data.shape[1:]),
            "images": {
                "train": len(data),
                "validation": len(splits.validation),
                "test": len(splits.test),
            },
            "normalize": None if norm is None else norm.to_config(),
            "digests": splits.digests(),
            # A hash of 8 bytes for each training image, where the parts could be mixed later.
            "trained_on": base64.b64encode(seen).decode(),
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


def _draw(
    history: History, folder: Path, say: Callable[[str], Any], keeper: PictureKeeper | None
) -> list[str]:
    draw: dict[str, Callable[[Path], Any]] = {
        "curves.png": functools.partial(plot.curves, history),
        "gradients.png": functools.partial(plot.gradients, history),
    }
    if keeper is not None:
        draw["pictures.png"] = keeper.draw
    try:
        for name, figure in draw.items():
            figure(folder / name)
    except Exception as error:  # the run itself is whole, whatever ails the figures
        say(f"no figures: {error}")
        return []
    return [*draw]
