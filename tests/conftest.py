"""Hypothesis profiles, and the tests' own helpers importable as `tests.…`.

HYPOTHESIS_PROFILE=quick|everyday|fresh|thorough: few examples while developing; the same hundred
for every pull request; a hundred new ones each time; thousands of new ones for a release.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

HOST = "looks into the CPU's memory, or brings its own device"
COMMON = {"deadline": None, "suppress_health_check": list(HealthCheck), "print_blob": True}
settings.register_profile("quick", max_examples=10, derandomize=True, database=None, **COMMON)
settings.register_profile("everyday", max_examples=100, derandomize=True, database=None, **COMMON)
settings.register_profile("fresh", max_examples=100, derandomize=False, database=None, **COMMON)
settings.register_profile("thorough", max_examples=5000, derandomize=False, **COMMON)
settings.register_profile(
    "device",
    max_examples=3,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    **COMMON,
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "everyday"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", choices=("cpu", "standin", "cuda"), default="cpu")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", f"host: {HOST}")
    config.addinivalue_line("markers", "mpi: starts several processes by mpiexec (make test-mpi)")
    from tests import device

    device.use(config.getoption("--device"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--device") != "cpu":
        for item in items:
            if item.get_closest_marker("host"):
                item.add_marker(pytest.mark.skip(reason=HOST))


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The stand-in for CuPy, whose kernels the CPU runs; puts arrays there."""
    from minidl.kernels.gpu import cublas, launch
    from tests import standin
    from tests.standin.cublas import Library

    for name in ("cupy", "cupyx", "cupyx.scipy", "cupyx.scipy.special"):
        monkeypatch.setitem(sys.modules, name, None)
    standin.install()
    monkeypatch.setenv("MINIDL_CUDA_KERNELS", "1")
    launch.usable.cache_clear()
    library = Library()
    monkeypatch.setattr(cublas, "library", lambda: library)
    monkeypatch.setattr(cublas, "_handles", {})
    monkeypatch.setattr(launch, "_counters", {})
    counters = launch.counters(1)
    yield standin.module.asarray
    assert not counters._array.any(), "a kernel left a counter that is not 0"
