"""A folder in memory, in its files, in a cache: the same images, the same training, less memory."""

import os
import subprocess
import sys
import threading
import time

import cv2
import numpy as np
import pytest

import minidl as md
from minidl.data import (
    DataLoader,
    ImageFolder,
    compose,
    image_files,
    normalize,
    random_crop,
    random_flip,
    reading,
)
from minidl.data.image_files import Files
from minidl.data.pictures import Pixels, look_ahead, mean_and_deviation
from minidl.errors import CheckpointError, ConfigError, DataError

WAYS = ("eager", "lazy", "cached")


@pytest.fixture(autouse=True, params=["by one thread", "ahead, by several"])
def speed(request, monkeypatch):
    """Every test with files that are read at once, and with files that are slow to read."""
    monkeypatch.setattr(image_files, "_LONG", np.inf if request.param == "by one thread" else 0)


@pytest.fixture
def root(tmp_path):
    """Two classes of 20 images each, of 6x5 pixels; one is grey, one has 16 bits in `deep`."""
    random = np.random.default_rng(0)
    for k in range(40):
        path = tmp_path / "pets" / ("cat" if k % 2 else "dog") / f"{k:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), random.integers(0, 256, (6, 5) if k == 3 else (6, 5, 3), np.uint8))
    return tmp_path / "pets"


@pytest.fixture
def read(tmp_path):
    def open_in(way, root, **options):
        given = {"eager": {"lazy": False}, "lazy": {"lazy": True}, "cached": {"cache": True}}[way]
        if way == "cached":
            given = {"cache": tmp_path / "cache"}
        return ImageFolder(root, **given, **options)

    return open_in


@pytest.mark.parametrize("way", WAYS)
def test_the_same_images_in_every_way(root, read, way):
    data = read(way, root)
    right = np.stack([md.data.load_image(path) for path in data.paths])
    assert data.images.dtype == data.source.dtype == np.float32 and data.shape == (40, 3, 6, 5)
    assert data.images.tobytes() == right.tobytes()
    assert data[3][0].tobytes() == right[3].tobytes() and data[-1][1] == data.labels[-1]
    for index in (slice(2, 9, 3), [7, 0, 7], data.labels == 1, np.array([-1, 2])):
        part = data[index]
        assert part.images.tobytes() == right[index].tobytes()
        assert part.rows([1, 0]).tobytes() == right[index][[1, 0]].tobytes()
        assert part.paths == tuple(np.array(data.paths)[index])
    rest, held_out = data.split(0.25, seed=4)
    again = ImageFolder(root).split(0.25, seed=4)
    assert rest.images.tobytes() == again[0].images.tobytes()
    assert held_out.images.tobytes() == again[1].images.tobytes()
    with pytest.raises(DataError, match="no such index"):
        data[99]


@pytest.mark.parametrize("way", WAYS)
def test_a_choice_of_no_images_is_told(root, read, way):
    for index in ([], slice(5, 5), np.zeros(40, bool)):
        with pytest.raises(DataError, match=r"at least one image, got shape \(0, 3, 6, 5\)"):
            read(way, root)[index]


@pytest.mark.parametrize("way", WAYS)
def test_transforms_are_applied_batch_by_batch(root, read, way):
    data, scaled = read(way, root), normalize([0.5, 0.4, 0.3], [0.2, 0.3, 0.1])
    twice = data.map(scaled)[10:30].map(md.data.resize(3))
    right = md.data.resize(3)(scaled(data.images))[10:30]
    assert twice.shape == (20, 3, 3, 3) and twice.images.tobytes() == right.tobytes()
    assert not isinstance(twice.source, np.ndarray)


def test_a_function_of_all_images_gets_all_images(root, read):
    data = read("lazy", root)
    centred = data.map(lambda images: images - images.mean())
    assert abs(centred.images.mean()) < 1e-6 and isinstance(centred.source, np.ndarray)
    with_foreign = data.map(compose(normalize(0.5, 0.5), lambda images: images - images.mean()))
    assert isinstance(with_foreign.source, np.ndarray)


def test_mean_and_deviation_are_exact(root, read):
    found = [mean_and_deviation(read(way, root)[5:].source) for way in WAYS]
    assert found[0] == found[1] == found[2]
    pixels = ImageFolder(root).images[5:].astype(np.float64)
    np.testing.assert_allclose(found[0][0], pixels.mean(axis=(0, 2, 3)), rtol=1e-7)
    np.testing.assert_allclose(found[0][1], pixels.std(axis=(0, 2, 3)), rtol=1e-7)
    fitted = md.data.standardize(read("lazy", root)[5:])
    assert fitted.mean.tolist() == found[0][0]
    assert repr(fitted) == repr(md.data.standardize(ImageFolder(root)[5:]))


@pytest.mark.parametrize("way", ["eager", "lazy"])
def test_8_and_16_bits_in_one_folder(root, read, way):
    deep = np.random.default_rng(1).integers(0, 2**16, (6, 5, 3), np.uint16)
    cv2.imwrite(str(root / "dog/deep.png"), deep)
    data = read(way, root)
    right = np.stack([md.data.load_image(path) for path in data.paths])
    assert data.images.tobytes() == right.tobytes()
    found = mean_and_deviation(data.source)
    np.testing.assert_allclose(found[0], right.mean(axis=(0, 2, 3), dtype=float), rtol=1e-6)
    assert found == mean_and_deviation(ImageFolder(root).source)


def weights(data, **options):
    md.manual_seed(1)
    model = md.models.mlp(90, classes=2)
    trainer = md.Trainer(model, optimizer=md.optim.Adam(model.parameters(), 0.01), seed=3)
    transform = compose(random_crop((6, 5), padding=1), random_flip())
    trainer.fit(data, epochs=2, batch_size=8, progress=False, transform=transform, **options)
    return b"".join(p.numpy().tobytes() for p in model.parameters())


def test_training_is_the_same_in_every_way_and_when_resumed_in_another(root, read, tmp_path):
    found = {weights(read(way, root).map(normalize(0.5, 0.2))) for way in WAYS}
    assert len(found) == 1

    class Stop:
        def after_update(self, trainer, step):
            if step == 6:  # in the middle of the second epoch
                raise KeyboardInterrupt

    def run(way, monitors=(), **options):
        md.manual_seed(1)
        model = md.models.mlp(90, classes=2)
        optimizer = md.optim.Adam(model.parameters(), 0.01)
        trainer = md.Trainer(model, optimizer=optimizer, seed=3, monitors=monitors)
        transform = compose(random_crop((6, 5), padding=1), random_flip())
        data = read(way, root).map(normalize(0.5, 0.2))
        trainer.fit(data, epochs=2, batch_size=8, progress=False, transform=transform,
                    out=tmp_path / "run", **options)  # fmt: skip
        return b"".join(p.numpy().tobytes() for p in model.parameters())

    with pytest.raises(KeyboardInterrupt):
        run("eager", [Stop()])
    assert run("lazy", resume=True) in found


def test_a_cache_is_made_once_and_again_when_a_file_changes(root, tmp_path, monkeypatch):
    first = ImageFolder(root, cache=tmp_path / "c")
    made = sorted(os.listdir(tmp_path / "c"))
    assert len(made) == 2 and not [name for name in made if ".part" in name]
    real = image_files.load_pixels
    counted = []

    def counting(path, **options):
        counted.append(path)
        return real(path, **options)

    monkeypatch.setattr(image_files, "load_pixels", counting)
    again = ImageFolder(root, cache=tmp_path / "c")
    assert len(set(counted)) == 1 and again.images.tobytes() == first.images.tobytes()
    cv2.imwrite(str(root / "cat/01.png"), np.zeros((6, 5, 3), np.uint8))
    os.utime(root / "cat/01.png", ns=(1, 1))
    changed = ImageFolder(root, cache=tmp_path / "c")
    assert changed.images[0].max() == 0 and len(os.listdir(tmp_path / "c")) == 4


def test_a_damaged_cache_is_refused_in_words(root, tmp_path):
    ImageFolder(root, cache=tmp_path / "c")
    [pixels] = (tmp_path / "c").glob("*.npy")
    pixels.write_bytes(pixels.read_bytes()[:100])
    with pytest.raises(DataError, match=r"is damaged .*; remove it and"):
        ImageFolder(root, cache=tmp_path / "c")
    pixels.write_bytes(b"")
    with pytest.raises(DataError, match="is damaged"):
        ImageFolder(root, cache=tmp_path / "c")
    with pytest.raises(DataError, match="cannot keep the pixels"):
        ImageFolder(root, cache=root / "cat/01.png")
    with pytest.raises(DataError, match=r"cannot keep the pixels .*null"):
        ImageFolder(root, cache="a\0b")
    with pytest.raises(ConfigError, match="got both"):
        ImageFolder(root, cache=True, lazy=True)


@pytest.mark.parametrize(
    "facts",
    [
        "", "[]", "[" * 99_999, '{"kept": 5, "bad": []}', '{"kept": [], "bad": []}',
        '{"kept": [0, 1], "bad": []}', '{"kept": [0, 999], "bad": []}',
        '{"kept": [0.5], "bad": []}', '{"kept": ["a"], "bad": [[1]]}',
    ],
)  # fmt: skip
def test_what_is_said_of_a_cache_is_looked_at(root, tmp_path, facts):
    ImageFolder(root, cache=tmp_path / "c")
    [said] = (tmp_path / "c").glob("*.json")
    said.write_text(facts)
    with pytest.raises(DataError, match=r"is damaged .*; remove it and"):
        ImageFolder(root, cache=tmp_path / "c")


def test_the_images_are_to_blame_where_no_cache_is_damaged(root, tmp_path):
    cv2.imwrite(str(root / "dog/04.png"), np.zeros((6, 5, 3), np.uint16))
    with pytest.raises(ConfigError, match=r"^ImageFolder: expected images of 8 bits for a cache"):
        ImageFolder(root, cache=tmp_path / "c")
    cv2.imwrite(str(root / "dog/04.png"), np.zeros((3, 3, 3), np.uint8))
    with pytest.raises(DataError, match=r"^ImageFolder: expected readable images of one size") as e:
        ImageFolder(root, cache=tmp_path / "c")
    assert e.value.files and not os.listdir(tmp_path / "c")


def test_a_half_written_cache_of_yesterday_is_removed(root, tmp_path):
    (tmp_path / "c").mkdir()
    for name, age in ((".old-0.npy-1.part", 2 * 86400), (".busy-0.npy-2.part", 60)):
        (tmp_path / "c" / name).write_bytes(b"x")
        os.utime(tmp_path / "c" / name, (time.time() - age,) * 2)
    ImageFolder(root, cache=tmp_path / "c")
    left = sorted(os.listdir(tmp_path / "c"))
    assert len(left) == 3 and left[0] == ".busy-0.npy-2.part"


def test_a_cache_that_cannot_be_finished_leaves_nothing(root, tmp_path, monkeypatch):
    def full(path, text):
        raise CheckpointError("No space left on device")

    monkeypatch.setattr(reading, "write_text", full)
    with pytest.raises(CheckpointError, match="No space"):
        ImageFolder(root, cache=tmp_path / "c")
    assert not os.listdir(tmp_path / "c")


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system has no fallocate")
def test_all_room_of_a_cache_is_taken_before_the_first_image(root, tmp_path, monkeypatch):
    """A page of a mapped file that the disk has no room for kills the process when written."""
    real, sparse = image_files.load_pixels, []

    def look(path, **options):
        for part in (tmp_path / "c").glob(".*.part"):
            found = part.stat()
            sparse.append(512 * found.st_blocks < found.st_size)
        return real(path, **options)

    monkeypatch.setattr(image_files, "load_pixels", look)
    ImageFolder(root, cache=tmp_path / "c", size=64)
    assert sparse and not any(sparse)


@pytest.mark.parametrize("way", WAYS)
def test_bad_files_are_left_out_or_named(root, read, way):
    (root / "dog/02.png").write_bytes(b"no image")
    (root / "cat/99.png").write_bytes(b"")
    (root / "cat/zz.png").symlink_to("nowhere")
    kept = read(way, root, skip_bad=True)
    assert len(kept) == 39
    assert {os.path.basename(path) for path, _ in kept.skipped} == {"02.png", "99.png", "zz.png"}
    assert kept.images.tobytes() == ImageFolder(root, skip_bad=True).images.tobytes()
    with pytest.raises(DataError, match=r"02\.png|99\.png|zz\.png") as caught:
        assert read(way, root).images is None
    assert caught.value.files
    cv2.imwrite(str(root / "dog/04.png"), np.zeros((3, 3, 3), np.uint8))
    with pytest.raises(DataError, match=r"size=\(height, width\)"):
        read(way, root, skip_bad=True)


def test_a_lazy_folder_names_all_bad_files_when_it_looks_at_all(root):
    (root / "dog/02.png").write_bytes(b"no image")
    (root / "cat/99.png").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        md.data.standardize(ImageFolder(root, lazy=True))
    assert {os.path.basename(path) for path, _ in caught.value.files} == {"02.png", "99.png"}


def test_a_folder_stays_in_its_files_where_memory_is_short(root, monkeypatch, capsys):
    assert isinstance(ImageFolder(root).source, Pixels)
    monkeypatch.setattr(reading, "free_memory", lambda: 2 * 40 * 90 - 1)
    assert isinstance(ImageFolder(root, progress=True).source, Files)
    said = capsys.readouterr().err
    assert "40 images of 3x6x5: 0.0 MB, more than half of the free memory, so they stay" in said
    assert isinstance(ImageFolder(root, lazy=False).source, Pixels)
    monkeypatch.setattr(reading, "free_memory", lambda: 2 * 40 * 90)
    assert isinstance(ImageFolder(root).source, Pixels)


def test_free_memory_is_the_containers_where_it_has_less(monkeypatch, tmp_path):
    monkeypatch.setattr(reading, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(reading, "_CGROUP", tmp_path)
    assert reading.free_memory() is None
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable: 4 kB\n")
    assert reading.free_memory() == 4096
    (tmp_path / "memory.max").write_text("max\n")
    assert reading.free_memory() == 4096
    (tmp_path / "memory.max").write_text("3000\n")
    (tmp_path / "memory.current").write_text("1000\n")
    assert reading.free_memory() == 2000


def test_the_next_batches_are_fetched_meanwhile_in_order_and_no_more():
    fetched, waiting = [], threading.Semaphore(0)

    def fetch(batch):
        fetched.append(batch)
        waiting.release()
        return batch * 10

    batches = look_ahead(fetch, range(6), 2)
    assert next(batches) == 0
    for _ in range(3):
        assert waiting.acquire(timeout=10)
    time.sleep(0.05)
    assert fetched == [0, 1, 2]
    assert list(batches) == [10, 20, 30, 40, 50] and fetched == [*range(6)]
    before = threading.active_count()
    stopped = look_ahead(fetch, range(6), 2)
    next(stopped)
    stopped.close()
    assert threading.active_count() == before


def test_an_unreadable_file_ends_the_loop_with_its_name(root):
    data = ImageFolder(root, lazy=True)
    os.remove(data.paths[17])
    loader = DataLoader(data, 8)
    batches = iter(loader)
    assert [len(next(batches)[1]) for _ in range(2)] == [8, 8]
    with pytest.raises(DataError, match=os.path.basename(data.paths[17])):
        next(batches)


MEMORY = """
import sys
import numpy as np, cv2, simplejpeg, minidl as md
from minidl.data.reading import free_memory
root, lazy = sys.argv[1], sys.argv[2] == "lazy"
def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024
md.data.load_image(md.data.ImageFolder(root, lazy=True).paths[0])
before = peak()
data = md.data.ImageFolder(root, lazy=lazy)
if lazy:
    for images, labels in md.data.DataLoader(data, 16, shuffle=True):
        pass
print(peak() - before, np.prod(data.shape))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells the peak of memory")
@pytest.mark.parametrize("way", ["eager", "lazy"])
def test_what_a_folder_takes(tmp_path, way):
    """Eager: 1.3 times the pixels' bytes. Lazy: a few batches, however large the folder is."""
    random = np.random.default_rng(0)
    side, count = (32, 3000) if way == "eager" else (160, 1500)
    for k in range(count):
        path = tmp_path / str(k % 2) / f"{k}.jpg"
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), random.integers(0, 256, (side, side, 3), np.uint8))
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tmp_path), way],
        capture_output=True,
        text=True,
        check=True,
    )  # fmt: skip
    taken, pixels = map(int, done.stdout.split())
    print(way, taken, pixels, taken / pixels)
    assert taken <= (1.3 * pixels + 2**20 if way == "eager" else 64 * 2**20)
