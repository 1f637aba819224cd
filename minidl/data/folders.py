"""A folder of class folders as a dataset, and a folder of such parts as three."""

import hashlib
import math
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import DataError
from .bar import progress_bar
from .dataset import Dataset
from .images import Size, load_image
from .parts import PARTS, Bad, find_parts, same_classes, strangers, subfolders, walk

_LISTED = 20


class ImageFolder(Dataset):
    """The images of root/CLASS/..., read at once; the sorted folder names are the classes.

    `.paths` names the file of each image; `.skipped` lists (path, reason) of the files left out.
    Files lie anywhere below their class folder. Hidden files and folders, thumbnails and the
    like do not count, and symbolic links to folders inside a class are not followed. `gray` and
    `size` are those of load_image. `classes` fixes the labels: folder `classes[k]` gets label k,
    one without a folder has no images, and a folder without a class is an error.
    Shapes: images (N, C, H, W) float32 in [0, 1]; labels (N,).
    Raises: DataError if the folder is missing, holds parts (train, test, ...) in place of
    classes, or has fewer than two classes; if a class has no image; if sizes differ and no `size`
    is given; or, unless `skip_bad`, if a file cannot be read. One error names all the files
    (`error.files`).
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        gray: bool = False,
        size: Size | None = None,
        skip_bad: bool = False,
        classes: Sequence[str] | None = None,
        progress: bool = False,
    ) -> None:
        folder = Path(root)
        names = _class_names(folder, classes)
        present = {name for name in names if (folder / name).is_dir()}
        files, bad = _list_files(folder, names)
        images, kept, unread, odd = _read(files, gray, size, progress)
        bad += unread
        if odd or (bad and not skip_bad):
            raise _bad_files(folder, odd, [] if skip_bad else bad, len(files))
        labels = np.array([files[i][1] for i in kept], dtype=np.int64)
        empty = present - {names[label] for label in set(labels.tolist())}
        if empty:
            raise DataError(
                f"ImageFolder: expected images in every class folder of {str(folder)!r}, but "
                f"there is none in {', '.join(sorted(empty))}; add images or remove the folder",
                files=[(str(folder / name), "no readable image") for name in sorted(empty)] + bad,
            )
        super().__init__(images, labels, names, folder.name)
        self.paths = tuple(str(files[i][0]) for i in kept)
        self.skipped: Bad = bad


class FolderParts(NamedTuple):
    """The parts of a folder, labelled alike; None for a part that it does not have.

    notes: sentences about what was left aside or is in two parts.
    """

    train: ImageFolder
    validation: ImageFolder | None
    test: ImageFolder | None
    notes: tuple[str, ...]


def folder_parts(
    root: str | os.PathLike[str], *, classes: Sequence[str] | None = None, **options: Any
) -> FolderParts:
    """The parts root/train/CLASS/..., root/validation/CLASS/... and root/test/CLASS/....

    The parts may be spelled in any usual way (Training, seg_train, val, dev, test_set, ...).
    Where root holds class folders, or a training part alone, all images are `train`. The other
    options are ImageFolder's.
    Raises: DataError as ImageFolder does, or if there is no training part, or if another part
    has a class that the training part lacks or images of another size.
    """
    folder = Path(root)
    places = find_parts(folder)
    if not places:
        return FolderParts(ImageFolder(folder, classes=classes, **options), None, None, ())
    if "train" not in places:
        raise DataError(
            f"folder_parts: expected a training part in {str(folder)!r}, found only "
            f"{', '.join(place.name for place in places.values())}; name the training folder "
            "train, or read one part with ImageFolder"
        )
    names = _class_names(places["train"], classes)
    for part, place in places.items():
        unseen = sorted(set(subfolders(place)) - set(names))
        if unseen:
            raise DataError(
                f"folder_parts: expected the {part} part's classes among those of the training "
                "part, but these labels are missing from the training part: "
                f"{', '.join(unseen)}; add them to {str(places['train'])!r} or remove them from "
                f"the {part} part",
                files=[(str(place / name), "not a training class") for name in unseen],
            )
    read = {part: ImageFolder(place, classes=names, **options) for part, place in places.items()}
    shapes = {part: data.images.shape[1:] for part, data in read.items()}
    if len(set(shapes.values())) > 1:
        found = " and ".join(f"{shape} in {part}" for part, shape in shapes.items())
        raise DataError(
            "folder_parts: expected images of one size: give size=(height, width), or --size; "
            f"got {found}"
        )
    notes = _shared(read)
    if others := strangers(folder, places):
        notes.append(
            f"not read: {', '.join(others)} (a part holds class folders and no image of its own, "
            "and has a part's name)"
        )
    train, validation, test = (read.get(part) for part in PARTS)
    assert train is not None
    return FolderParts(train, validation, test, tuple(notes))


def folder_splits(
    root: str | os.PathLike[str],
    *,
    held_out: float | None = None,
    seed: int = 0,
    classes: Sequence[str] | None = None,
    **options: Any,
) -> tuple[Dataset, Dataset]:
    """(train, test) of `folder_parts`, which also gives the validation part.

    Where root holds class folders and no parts, `held_out` (a fraction) is split off with `seed`.
    Raises: DataError as folder_parts does, or if there is no test part. Warns: of folders that
    are no part, and of images that are in two parts.
    """
    places = find_parts(Path(root))
    if not places and held_out is not None:
        return ImageFolder(root, classes=classes, **options).split(held_out, seed)
    if "train" not in places or "test" not in places:
        raise DataError(
            f"folder_splits: expected a training and a test part in {str(root)!r}, found "
            f"{', '.join(places) or 'neither'}; name the folders train and test, hold out a part "
            "of one folder (ImageFolder(root).split(0.2)), or read a validation part with "
            "folder_parts"
        )
    parts = folder_parts(root, classes=classes, **options)
    for note in parts.notes:
        warnings.warn(f"folder_splits: {note}", stacklevel=2)
    assert parts.test is not None
    return parts.train, parts.test


def _shared(parts: dict[str, ImageFolder]) -> list[str]:
    """A sentence for each two parts that hold the same image files, under whatever name."""
    digests = {
        part: {
            hashlib.blake2b(image, digest_size=16).digest(): path
            for image, path in zip(data.images, data.paths, strict=True)
        }
        for part, data in parts.items()
    }
    notes = []
    for k, first in enumerate(digests):
        for second in list(digests)[k + 1 :]:
            pairs = [
                (digests[first][digest], digests[second][digest])
                for digest in digests[first].keys() & digests[second].keys()
            ]
            # Equal pixels may be two plain pictures brought to one size: compare the files.
            same = sorted(pair for pair in pairs if _bytes(pair[0]) == _bytes(pair[1]))
            if same:
                listed = ", ".join(f"{a} = {b}" for a, b in same[:3])
                notes.append(
                    f"{len(same)} of the {second} images are also {first} images, so that the "
                    f"{second} accuracy says too much: {listed}{', ...' if same[3:] else ''}"
                )
    return notes


def _bytes(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _class_names(folder: Path, classes: Sequence[str] | None) -> tuple[str, ...]:
    found = subfolders(folder)
    expected = f"ImageFolder: expected a folder for each class in {str(folder)!r}, "
    if not found:
        raise DataError(f"{expected}but there is no folder in it; put images in CLASS/ folders")
    if classes is not None:
        unknown = sorted(set(found) - set(classes))
        if unknown or len(set(classes)) != len(classes):
            raise DataError(
                f"{expected}named as in classes={list(classes)!r}, each once, but found "
                f"{', '.join(unknown) or 'a name twice'}"
            )
        return tuple(classes)
    parts = find_parts(folder)
    if parts:
        looking = ", ".join(path.relative_to(folder).parts[0] for path in parts.values())
        raise DataError(
            f"{expected}but {looking} look like parts of a dataset, which hold class folders; "
            "use folder_splits(root) or folder_parts(root), name one part, or, if these are "
            "classes, give classes=[...]"
        )
    if alike := same_classes(folder, found):
        raise DataError(
            f"{expected}but {', '.join(found)} all hold the same folders ({', '.join(alike[:5])}), "
            "as the parts of a dataset do; rename them train, validation and test, or, if they "
            "are classes, give classes=[...]"
        )
    if len(found) == 1:
        raise DataError(f"{expected}at least two, but found only {found[0]!r}")
    return tuple(found)


def _list_files(folder: Path, names: Sequence[str]) -> tuple[list[tuple[Path, int]], Bad]:
    """(path, label) of every file, in order, and what cannot even be listed."""
    files: list[tuple[Path, int]] = []
    bad: Bad = []
    root = os.path.realpath(folder)
    for label, name in enumerate(names):
        top = folder / name
        if not top.is_dir():  # one of the given classes, with no images here
            continue
        if top.is_symlink() and Path(root).is_relative_to(os.path.realpath(top)):
            bad.append((str(top), "a symbolic link back to a folder that holds it"))
            continue
        files += [(path, label) for path in walk(top, bad)]
    return files, bad


def _read(
    files: Sequence[tuple[Path, int]], gray: bool, size: Size | None, progress: bool
) -> tuple[np.ndarray, list[int], Bad, Bad]:
    """The images, the positions of their files, the unreadable files, those of another size."""
    images = np.empty((0, 1, 1, 1), np.float32)
    kept: list[int] = []
    unread: Bad = []
    odd: Bad = []
    with progress_bar("read images", len(files), show=progress) as advance:
        for position, (path, _) in enumerate(files):
            advance(1)
            try:
                image = load_image(path, gray=gray, size=size)
            except DataError as error:
                if not error.files:
                    raise
                unread += error.files
                continue
            if not kept:
                images = _room(len(files), image.shape)
            if image.shape != images.shape[1:]:
                ours, theirs = ("x".join(map(str, s[-2:])) for s in (image.shape, images.shape))
                odd.append((str(path), f"{ours} pixels, but {files[kept[0]][0]} has {theirs}"))
                continue
            images[len(kept)] = image
            kept.append(position)
    return images[: len(kept)], kept, unread, odd


def _room(count: int, shape: tuple[int, ...]) -> np.ndarray:
    """Memory for all images. Raises: DataError naming the largest halved size that would fit."""
    if (images := _allocated(count, shape)) is not None:
        return images
    side = min(shape[1:]) // 2
    while side and _allocated(count, (shape[0], side, side)) is None:
        side //= 2
    raise DataError(
        f"ImageFolder: expected {count:,} images of shape {shape} to fit into memory; give a "
        "smaller size (--size), or gray=True (--gray): they need "
        f"{4e-9 * count * math.prod(shape):,.1f} GB"
        + (f", and {side}x{side} pixels would fit" if side else "")
    )


def _allocated(count: int, shape: tuple[int, ...]) -> np.ndarray | None:
    try:
        return np.empty((count, *shape), np.float32)
    except (MemoryError, ValueError):
        return None


def _bad_files(folder: Path, odd: Bad, unread: Bad, total: int) -> DataError:
    advice = []
    if odd:
        advice.append("give size=(height, width), or --size, to bring all images to one size")
    if unread:
        advice.append(
            "repair or remove the files, or give skip_bad=True, or --skip-bad, to leave them out"
        )
    bad = odd + unread
    lines = [f"  {path}: {reason}" for path, reason in bad[:_LISTED]]
    if len(bad) > _LISTED:
        lines.append(f"  and {len(bad) - _LISTED:,} more")
    return DataError(
        f"ImageFolder: expected readable images of one size in {str(folder)!r}, but "
        f"{len(bad):,} of {total:,} files cannot be used: {'; '.join(advice)}\n" + "\n".join(lines),
        files=bad,
    )
