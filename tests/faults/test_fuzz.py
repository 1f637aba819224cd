"""Any bytes to every reader: what is read is sound, and no error but the project's own is seen.

100,000 inputs with FAULTS=full (make faults); the numbers are printed.
"""

import gzip
import json
import struct

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from minidl import nn
from minidl.data import load_image, read_idx
from minidl.errors import MinidlError
from minidl.runs import Config, Run
from minidl.train import Checkpoints, History, load, save
from minidl.train.arrays_file import write_arrays
from tests.faults.amount import amount
from tests.faults.bytes import IMAGES, damaged


def fuzz(strategy, inputs):
    """Run a check (folder, content) -> whether it was read, on so many inputs, and count."""

    def decorate(check):
        def test(tmp_path, capsys):
            counts = [0, 0]

            @settings(
                max_examples=inputs, deadline=None, database=None, derandomize=inputs < 10_000
            )
            @given(content=strategy)
            def run(content):
                counts[0] += 1
                try:
                    check(tmp_path, content)
                    counts[1] += 1
                except MinidlError as error:
                    assert str(error)

            run()
            every, read = counts
            with capsys.disabled():
                print(f"\n{check.__name__}: {every:,} inputs, {read:,} read, the others refused")
            assert every >= inputs and 0 < read < every

        return test

    return decorate


VALUES = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
IDX = struct.pack(">HBB3I", 0, 8, 3, 2, 3, 4) + VALUES.tobytes()
FIVE = IDX[:3] + b"\1\0\0\0\5abcde"


@fuzz(damaged([IDX, gzip.compress(IDX, mtime=0), IDX[:3] + b"\1\0\0\0\5abcde"]), amount(60, 20_000))
def test_idx_files(folder, content):
    (folder / "x").write_bytes(content)
    array = read_idx(folder / "x")
    plain = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    assert array.tobytes() == plain[4 + 4 * array.ndim :]


@fuzz(damaged(IMAGES.values()), amount(120, 40_000))
def test_images(folder, content):
    (folder / "x").write_bytes(content)
    image = load_image(folder / "x")
    assert image.dtype == np.float32 and image.ndim == 3 and image.shape[0] == 3
    assert image.min() >= 0 and image.max() <= 1


def safetensors(state):
    """A small file of weights, or a checkpoint, as bytes."""
    import tempfile
    from pathlib import Path

    arrays = {"weight": np.ones((2, 3), np.float32), "bias": np.zeros(2, np.float32)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "f"
        write_arrays(path, {f"model.{n}": a for n, a in arrays.items()} if state else arrays, state)
        return path.read_bytes()


FOREIGN = b'{"weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"bias":{"dtype":"F32","shape":[2],"data_offsets":[24,32]}}'  # noqa: E501
WEIGHTS = [safetensors(None), struct.pack("<Q", len(FOREIGN)) + FOREIGN + bytes(32)]


@fuzz(damaged(WEIGHTS), amount(50, 10_000))
def test_weights(folder, content):
    (folder / "x").write_bytes(content)
    model = load(folder / "x", nn.Dense(3, 2))
    assert model.weight.shape == (2, 3) and model.weight.dtype == np.float32


STATE = {"position": [1, 0, 1], "optimizer": {"dict": []}}


@fuzz(damaged([safetensors(STATE)]), amount(50, 10_000))
def test_checkpoints(folder, content):
    (folder / "step-00000001.safetensors").write_bytes(content)
    arrays, state, warnings = Checkpoints(folder).newest()
    assert state == STATE and not warnings and arrays["model.weight"].sum() == 6


CONFIG = {
    "options": Config(model="deep_plain_cnn", depth=2, width=3).to_dict(),
    "data": {
        "classes": ["a", "b"],
        "image_shape": [1, 4, 4],
        "normalize": {"mean": [0.5], "std": [0.25]},
    },
}
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6)
    | st.sampled_from([0, -1, 2**31, 2**63, 10**400, 1e308, "nan", "normal:nan", "normal:1e999"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
)  # fmt: skip


def places(value, path=()):
    """Every place in a nest."""
    yield path
    items = value.items() if isinstance(value, dict) else ()
    items = enumerate(value) if isinstance(value, list) else items
    for key, item in items:
        yield from places(item, (*path, key))


@st.composite
def changed_configs(draw):
    """config.json with up to three places replaced by any JSON."""
    content = json.loads(json.dumps(CONFIG))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from([p for p in places(content) if p]))
        inner = content
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = draw(_JSON)
    return json.dumps(content).encode()


TEXT = json.dumps(CONFIG).encode()


@fuzz(changed_configs() | damaged([TEXT]), amount(60, 15_000))
def test_configurations(folder, content):
    (folder / "config.json").write_bytes(content)
    weights = folder / "model.safetensors"
    if not weights.exists():
        save(weights, Config.from_dict(CONFIG["options"]).build_model((1, 4, 4), 2))
    run = Run.open(folder)
    trainer = run.trainer()
    assert trainer.optimizer.lr > 0
    images = np.ones((1, *run.shape), np.float32)
    images = run.normalize(images) if run.normalize else images
    assert trainer.predict(images).shape == (1, len(run.classes))
    run.config.build_schedule(10), run.config.build_clip(), run.config.build_transform(4)


HISTORY = History(["0"], ["loss"])
HISTORY.add_step([0, 1, 0.1, 2.5, 0.5, 1.0, 1.0])
HISTORY.add_epoch([1, 2.5, 0.5, 2.0, 0.1])


@fuzz(damaged([HISTORY.csv(0, header=True).encode()]), amount(50, 5_000))
def test_histories(folder, content):
    (folder / "x").write_bytes(content)
    assert History.from_csv(folder / "x").steps["loss"].dtype == np.float64
