"""A folder of class folders as a dataset."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from .dataset import Dataset
from .images import Size, load_image
from .progress import progress_bar

_IGNORED = {"thumbs.db", "desktop.ini", "__macosx"}
_SPLITS = {"train", "test", "val", "valid", "validation"}
_LISTED = 20
Bad = list[tuple[str, str]]


class ImageFolder(Dataset):
    """The images of root/CLASS/..., read at once; the sorted folder names are the classes.

    `.paths` names the file of each image; `.skipped` lists (path, reason) of the files left out.
    Files lie anywhere below their class folder; hidden ones and Thumbs.db do not count, and
    symbolic links to folders inside a class are not followed. `gray` and `size` are those of
    load_image. `classes` fixes the labels: folder `classes[k]` gets label k, one without a
    folder has no images, and a folder without a class is an error.
    Shapes: images (N, C, H, W) float32 in [0, 1]; labels (N,).
    Raises: DataError if the folder is missing or has fewer than two classes, if a class has no
    image, if sizes differ and no `size` is given, or, unless `skip_bad`, if a file cannot be
    read. One error names all the files (`error.files`).
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
        self.paths: tuple[str, ...] = tuple(str(files[i][0]) for i in kept)
        self.skipped: Bad = bad


def folder_splits(
    root: str | os.PathLike[str],
    *,
    held_out: float | None = None,
    seed: int = 0,
    classes: Sequence[str] | None = None,
    **options: Any,
) -> tuple[Dataset, Dataset]:
    """(train, test) from root/train/CLASS/... and root/test/CLASS/..., labelled alike.

    Where root holds class folders and no such parts, `held_out` (a fraction) is split off with
    `seed`. The other options are ImageFolder's.
    Raises: DataError as ImageFolder does, if a part is missing, or if the test part has a class
    that the training part lacks.
    """
    folder = Path(root)
    parts = [name for name in ("train", "test") if (folder / name).is_dir()]
    if not parts and held_out is not None:
        return ImageFolder(folder, classes=classes, **options).split(held_out, seed)
    if len(parts) < 2:
        raise DataError(
            f"folder_splits: expected the folders train and test in {str(folder)!r}, found "
            f"{parts[0] if parts else 'neither'}; make both, or hold out a part of one folder: "
            "ImageFolder(root).split(0.2)"
        )
    names = _class_names(folder / "train", classes)
    unseen = sorted(set(_subfolders(folder / "test")) - set(names))
    if unseen:
        raise DataError(
            "folder_splits: expected the test part's classes among those of the training part, "
            f"but these labels are missing from the training part: {', '.join(unseen)}; "
            f"add them to {str(folder / 'train')!r} or remove them from the test part",
            files=[(str(folder / "test" / name), "not a training class") for name in unseen],
        )
    train, test = (
        ImageFolder(folder / part, classes=names, **options) for part in ("train", "test")
    )
    if train.images.shape[1:] != test.images.shape[1:]:
        raise DataError(
            f"folder_splits: expected images of one size, got {train.images.shape[1:]} in train "
            f"and {test.images.shape[1:]} in test; give size=(height, width), or --size"
        )
    return train, test


def _hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in _IGNORED


def _subfolders(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir() if path.is_dir())
    except OSError as error:
        raise DataError(
            f"ImageFolder: expected a folder of class folders at {str(folder)!r}, but it cannot "
            f"be read: {error.strerror}; check the path",
            files=[(str(folder), str(error.strerror))],
        ) from None


def _class_names(folder: Path, classes: Sequence[str] | None) -> tuple[str, ...]:
    found = [name for name in _subfolders(folder) if not _hidden(name)]
    expected = f"ImageFolder: expected a folder for each class in {str(folder)!r}, "
    if not found:
        raise DataError(f"{expected}but there is no folder in it; put images in CLASS/ folders")
    if classes is not None:
        strangers = sorted(set(found) - set(classes))
        if strangers or len(set(classes)) != len(classes):
            raise DataError(
                f"{expected}named as in classes={list(classes)!r}, each once, but found "
                f"{', '.join(strangers) or 'a name twice'}"
            )
        return tuple(classes)
    if _SPLITS.issuperset(name.lower() for name in found):
        raise DataError(
            f"{expected}but {', '.join(found)} look like the parts of a dataset; "
            "use folder_splits(root), or name one part"
        )
    if len(found) == 1:
        raise DataError(f"{expected}at least two, but found only {found[0]!r}")
    return tuple(found)


def _list_files(folder: Path, names: Sequence[str]) -> tuple[list[tuple[Path, int]], Bad]:
    """(path, label) of every file, in order, and what cannot even be listed."""
    files: list[tuple[Path, int]] = []
    bad: Bad = []

    def unlisted(error: OSError) -> None:
        bad.append((str(error.filename), f"the folder cannot be read: {error.strerror}"))

    root = folder.resolve()
    for label, name in enumerate(names):
        top = folder / name
        if not top.is_dir():  # one of the given classes, with no images here
            continue
        if top.is_symlink() and root.is_relative_to(top.resolve()):
            bad.append((str(top), "a symbolic link back to a folder that holds it"))
            continue
        for place, subfolders, filenames in os.walk(top, onerror=unlisted):
            subfolders[:] = sorted(name for name in subfolders if not _hidden(name))
            for path in (Path(place, name) for name in subfolders):
                if path.is_symlink():
                    bad.append((str(path), "a symbolic link to a folder; it is not followed"))
            shown = sorted(name for name in filenames if not _hidden(name))
            files += [(Path(place, name), label) for name in shown]
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
    try:
        return np.empty((count, *shape), np.float32)
    except (MemoryError, ValueError):
        raise DataError(
            f"ImageFolder: expected {count:,} images of shape {shape} to fit into memory; "
            "give a smaller size (--size), or gray=True (--gray)"
        ) from None


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
        f"{len(bad):,} of {total:,} files cannot be used:\n"
        + "\n".join(lines)
        + "\n"
        + "; ".join(advice),
        files=bad,
    )
