"""The gradient doctor's opinion of a run: before its first step, and after a loss that is NaN."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..data import DataLoader
from ..errors import MinidlError
from ..health import doctor
from ..health.report import Report
from ..tensor import Tensor
from ..train import Trainer, load
from ..train.nonfinite import CURES, NotFiniteError
from .config import Config
from .data import Splits

# What helps against NaN and infinity, in the options of the command line.
IN_OPTIONS = {
    "rate": "give a smaller --lr (it is {rate:g})",
    "init": "initialise for the activation: --init he_normal",
    "inputs": "standardise the images: --standardize",
}


def in_options(error: NotFiniteError) -> str:
    """The cure for NaN or infinity, with the options of the command line where there are some."""
    return IN_OPTIONS.get(error.cure, CURES[error.cure]).format(rate=error.rate)


def warn(config: Config, splits: Splits, trainer: Trainer, say: Callable[[str], Any]) -> None:
    """Tell the doctor's findings about the options, before the first step."""
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


def diagnosis(config: Config, splits: Splits, trainer: Trainer, folder: Path | None) -> str:
    """The doctor's findings about the last good weights and the batch that failed; "" for none."""
    shape = splits.train.shape[1:]
    model = config.build_model(shape, len(splits.train.classes))
    kept = None if folder is None else folder / "model.safetensors"
    if kept is not None and kept.exists():  # not before the first checkpoint
        load(kept, model)
    optimizer = config.build_optimizer(model.to(config.device))
    optimizer.lr = trainer.optimizer.lr
    if trainer.batch is None:  # no step was made
        return ""
    images, labels = trainer.batch
    batch = trainer.place(images), Tensor(labels)
    found = doctor(model, batch, optimizer, clip=config.build_clip())
    which = "the weights that were kept" if kept and kept.exists() else "the first weights"
    if not found.findings:
        return ""
    return f"The gradient doctor says of {which}: {found.verdict}{_findings(found)}"
