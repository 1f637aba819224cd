"""The parts of a folder of images: training, validation and test, or no parts at all.

A class folder holds images. A part holds class folders and no image of its own. So the contents of
a folder say whether it is a part, and its name only says which part.
"""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import DataError

PARTS = ("train", "validation", "test")
_SPELLINGS = {
    "train": {"train", "training", "trn"},
    "validation": {"val", "valid", "validation", "validating", "validate", "dev", "development"},
    "test": {"test", "testing", "tests", "tst"},
}
_NO_CLASSES = {
    *("__macosx", "lost+found", "thumbnails", "__pycache__", "@eadir", "$recycle.bin"),
    "system volume information",
}
_NO_FILES = {"thumbs.db", "desktop.ini"}
_IMAGES = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".webp", ".tif", ".tiff")
Bad = list[tuple[str, str]]


def part_name(folder: str) -> str | None:
    """The part that a folder's name means, in any usual spelling: "seg_train", "TestSet", "dev"."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", folder).lower()
    words = {re.sub(r"(set|data|images|split|part)$", "", w) for w in re.findall("[a-z]+", apart)}
    found = [part for part, spellings in _SPELLINGS.items() if words & spellings]
    return found[0] if len(found) == 1 else None


def hidden(name: str) -> bool:
    """Whether a file or folder belongs to the operating system: hidden, a thumbnail, an index."""
    return name.startswith(".") or name.lower() in _NO_CLASSES | _NO_FILES


def subfolders(folder: Path) -> list[str]:
    """The sorted names of the folders in a folder, without hidden ones. Raises: DataError."""
    try:
        with os.scandir(folder) as entries:
            return sorted(e.name for e in entries if not hidden(e.name) and is_folder(e))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(
            f"ImageFolder: expected a folder of class folders at {str(folder)!r}, but it cannot "
            f"be read: {reason}; check the path",
            files=[(str(folder), reason)],
        ) from None


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether a directory entry is a folder, or a link to one; a link to itself is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def walk(top: Path, bad: Bad) -> Iterator[Path]:
    """Every visible file below a folder, in order, without recursion: folders may lie deep.

    Folders that cannot be listed are added to `bad`, and so are links to folders, which are not
    followed.
    """
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(folder) as found:
                entries = sorted((e for e in found if not hidden(e.name)), key=lambda e: e.name)
        except OSError as error:
            bad.append((str(folder), f"the folder cannot be read: {error.strerror}"))
            continue
        folders = [entry for entry in entries if is_folder(entry)]
        links = [entry for entry in folders if entry.is_symlink()]
        bad += [(e.path, "a symbolic link to a folder; it is not followed") for e in links]
        waiting += [Path(e.path) for e in reversed(folders) if e not in links]
        yield from (Path(entry.path) for entry in entries if entry not in folders)


def image_folders(folder: Path) -> list[str]:
    """The subfolders that hold images, if the folder has none of its own; else an empty list.

    Raises: DataError if the folder cannot be read.
    """
    inside = subfolders(folder)
    if any(map(_is_image, os.listdir(folder))):
        return []
    return [name for name in inside if any(map(_is_image, walk(folder / name, [])))]


def _is_image(path: str | Path) -> bool:
    name = os.path.basename(path)
    return name.lower().endswith(_IMAGES) and not hidden(name)


def find_parts(root: Path) -> dict[str, Path]:
    """The folder of each part that there is; empty where root holds class folders itself.

    Where a part holds nothing but one folder, and that holds the class folders, it is that folder.
    Raises: DataError if two folders are the same part.
    """
    parts: dict[str, Path] = {}
    for name in subfolders(root):
        part = part_name(name)
        if part is None or not image_folders(root / name):
            continue
        if part in parts:
            raise DataError(
                f"ImageFolder: expected one {part} part in {str(root)!r}, but both "
                f"{parts[part].name!r} and {name!r} look like it; rename one"
            )
        parts[part] = root / name
    return {part: _innermost(parts[part]) for part in PARTS if part in parts}


def _innermost(folder: Path) -> Path:
    while len(inside := subfolders(folder)) == 1 and image_folders(folder / inside[0]):
        folder = folder / inside[0]
    return folder


def strangers(root: Path, parts: dict[str, Path]) -> list[str]:
    """The folders beside the parts that hold images but are not read."""
    known = {path.relative_to(root).parts[0] for path in parts.values()}
    others = [name for name in subfolders(root) if name not in known]
    return [name for name in others if any(map(_is_image, walk(root / name, [])))]


def same_classes(root: Path, names: Sequence[str]) -> list[str]:
    """The class folders that all of these folders share, if they hold nothing else."""
    inside = [image_folders(root / name) for name in names]
    alike = len(names) > 1 and all(each == inside[0] for each in inside)
    return inside[0] if alike and len(inside[0]) > 1 else []
