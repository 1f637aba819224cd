"""The GPU's benchmark: its own side runs on the stand-in, and without a GPU it writes nothing."""

import functools
import sys

import pytest

import minidl as md
from minidl.errors import DeviceError
from minidl.kernels.gpu import cublas
from tests import standin
from tests.benchmarks import gpu as benchmark
from tests.standin.kernels import COMPILER, Kernel

pytestmark = pytest.mark.host


def test_without_a_gpu_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(DeviceError, match="needs CuPy"):
        benchmark.main(tmp_path / "page.md")
    assert not list(tmp_path.iterdir())


def test_the_work_of_the_articles_cnn():
    flops, moved = benchmark.work("article's CNN, batch 64")
    conv, dense = 32 * 9 * 784, 6272 * 10
    assert flops == 64 * 6 * (conv + dense)
    assert moved == 64 * 4 * 4 * (2 * 32 * 784 + 2 * 6272 + 10)


MOST = {
    "article's CNN, batch 64": 9,
    "vgg_small, batch 128": 53,
    "resnet_small, batch 128": 110,
}


@pytest.mark.parametrize("workload", MOST)
@pytest.mark.skipif(COMPILER is None, reason="no g++ to compile the kernels with")
def test_the_launches_of_a_whole_step(gpu, monkeypatch, workload):
    from tests.benchmarks import gpu_expected as expected  # it installs the stand-in

    monkeypatch.setattr(Kernel, "__call__", expected._count)
    library = expected._Library()
    monkeypatch.setattr(cublas, "library", lambda: library)
    names, moved = expected.recorded(workload)
    assert moved > 1e6
    assert len(names) <= MOST[workload], " ".join(names)


@pytest.mark.parametrize("engine", benchmark.ENGINES["minidl"])
@pytest.mark.skipif(COMPILER is None, reason="no g++ to compile the kernels with")
def test_a_step_runs(gpu, monkeypatch, engine):
    small = functools.partial(md.models.article_cnn, size=8), (1, 8, 8), 4, None, None
    monkeypatch.setitem(benchmark.WORKLOADS, "small", small)
    standin.counter.clear()
    found = benchmark.with_minidl("small", engine, tf32=False, steps=4, warm=4)
    assert found["seconds"] > 0
    assert ("graph" in standin.counter.launched) == (engine != "minidl")
