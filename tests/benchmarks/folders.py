"""Folders of images: the memory they take, and what reading them costs a training.

`python folders.py KIND FOLDER` measures one of KINDS in a process of its own and prints JSON.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

# Name: images, pixels along a side.
FOLDERS = {"small": (10_000, 32), "large": (20_000, 224), "trained": (640, 32)}
TIMED = 2_000  # images of the large folder that are decoded for the clock
BATCH, WORKERS = 64, 2
BATCH_LARGE = 32  # two batches of 64 would take 74 MiB as floats: the one in use and the next


def paint(folder: Path, count: int, side: int) -> None:
    """Write JPEG files in ten classes: smooth noise, as photographs compress."""
    import cv2

    rng = np.random.default_rng(0)
    noise = (rng.integers(0, 256, (side, side, 3), np.uint8) for _ in range(50))
    pictures = [cv2.GaussianBlur(picture, (0, 0), 2) for picture in noise]
    for number in range(count):
        place = folder / str(number % 10)
        place.mkdir(parents=True, exist_ok=True)
        picture = pictures[number % 50].copy()
        picture[:8, :8] = number % 256
        cv2.imwrite(str(place / f"{number:06}.jpg"), picture)


def peak() -> float:
    """The most memory that this process has held, MiB (Linux)."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def memory(folder: Path, lazy: bool, batch: int = BATCH) -> dict[str, float]:
    """MiB above the baseline after the folder was read and an epoch of batches was taken."""
    import minidl as md

    first = next(folder.rglob("*.jpg"))
    md.data.load_image(first)  # loads the decoders
    before = peak()
    data = md.data.ImageFolder(folder, lazy=lazy)
    for _ in md.data.DataLoader(data, batch, shuffle=True):
        pass
    return {"memory": peak() - before, "pixels": np.prod(data.shape) / 2**20}


def train(folder: Path) -> dict[str, list[float]]:
    """Seconds of an epoch of vgg_small, the images in memory and left in their files, in turn."""
    import minidl as md

    seconds: dict[str, list[float]] = {"eager": [], "lazy": []}
    parts = {name: md.data.ImageFolder(folder, lazy=name == "lazy") for name in seconds}
    for round_ in range(13):  # the first is not counted
        for name, found in seconds.items():
            md.manual_seed(0)
            model = md.models.vgg_small()
            trainer = md.Trainer(model, optimizer=md.optim.SGD(model.parameters(), 1e-3), seed=0)
            start = time.perf_counter()
            trainer.fit(parts[name], epochs=1, batch_size=BATCH, progress=False)
            if round_:
                found.append(time.perf_counter() - start)
    return seconds


def epochs(batches: Callable[[], Any]) -> dict[str, list[float]]:
    """Images a second in three epochs, after one that is not counted."""
    rates = []
    for _ in range(4):
        start, count = time.perf_counter(), 0
        for images, _ in batches():
            assert images.shape[1:] == (3, 224, 224)
            count += len(images)
        rates.append(count / (time.perf_counter() - start))
    return {"rates": rates[1:]}


def decode_minidl(folder: Path) -> dict[str, list[float]]:
    """A lazy folder through DataLoader: float32 (N, C, H, W) in [0, 1]."""
    import minidl as md

    data = md.data.ImageFolder(folder, lazy=True)
    loader = md.data.DataLoader(data, BATCH, shuffle=True)
    return epochs(lambda: loader)


def decode_torch(folder: Path) -> dict[str, list[float]]:
    """The same by PyTorch's DataLoader with workers that stay.

    Pillow decodes and the steps are those of torchvision's ImageFolder and ToTensor: its wheel
    needs PyTorch's build for CUDA.
    """
    import torch
    from PIL import Image

    class Folder(torch.utils.data.Dataset[Any]):
        def __init__(self) -> None:
            self.paths = sorted(folder.rglob("*.jpg"))

        def __len__(self) -> int:
            return len(self.paths)

        def __getitem__(self, index: int) -> Any:
            path = self.paths[index]
            with Image.open(path) as file:
                pixels = torch.from_numpy(np.array(file.convert("RGB")))
            return pixels.permute(2, 0, 1).contiguous().div(255), int(path.parent.name)

    loader = torch.utils.data.DataLoader(
        Folder(), BATCH, shuffle=True, num_workers=WORKERS, persistent_workers=True
    )
    return epochs(lambda: loader)


KINDS: dict[str, Callable[[Path], Any]] = {
    "eager": lambda folder: memory(folder, lazy=False),
    "lazy": lambda folder: memory(folder, lazy=True),
    "lazy, large": lambda folder: memory(folder, lazy=True, batch=BATCH_LARGE),
    "train": train,
    "minidl": decode_minidl,
    "torch": decode_torch,
}


def alone(kind: str, folder: Path) -> Any:
    """What a process of its own measures. Raises: RuntimeError with what it said."""
    command = [sys.executable, __file__, kind, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{kind}: {done.stderr}")
    return json.loads(done.stdout)


def measure(rounds: int, scale: float = 1.0) -> dict[str, Any]:
    """All of it. scale: of the folders' sizes, below 1 for a look at whether it runs."""
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        for name, (count, side) in (FOLDERS | {"timed": (TIMED, 224)}).items():
            paint(home / name, max(BATCH, int(count * scale)), side)
        rates: dict[str, list[float]] = {"minidl": [], "torch": []}
        for _ in range(rounds):
            for engine, found in rates.items():
                found.append(float(np.median(alone(engine, home / "timed")["rates"])))
        return {
            "eager": alone("eager", home / "small"),
            "lazy": alone("lazy", home / "small"),
            "lazy, large": alone("lazy, large", home / "large"),
            "train": alone("train", home / "trained"),
            "rates": rates,
        }


if __name__ == "__main__":
    print(json.dumps(KINDS[sys.argv[1]](Path(sys.argv[2]))))
