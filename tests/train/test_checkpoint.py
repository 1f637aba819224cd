import os
import pickle

import numpy as np
import pytest

import minidl as md
from minidl import nn
from minidl.errors import CheckpointError
from minidl.train import Checkpoints, load, save
from minidl.train.checkpoint import pack, unpack
from tests.device import fetch


def weights(model):
    return fetch(model.state_dict())


def test_arguments_in_another_order_are_named(tmp_path, small):
    for call in (md.save, md.load):
        with pytest.raises(CheckpointError, match=r"\(path, model\), .* got \w+ and "):
            call(small, tmp_path / "model.safetensors")
    assert not any(tmp_path.iterdir())


def test_save_and_load(tmp_path, small):
    model, other = small.model(), small.model()
    model(np.random.default_rng(0).normal(size=(5, 1, 6, 6)).astype(np.float32))  # BatchNorm moves
    save(tmp_path / "m.safetensors", model)
    assert load(tmp_path / "m.safetensors", other) is other
    for name, value in weights(model).items():
        np.testing.assert_array_equal(weights(other)[name], value)
    assert any("running" in name for name in weights(model))


def test_it_is_an_ordinary_safetensors_file(tmp_path, small):
    from safetensors.numpy import load_file, save_file

    model, other = small.model(), small.model()
    save(tmp_path / "a", model)
    arrays = load_file(tmp_path / "a")
    assert sorted(arrays) == sorted(model.state_dict())
    save_file(arrays, tmp_path / "b")  # without our metadata, as from another program
    load(tmp_path / "b", other)
    np.testing.assert_array_equal(
        next(iter(weights(other).values())), next(iter(weights(model).values()))
    )


def test_every_difference_is_listed(tmp_path):
    save(tmp_path / "m", nn.Sequential(nn.Dense(3, 2), nn.ReLU(), nn.Dense(2, 4)))
    model = nn.Sequential(nn.Dense(3, 5), nn.Dense(5, 4))
    before = weights(model)
    with pytest.raises(CheckpointError) as caught:
        load(tmp_path / "m", model)
    text = str(caught.value)
    for line in (
        "0.weight: expected (5, 3), found (2, 3)",
        "0.bias: expected (5,), found (2,)",
        "1.weight: expected (4, 5), found nothing",
        "2.weight: expected nothing, found (4, 2)",
    ):
        assert line in text
    for name, value in weights(model).items():
        np.testing.assert_array_equal(value, before[name])


def test_damaged_missing_and_pickled_files_are_refused(tmp_path, small):
    path = tmp_path / "m"
    save(path, small.model())
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="SHA-256"):
        load(path, small.model())
    path.write_bytes(pickle.dumps({"0.weight": np.zeros(3)}))
    with pytest.raises(CheckpointError, match="no safetensors file"):
        load(path, small.model())
    with pytest.raises(CheckpointError, match="no such file"):
        load(tmp_path / "none", small.model())


def test_the_newest_three_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path / "c")
    assert checkpoints.newest() is None
    for step in (0, 9, 10, 100, 20):
        checkpoints.write(step, {"x": np.full(2, step)}, {"step": step})
    assert [p.name for p in checkpoints.paths()] == [
        f"step-{step:08d}.safetensors" for step in (100, 20, 10)
    ]
    arrays, state, warnings = checkpoints.newest()
    assert state == {"step": 100} and arrays["x"][0] == 100 and not warnings


def test_a_damaged_checkpoint_gives_way_to_an_earlier_one(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2):
        path = checkpoints.write(step, {"x": np.full(2, step)}, {"step": step})
    path.write_bytes(path.read_bytes()[:-1])
    _, state, warnings = checkpoints.newest()
    assert state == {"step": 1} and "step-00000002" in warnings[0]
    checkpoints.paths()[1].write_bytes(b"")
    with pytest.raises(CheckpointError, match="no checkpoint can be read"):
        checkpoints.newest()


def test_what_a_kill_left_is_cleaned_up(tmp_path):
    left = tmp_path / ".step-00000001.safetensors-abc.part"
    left.write_bytes(b"half")
    Checkpoints(tmp_path).write(2, {"x": np.zeros(1)}, {})
    assert os.listdir(tmp_path) == ["step-00000002.safetensors"]


def test_pack_keeps_a_nested_state():
    state = {0: {"step": 3, "m": np.arange(3.0)}, "lr": 0.1, "list": [None, md.tensor([1.0])]}
    arrays = {}
    packed = pack(state, "optimizer", arrays)
    assert sorted(arrays) == ["optimizer.0.m", "optimizer.list.1"]
    back = unpack(packed, arrays)
    assert back["lr"] == 0.1 and back[0]["step"] == 3 and back["list"][0] is None
    np.testing.assert_array_equal(back[0]["m"], state[0]["m"])
