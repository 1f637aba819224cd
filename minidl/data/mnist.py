"""MNIST and Fashion-MNIST, from a folder of IDX files or downloaded once."""

import os
from collections.abc import Sequence
from pathlib import Path

from ..errors import DataError
from ..files import kind_of
from .dataset import Dataset
from .download import Remote, cache_folder, fetch
from .idx import read_idx
from .transforms import scale

_PARTS = ("train", "t10k")
_MNIST_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
_MNIST_SUMS = {
    "train-images-idx3-ubyte": (
        9_912_422,
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    ),
    "train-labels-idx1-ubyte": (
        28_881,
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    ),
    "t10k-images-idx3-ubyte": (
        1_648_877,
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    ),
    "t10k-labels-idx1-ubyte": (
        4_542,
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    ),
}
_FASHION_MIRRORS = (
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
)
_FASHION_SUMS = {
    "train-images-idx3-ubyte": (
        26_421_880,
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    ),
    "train-labels-idx1-ubyte": (
        29_515,
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    ),
    "t10k-images-idx3-ubyte": (
        4_422_102,
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    ),
    "t10k-labels-idx1-ubyte": (
        5_148,
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    ),
}
_CLOTHES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


def mnist(root: str | os.PathLike[str] | None = None) -> tuple[Dataset, Dataset]:
    """MNIST's handwritten digits: (train, test), 60,000 and 10,000 images when downloaded.

    `root` is a folder with the four IDX files, compressed (.gz) or not; any number of images.
    Without it they are downloaded into the cache folder ($MINIDL_CACHE or ~/.cache/minidl).
    Shapes: images (N, 1, 28, 28) float32 in [0, 1]; labels (N,).
    Raises: DataError if a file is missing, damaged, or does not fit its partner, or if no mirror
    has it.
    Source: LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document
    recognition" (1998).
    """
    folder, ends = _place(root, "mnist", _MNIST_SUMS, _MNIST_MIRRORS)
    return _load(folder, ends, "mnist", [str(digit) for digit in range(10)])


def fashion_mnist(root: str | os.PathLike[str] | None = None) -> tuple[Dataset, Dataset]:
    """Fashion-MNIST's ten kinds of clothes: (train, test), in the format of `mnist`.

    Raises: as `mnist`.
    Source: Xiao, Rasul, Vollgraf, "Fashion-MNIST", arXiv:1708.07747 (2017).
    """
    folder, ends = _place(root, "fashion-mnist", _FASHION_SUMS, _FASHION_MIRRORS)
    return _load(folder, ends, "fashion-mnist", _CLOTHES)


def _place(
    root: str | os.PathLike[str] | None,
    name: str,
    sums: dict[str, tuple[int, str]],
    mirrors: Sequence[str],
) -> tuple[Path, tuple[str, ...]]:
    """(folder, endings of the files' names to look for).

    In the cache only the .gz files count, because only their checksums have been verified.
    """
    if root is not None:
        return Path(root), ("", ".gz")
    folder = cache_folder() / name
    for stem, (size, sha256) in sums.items():
        fetch(Remote(f"{stem}.gz", size, sha256), mirrors, folder)
    return folder, (".gz",)


def _load(
    folder: Path, ends: Sequence[str], name: str, classes: Sequence[str]
) -> tuple[Dataset, Dataset]:
    paths = {
        (part, kind): _find(folder, f"{part}-{kind}-ubyte", ends)
        for part in _PARTS
        for kind in ("images-idx3", "labels-idx1")
    }
    missing = [f"{part}-{kind}-ubyte" for (part, kind), path in paths.items() if path is None]
    if missing:
        raise DataError(
            f"{name}: expected the four IDX files in {str(folder)!r}, compressed (.gz) or not, "
            f"but there is no {', no '.join(missing)}; leave root out to download them",
            files=[(str(folder / stem), "missing") for stem in missing],
        )
    train, test = (
        _part(paths[part, "images-idx3"], paths[part, "labels-idx1"], name, classes)
        for part in _PARTS
    )
    return train, test


def _find(folder: Path, stem: str, ends: Sequence[str]) -> Path | None:
    dotted = stem.replace("-idx", ".idx")  # as some archives spell it
    candidates = (folder / f"{name}{end}" for name in (stem, dotted) for end in ends)
    return next((path for path in candidates if kind_of(path) == "file"), None)


def _part(
    images_path: Path | None, labels_path: Path | None, name: str, classes: Sequence[str]
) -> Dataset:
    assert images_path is not None and labels_path is not None
    images, labels = read_idx(images_path), read_idx(labels_path)
    if images.shape[1:] != (28, 28) or labels.shape != (len(images),):
        reason = (
            f"the images are {images.shape} and the labels of {str(labels_path)!r} are "
            f"{labels.shape}"
        )
    elif not len(images):
        reason = "it holds no images"
    elif labels.max() >= len(classes):
        reason = f"the labels of {str(labels_path)!r} go up to {labels.max()}"
    else:
        return Dataset(scale(images)[:, None], labels, classes, name)
    raise DataError(
        f"{name}: expected images (N, 28, 28) in {str(images_path)!r} with N labels from 0 to "
        f"{len(classes) - 1}, but {reason}",
        files=[(str(images_path), reason)],
    )
