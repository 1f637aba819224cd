"""A folder of class folders as a dataset, and a folder of such parts as three."""

import hashlib
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import DataError
from .dataset import Dataset
from .images import Size
from .parts import PARTS, Bad, find_parts, same_classes, strangers, subfolders, walk
from .reading import read_files


class ImageFolder(Dataset):
    """The images of root/CLASS/...; the sorted folder names are the classes.

    They are read at once and kept as pixels, or stay in their files where `lazy`: then a batch is
    decoded when it is asked for. By default the files are left where they are if their pixels would
    take more than half of the free memory. `cache`: decode them once, into a file of pixels that
    later readings map into memory; True puts it beside the downloads, a path names its folder.
    What the model gets is the same in all three ways, bit for bit.
    `.paths` names the file of each image; `.skipped` lists (path, reason) of the files left out.
    Files lie anywhere below their class folder. Hidden files and folders, thumbnails and the
    like do not count, and symbolic links to folders inside a class are not followed. `gray` and
    `size` are those of load_image. `classes` fixes the labels: folder `classes[k]` gets label k,
    one without a folder has no images, and a folder without a class is an error.
    Shapes: images (N, C, H, W) float32 in [0, 1]; labels (N,).
    Raises: DataError if the folder is missing, holds parts (train, test, ...) in place of
    classes, or has fewer than two classes; if a class has no image; if sizes differ and no `size`
    is given; or, unless `skip_bad`, if a file cannot be read. One error names all the files
    (`error.files`). Of lazy images a bad file is found when it is used, or when all are looked at
    (`skip_bad`, md.data.standardize, the start of a run that writes checkpoints).
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        gray: bool = False,
        size: Size | None = None,
        skip_bad: bool = False,
        classes: Sequence[str] | None = None,
        lazy: bool | None = None,
        cache: bool | str | os.PathLike[str] = False,
        progress: bool = False,
    ) -> None:
        folder = Path(root)
        names = _class_names(folder, classes)
        present = {name for name in names if (folder / name).is_dir()}
        paths, label_of, bad = _list_files(folder, names)
        images, kept, bad = read_files(
            folder, paths, bad, gray=gray, size=size, skip_bad=skip_bad,
            lazy=lazy, cache=cache, progress=progress,
        )  # fmt: skip
        labels = np.array(label_of, dtype=np.int64)[kept]
        empty = present - {names[label] for label in set(labels.tolist())}
        if empty:
            raise DataError(
                f"ImageFolder: expected images in every class folder of {str(folder)!r}, but "
                f"there is none in {', '.join(sorted(empty))}; add images or remove the folder",
                files=[(str(folder / name), "no readable image") for name in sorted(empty)] + bad,
            )
        super().__init__(images, labels, names, folder.name)
        self.paths = tuple(paths[i] for i in kept)
        self.skipped: Bad = bad


class FolderParts(NamedTuple):
    """The parts of a folder, with the same labels; None for a part that it does not have.

    notes: sentences about folders that were not read, and about images that are in two parts.
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
    shapes = {part: data.shape[1:] for part, data in read.items()}
    if len(set(shapes.values())) > 1:
        found = " and ".join(f"{shape} in {part}" for part, shape in shapes.items())
        raise DataError(
            "folder_parts: expected images of one size: give size=(height, width), or --size; "
            f"got {found}"
        )
    notes = shared(read)
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
        train, test = ImageFolder(root, classes=classes, **options).split(held_out, seed)
        for note in shared({"train": train, "test": test}):
            warnings.warn(f"folder_splits: {note}", stacklevel=2)
        return train, test
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


def shared(parts: Mapping[str, Dataset]) -> list[str]:
    """A sentence for each two parts that hold the same image files, even under other names.

    parts: by their names; they are told apart by `paths`.
    """
    sizes = {part: {p: os.path.getsize(p) for p in data.paths} for part, data in parts.items()}
    notes = []
    for k, first in enumerate(parts):
        for second in list(parts)[k + 1 :]:
            alike = set(sizes[first].values()) & set(sizes[second].values())
            of = {_digest(path): path for path, size in sizes[first].items() if size in alike}
            there = {path: _digest(path) for path, size in sizes[second].items() if size in alike}
            same = sorted((of[digest], path) for path, digest in there.items() if digest in of)
            if same:
                listed = ", ".join(f"{a} = {b}" for a, b in same[:3])
                notes.append(
                    f"{len(same)} of the {second} images are also {first} images, so that the "
                    f"{second} accuracy says too much: {listed}{', ...' if same[3:] else ''}"
                )
    return notes


def _digest(path: str) -> bytes:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "blake2b").digest()[:16]


def _class_names(folder: Path, classes: Sequence[str] | None) -> tuple[str, ...]:
    found = subfolders(folder)
    expected = f"ImageFolder: expected a folder for each class in {str(folder)!r}, "
    if not found:
        cure = "put images in CLASS/ folders"
        if any(folder.glob("*-ubyte*")):
            cure = f"its files are those of MNIST, which --data mnist --root {folder} reads"
        raise DataError(f"{expected}but there is no folder in it; {cure}")
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


def _list_files(folder: Path, names: Sequence[str]) -> tuple[list[str], list[int], Bad]:
    """(the path of every file, its label, the folders that cannot be listed), in order."""
    paths: list[str] = []
    labels: list[int] = []
    bad: Bad = []
    root = os.path.realpath(folder)
    for label, name in enumerate(names):
        top = folder / name
        if not top.is_dir():  # one of the given classes, with no images here
            continue
        if top.is_symlink() and Path(root).is_relative_to(os.path.realpath(top)):
            bad.append((str(top), "a symbolic link back to a folder that holds it"))
            continue
        paths += map(str, walk(top, bad))
        labels += [label] * (len(paths) - len(labels))
    return paths, labels, bad
