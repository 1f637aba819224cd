"""Images that stay in their files, decoded by several threads when they are asked for."""

import math
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from ..errors import DataError
from ..files import PathLike
from ..kernels.cpu.threads import get_threads
from .bar import progress_bar
from .images import Size, load_pixels
from .parts import Bad
from .pictures import Facts, Pictures, facts_of, with_16_bits

_AT_ONCE = 64  # files decoded in one go
_LISTED = 20  # bad files that a message names
_LONG = 3e-4  # seconds; a JPEG of 32×32 pixels takes 0.06 ms, one of 224×224 about 1 ms


class Files(Pictures):
    """Images that stay in their files. shape: (C, H, W) of each image. gray, size: as in
    `load_image`. slow: whether several threads read them faster than one (see `takes_long`).
    """

    def __init__(
        self,
        paths: Sequence[str],
        shape: tuple[int, ...],
        gray: bool,
        size: Size | None,
        slow: bool = True,
    ) -> None:
        self.paths, self.gray, self.size, self.slow = tuple(paths), gray, size, slow
        self.shape = (len(self.paths), *shape)
        self._facts: Facts | None = None

    def pixels(self, index: np.ndarray) -> np.ndarray:
        return _joined([self._checked(*found) for found in self.read(index)])

    def read(self, index: Sequence[int] | np.ndarray) -> list[tuple[str, Any]]:
        """(path, pixels or the DataError of a file that cannot be used), for each place."""
        paths = [self.paths[i] for i in index]
        share = math.ceil(len(paths) / (get_threads() if self.slow else 1))
        if share == len(paths):
            return self._decode(paths)
        parts = [paths[i : i + share] for i in range(0, len(paths), share)]
        with ThreadPoolExecutor(len(parts), "minidl-images") as pool:
            return [found for part in pool.map(self._decode, parts) for found in part]

    def takes_long(self, place: int) -> bool:
        """Whether most of the time for the file at this place goes to the decoder.

        The decoders let go of Python's lock, so several threads decode at once. For a small image
        most of the time goes to Python itself, which only one thread at a time may run. There more
        threads only wait for each other, and for the training beside them.
        """
        begun = time.perf_counter()
        self.read([place])
        return time.perf_counter() - begun > _LONG

    def _decode(self, paths: Sequence[str]) -> list[tuple[str, Any]]:
        found: list[tuple[str, Any]] = []
        for path in paths:
            try:
                found.append((path, load_pixels(path, gray=self.gray, size=self.size)))
            except DataError as error:
                if not error.files:
                    raise
                found.append((path, error))
        return found

    def _checked(self, path: str, found: Any) -> np.ndarray:
        if isinstance(found, DataError):
            raise found
        if found.shape != self.shape[1:]:
            raise DataError(
                f"ImageFolder: expected images of {self.shape[2]}x{self.shape[3]} pixels, as the "
                f"first one has, but {path!r} has {found.shape[1]}x{found.shape[2]}; give "
                "size=(height, width), or --size, to bring all images to one size",
                files=[(path, f"{found.shape[1]}x{found.shape[2]} pixels")],
            )
        return found

    def good(
        self, progress: bool, title: str, odd: Bad, bad: Bad
    ) -> Iterator[tuple[int, np.ndarray]]:
        """(index, pixels) of each good file.

        odd: gets the files of another size. bad: gets those that cannot be read.
        """
        first = ""
        with progress_bar(title, len(self), show=progress) as advance:
            for start in range(0, len(self), _AT_ONCE):
                places = range(start, min(start + _AT_ONCE, len(self)))
                for place, (path, found) in zip(places, self.read(places), strict=True):
                    if isinstance(found, DataError):
                        bad += found.files
                    elif found.shape != self.shape[1:]:
                        ours, theirs = (
                            "x".join(map(str, s[-2:])) for s in (found.shape, self.shape)
                        )
                        odd.append((path, f"{ours} pixels, but {first} has {theirs}"))
                    else:
                        first = first or path
                        yield place, found
                advance(len(places))

    def facts(self, progress: bool = False) -> Facts:
        """As in Pictures; all files are read once for it. Raises: DataError naming all bad ones."""
        if self._facts is None:
            odd: Bad = []
            bad: Bad = []
            found = [facts_of(p[None]) for _, p in self.good(progress, "look at images", odd, bad)]
            if odd or bad:
                raise bad_files(os.path.commonpath(self.paths), odd, bad, len(self))
            self._facts = Facts(*(np.concatenate(parts) for parts in zip(*found, strict=True)))
        return self._facts


def bad_files(folder: PathLike, odd: Bad, unread: Bad, total: int) -> DataError:
    """The error for files that cannot be used: odd have another size, unread no pixels."""
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
        f"ImageFolder: expected readable images of one size in {os.fspath(folder)!r}, but "
        f"{len(bad):,} of {total:,} files cannot be used: {'; '.join(advice)}\n" + "\n".join(lines),
        files=bad,
    )


def _joined(images: Sequence[np.ndarray]) -> np.ndarray:
    """One array of pixels: of 16 bits as soon as one image has them."""
    if len({image.dtype for image in images}) > 1:
        images = [with_16_bits(image) for image in images]
    return np.stack(images)
