"""The data that a run's options name, in three parts."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import data
from ..data import Dataset, Normalize
from ..errors import ConfigError, DataError
from ..train.recipe import image_digests
from .config import Config

_HELD_OUT = 0.2
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
    """Images to learn from, to watch while learning, and to judge by; normalised alike.

    hashes: of each image of a part, before it was normalised. skipped: (path, reason) of the files
    that were left out.
    """

    train: Dataset
    validation: Dataset
    test: Dataset
    normalize: Normalize | None
    hashes: dict[str, np.ndarray]
    skipped: list[tuple[str, str]]

    def digests(self) -> dict[str, str]:
        """A hash of the images and labels of each part."""
        return {
            part: hashlib.blake2b(
                self.hashes[part].tobytes() + getattr(self, part).labels.tobytes(), digest_size=8
            ).hexdigest()
            for part in self.hashes
        }


def load_data(config: Config, normalize: Normalize | None = None, progress: bool = True) -> Splits:
    """Read the data of a run, split it, and normalise it.

    Digits and a folder of class folders have no test part: a share (`validation`, else 0.2) is
    held out, the same for every seed. Where there is one it is the validation part too, unless
    `validation` asks for a share of the training images.
    normalize: what a trained model expects; by default fitted to the training images where the
    options ask for it.
    Raises: DataError, also where the images do not fit into memory; ConfigError.
    """
    try:
        return _load(config, normalize, progress)
    except MemoryError:
        raise DataError(
            f"data: the images of {config.data!r} do not fit into memory; for a folder, give a "
            "smaller --size or --gray, or fewer images"
        ) from None


def _load(config: Config, normalize: Normalize | None, progress: bool) -> Splits:
    if config.data in NAMED:
        if config.size is not None or config.gray or config.skip_bad:
            raise ConfigError("size, gray, skip-bad: expected only with a folder of images")
        if config.root is not None and config.data == "digits":
            raise ConfigError("root: digits come with scikit-learn and need no folder")
        load = NAMED[config.data].load
        loaded = load() if config.data == "digits" else load(config.root)
    else:
        loaded = _folder(config, progress)
    several = (loaded,) if isinstance(loaded, Dataset) else loaded
    skipped = [bad for part in several for bad in getattr(part, "skipped", [])]
    if isinstance(loaded, Dataset):
        train, test = loaded.split(config.validation or _HELD_OUT, _SPLIT_SEED)
        validation = test
    else:
        train, test = loaded
        validation = test
        if config.validation is not None:
            train, validation = train.split(config.validation, _SPLIT_SEED)
    parts = {"train": train, "validation": validation, "test": test}
    if normalize is None and config.standardizes:
        normalize = data.standardize(train.images)
    hashes = {part: image_digests(dataset.images) for part, dataset in parts.items()}
    if normalize is not None:
        same = validation is test
        train, test = train.map(normalize), test.map(normalize)
        validation = test if same else validation.map(normalize)
    return Splits(train, validation, test, normalize, hashes, skipped)


def split_of(config: Config) -> dict[str, Any]:
    """How the parts are made, for the recipe of a run."""
    share = config.validation if config.validation is not None else "the data's own, else 0.2"
    return {"held out": share, "seed": _SPLIT_SEED}


def _folder(config: Config, progress: bool) -> Any:
    folder = Path(config.data)
    try:
        there, why = folder.is_dir(), ""
    except (OSError, ValueError) as error:
        there, why = False, f" ({getattr(error, 'strerror', None) or error})"
    if not there:
        raise ConfigError(
            f"data: expected one of {', '.join(NAMED)}, or a folder of class folders; there is no "
            f"folder {config.data!r}{why}"
        )
    if config.root is not None:
        raise ConfigError("root: expected only with a named data set; give the folder as data")
    options: dict[str, Any] = {
        "gray": config.gray,
        "size": config.size,
        "skip_bad": config.skip_bad,
        "progress": progress,
    }
    if (folder / "train").is_dir() and (folder / "test").is_dir():
        return data.folder_splits(folder, **options)
    return data.ImageFolder(folder, **options)
