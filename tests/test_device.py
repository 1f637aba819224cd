"""Devices, random numbers and memory on a machine with NumPy alone."""

import math
import sys
import types

import numpy as np
import pytest

import minidl as md
from minidl import device, memory, rng
from minidl.errors import ConfigError, DeviceError


def test_arrays_of_the_host():
    x = np.ones(2)
    assert device.array_module(x) is np
    assert device.array_module(np.float64(1.0)) is np
    assert device.device_of(x) == "cpu"
    assert device.to_device(x, "cpu") is x
    assert device.to_host(x) is x
    assert device.is_host(x)
    assert not device.is_host([1.0])


def test_a_device_that_has_no_name():
    with pytest.raises(DeviceError, match="device: expected 'cpu' or 'cuda', got 'gpu'"):
        device.to_device(np.ones(1), "gpu")


def test_without_cupy_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(
        DeviceError, match=r"needs CuPy, which is not installed: .*minidl\[cuda12\]"
    ):
        md.tensor([1.0], device="cuda")
    with pytest.raises(DeviceError, match="needs CuPy"):
        md.tensor([1.0]).to("cuda")


@pytest.mark.parametrize(("version", "extra"), [(12040, "cuda12"), (13000, "cuda13")])
def test_the_extra_is_that_of_the_driver(monkeypatch, version, extra):
    def library(name):
        def ask(place):
            place._obj.value = version

        return types.SimpleNamespace(cuDriverGetVersion=ask)

    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setattr(device.ctypes, "CDLL", library)
    with pytest.raises(DeviceError, match=rf"run `pip install minidl\[{extra}\]`$"):
        device.cupy()


def test_cupy_without_a_gpu(monkeypatch):
    module = types.ModuleType("cupy")
    module.cuda = types.SimpleNamespace(is_available=lambda: False)
    monkeypatch.setitem(sys.modules, "cupy", module)
    with pytest.raises(DeviceError, match=r"finds no usable GPU: check `nvidia-smi`"):
        device.cupy()
    module.cuda = types.SimpleNamespace(is_available=lambda: True)
    assert device.cupy() is module


def test_erf_is_that_of_the_c_library():
    x = np.linspace(-3, 3, 13).reshape(13, 1)
    y = device.erf(x)
    assert y.shape == x.shape
    assert y.ravel().tolist() == [math.erf(v) for v in x.ravel()]
    assert device.erf(np.float32([0.5])).dtype == np.float32
    assert device.erf(np.array(0.5)).shape == ()


def test_a_seed_restarts_the_generator():
    md.manual_seed(3)
    first = rng.generator().normal(size=3)
    rng.generator().normal(size=5)
    md.manual_seed(3)
    np.testing.assert_array_equal(rng.generator().normal(size=3), first)
    md.manual_seed(np.int64(4))
    assert not np.array_equal(rng.generator().normal(size=3), first)
    np.testing.assert_array_equal(
        np.random.default_rng(4).normal(size=3),
        (md.manual_seed(4), rng.generator().normal(size=3))[1],
    )


@pytest.mark.parametrize("seed", [-1, 1.5, True, "1", None])
def test_what_is_no_seed(seed):
    with pytest.raises(ConfigError, match="manual_seed: expected an integer >= 0, got"):
        md.manual_seed(seed)


def test_memory_is_kept_unless_told_otherwise(monkeypatch):
    monkeypatch.setenv("MINIDL_KEEP_MEMORY", "0")
    assert memory.keep_freed_memory() is False
    monkeypatch.delenv("MINIDL_KEEP_MEMORY")
    calls = []

    def library(name):
        return types.SimpleNamespace(mallopt=lambda *args: calls.append(args) or 1)

    monkeypatch.setattr(device.ctypes, "CDLL", library)
    assert memory.keep_freed_memory() is True
    assert calls == [(-3, 2**30), (-1, 2**31 - 1)]
    monkeypatch.setattr(
        device.ctypes, "CDLL", lambda name: types.SimpleNamespace(mallopt=lambda *a: 0)
    )
    assert memory.keep_freed_memory() is False
    monkeypatch.setattr(device.ctypes, "CDLL", lambda name: types.SimpleNamespace())
    assert memory.keep_freed_memory() is False


def test_freed_memory_is_shared_and_released(monkeypatch):
    calls = []
    names = ("mallopt", "malloc_trim")
    library = {n: lambda *args, n=n: calls.append((n, *args)) or 1 for n in names}
    monkeypatch.setattr(device.ctypes, "CDLL", lambda name: types.SimpleNamespace(**library))
    assert memory.share_freed_memory() is memory.release_freed_memory() is True
    assert calls == [("mallopt", -8, 1), ("malloc_trim", 0)]
    monkeypatch.setattr(device.ctypes, "CDLL", lambda name: types.SimpleNamespace())
    assert memory.share_freed_memory() is memory.release_freed_memory() is False


def test_the_default_float_is_float32():
    assert device.FLOAT.name == "float32"
