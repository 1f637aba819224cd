"""A run from its options: checked, trained, and its folder filled."""

import base64
import dataclasses
import functools
import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import plot
from ..data import DataLoader
from ..errors import CheckpointError, ConfigError, GradientError
from ..files import remove_parts, writable_folder, write_bytes
from ..nn import Module
from ..train import History, Trainer
from ..train.lock import locked
from ..train.nonfinite import NotFiniteError
from ..train.progress import LossJump
from ..train.recipe import describe, differences
from ..train.team import team
from .advice import with_safe_rate
from .config import AUTO, FREE, PLACE, Config
from .data import NAMED, Splits, load_data, split_of
from .keepsakes import PictureKeeper, tensorboard_writer
from .opinion import IN_OPTIONS, diagnosis, in_options, warn
from .run import PathLike, read_config


@dataclass
class Outcome:
    """The result of a run.

    test: {"loss", "accuracy"} on the test part. seconds: of training, without reading the data.
    steps: made in that time. out: the run's folder, or None. figures: names of files in it.
    """

    config: Config
    history: History
    trainer: Trainer
    test: dict[str, float]
    seconds: float
    steps: int
    out: Path | None
    figures: list[str]


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

    out: None writes nothing. resume: go on with the run in `out`. progress: show a progress bar.
    say: called with lines about the data, the model and the doctor's findings. monitors: more
    monitors for the Trainer. splits: the data that the options name, where the caller has read it
    already. doctor, figures: False leaves out the doctor's advice, or the figures.
    Raises: ConfigError, DataError, CheckpointError, DeviceError, before training wherever possible;
    GradientError where the loss or a gradient is not finite.
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
    """As `train`. first: calls a function in process 0 alone, and returns its result in all."""
    if folder is not None:
        config = first(lambda: _checked(folder, config, resume))
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
        monitors=[*monitors, LossJump(say, IN_OPTIONS["rate"])],
        seed=config.seed,
        deterministic=config.deterministic,
        sync_batch_norm=config.sync_batch_norm,
    )
    if advise and not again:
        first(lambda: warn(config, splits, trainer, say))
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
        said = first(lambda: diagnosis(config, splits, trainer, folder))
        raise GradientError(f"{error.what}.\n{said or in_options(error)}") from None
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
    """A monitor that counts the steps of this call, without those before a resume."""

    made = 0

    def after_update(self, trainer: Trainer, step: int) -> None:
        self.made += 1


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


def _checked(folder: Path, config: Config, resume: bool) -> Config:
    """Find out now, not after an hour, whether the run may and can write into the folder.

    Returns the options. A resumed run has the rate that was found safe when it began.
    """
    remove_parts(folder, "config.json")
    if resume and (folder / "config.json").exists():
        of_run, facts = read_config(folder)
        free = (*FREE, *PLACE) if facts["digests"] else FREE
        if config.lr == AUTO:
            config = dataclasses.replace(config, lr=of_run.lr, base_batch=of_run.base_batch)
        before, now = of_run.resolved().to_dict(), config.resolved().to_dict()
        differ = [
            f"  {name.replace('_', '-')}: was {before[name]!r}, is {now[name]!r}"
            for name in now
            if name not in free and now[name] != before[name]
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
    writable_folder("out", folder)
    return config


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
