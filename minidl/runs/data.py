"""The data that a run's options name, in three parts."""

import contextlib
import hashlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .. import data
from ..data import Dataset, Normalize
from ..data.folders import shared
from ..data.pictures import image_digests
from ..errors import ConfigError, DataError
from ..files import kind_of
from .config import Config

_HELD_OUT = 0.2
_LISTED = 20  # names of left-out files that are printed
_SPLIT_SEED = 0  # not the run's seed: runs with other seeds are measured on the same images


class Named(NamedTuple):
    """A data set with a name. where: the place of its files in the cache, if it is downloaded."""

    load: Callable[..., Any]
    images: str
    shape: str
    classes: str
    source: str
    where: str | None


NAMED = {
    "digits": Named(
        data.digits, "1,797", "1x28x28", "10 handwritten digits",
        "UCI, Alpaydin and Kaynak 1998, CC BY 4.0; part of scikit-learn", None,
    ),
    "mnist": Named(
        data.mnist, "60,000 + 10,000", "1x28x28", "10 handwritten digits",
        "LeCun et al. 1998, CC BY-SA 3.0", "mnist",
    ),
    "fashion-mnist": Named(
        data.fashion_mnist, "60,000 + 10,000", "1x28x28", "10 kinds of clothes",
        "Zalando, Xiao et al. 2017, MIT", "fashion-mnist",
    ),
    "cifar10": Named(
        data.cifar10, "50,000 + 10,000", "3x32x32", "10 kinds of animals and vehicles",
        "Krizhevsky 2009, no licence stated", "cifar-10",
    ),
}  # fmt: skip


@dataclass
class Splits:
    """The training, validation and test part of the data, all normalised in the same way.

    normalize: that transform; None where there is none. hashes: for each part a hash of every
    image, taken before it was normalised.
    """

    train: Dataset
    validation: Dataset
    test: Dataset
    normalize: Normalize | None
    hashes: dict[str, np.ndarray]

    def digests(self) -> dict[str, str]:
        """A hash of the images and labels of each part."""
        return {
            part: hashlib.blake2b(
                self.hashes[part].tobytes() + getattr(self, part).labels.tobytes(), digest_size=8
            ).hexdigest()
            for part in self.hashes
        }


def load_data(
    config: Config,
    normalize: Normalize | None = None,
    progress: bool = True,
    say: Callable[[str], Any] | None = None,
) -> Splits:
    """Read the data of a run, split it, and normalise it.

    The validation part is watched while the run learns; the test part is for the final number.
    Where a folder has no test part, the validation part is both. Where there is no validation
    part, the test part is both, unless `validation` asks for a share of the training images.
    Digits and a folder of class folders have neither: a share (`validation`, else 0.2) is held
    out for both, the same one for every seed. With `patience` there are always three different
    parts: the weights are chosen by the validation part, so it cannot measure them fairly.
    normalize: the transform that a trained model expects; by default it is fitted to the training
    images where the options ask for it.
    say: called with sentences about files left out, folders not read, and images in two parts; by
    default they go to standard error.
    Raises: DataError for data that cannot be read or does not fit into memory; ConfigError for
    options that do not fit the data.
    """
    try:
        return _load(config, normalize, progress, say or _to_stderr)
    except MemoryError:
        raise DataError(
            f"data: the images of {config.data!r} do not fit into memory; for a folder, give a "
            "smaller --size or --gray, or fewer images"
        ) from None


def _load(
    config: Config, normalize: Normalize | None, progress: bool, say: Callable[[str], Any]
) -> Splits:
    if config.data in NAMED:
        if config.size is not None or config.gray or config.skip_bad or config.cache or config.lazy:
            raise ConfigError(
                "size, gray, skip-bad, lazy, cache: expected only with a folder of images"
            )
        if config.root is not None and config.data == "digits":
            raise ConfigError("root: digits come with scikit-learn and need no folder")
        load = NAMED[config.data].load
        loaded = load() if config.data == "digits" else load(config.root)
        train, *rest = (loaded,) if isinstance(loaded, Dataset) else loaded
        validation, test = None, rest[0] if rest else None
    else:
        train, validation, test = _folder(config, progress, say)
    if validation is not None and config.validation is not None:
        raise ConfigError(
            "validation: expected no share to hold out, because the folder has a validation part "
            "of its own; leave the option out"
        )
    cut = {}
    if validation is None and test is None and config.patience is not None:
        train, test = train.split(_HELD_OUT, _SPLIT_SEED)
        cut["test"] = test
    if validation is None and (config.validation or config.patience or test is None):
        train, validation = train.split(config.validation or _HELD_OUT, _SPLIT_SEED)
        cut["validation"] = validation
    validation = test if validation is None else validation
    test = validation if test is None else test
    assert validation is not None and test is not None
    parts = {"train": train, "validation": validation, "test": test}
    hashes = {part: image_digests(dataset.source) for part, dataset in parts.items()}
    for note in _copies({"train": train} | cut, hashes):
        say(f"{config.data}: {note}")
    if normalize is None and config.standardizes:
        normalize = data.standardize(train)
    if normalize is not None:
        same = validation is test
        train, test = train.map(normalize), test.map(normalize)
        validation = test if same else validation.map(normalize)
    return Splits(train, validation, test, normalize, hashes)


def _copies(parts: dict[str, Dataset], hashes: dict[str, np.ndarray]) -> list[str]:
    """A sentence for each two parts, cut from the same images, that hold copies of one file.

    Only files with equal pixels are compared, so that a folder is not read once more.
    """
    alike = {}
    for part, images in parts.items():
        others = np.concatenate([np.empty(0, "<u8"), *(hashes[p] for p in parts if p != part)])
        twice = np.isin(hashes[part], others)
        if images.paths and twice.any():
            alike[part] = images[twice]
    return shared(alike)


def split_of(config: Config) -> dict[str, Any]:
    """How the parts are made, for the recipe of a run."""
    share = config.validation if config.validation is not None else "the data's own, else 0.2"
    return {"held out": share, "seed": _SPLIT_SEED}


def _folder(
    config: Config, progress: bool, say: Callable[[str], Any]
) -> tuple[Dataset, Dataset | None, Dataset | None]:
    """(train, validation, test) of a folder; None for a part that it does not have."""
    if kind_of(config.data) != "folder":
        raise ConfigError(
            f"data: expected one of {', '.join(NAMED)}, or a folder of class folders; there is no "
            f"folder {config.data!r}"
        )
    if config.root is not None:
        raise ConfigError("root: expected only with a named data set; give the folder as data")
    parts = data.folder_parts(
        config.data,
        gray=config.gray,
        size=config.size,
        skip_bad=config.skip_bad,
        lazy=config.lazy,
        cache=config.cache,
        progress=progress,
    )
    train, validation, test, notes = parts
    skipped = [bad for part in (train, validation, test) if part for bad in part.skipped]
    if skipped:
        say(f"skip-bad: files left out: {len(skipped):,}")
        for path, reason in skipped[:_LISTED]:
            say(f"  {path}: {reason}")
        if len(skipped) > _LISTED:
            say(f"  and {len(skipped) - _LISTED:,} more")
    for note in notes:
        say(f"{config.data}: {note}")
    return train, validation, test


def _to_stderr(line: str) -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):  # no terminal may end a run
        print(line, file=sys.stderr, flush=True)
