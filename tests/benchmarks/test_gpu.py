"""The GPU's benchmark: its own side runs on the stand-in, and without a GPU it writes nothing."""

import sys

import pytest

from minidl.errors import DeviceError
from tests import standin
from tests.benchmarks import gpu

pytestmark = pytest.mark.host


def test_without_a_gpu_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(DeviceError, match="needs CuPy"):
        gpu.main(tmp_path / "page.md")
    assert not list(tmp_path.iterdir())


def test_the_work_of_the_articles_cnn():
    flops, moved = gpu.work("article's CNN, batch 64")
    conv, dense = 32 * 9 * 784, 6272 * 10
    assert flops == 64 * 6 * (conv + dense)
    assert moved == 64 * 4 * 4 * (2 * 32 * 784 + 2 * 6272 + 10)


def test_a_step_runs(monkeypatch):
    for name in ("cupy", "cupyx", "cupyx.scipy", "cupyx.scipy.special"):
        monkeypatch.setitem(sys.modules, name, None)
    standin.install()
    monkeypatch.setenv("MINIDL_CUDA_KERNELS", "0")
    found = gpu.with_minidl("article's CNN, batch 64", steps=1, warm=1)
    assert found["seconds"] > 0
