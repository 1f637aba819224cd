"""The CUDA kernels: compiled for every GPU by NVRTC, and their arithmetic proven on the CPU."""

import ctypes
import importlib.util
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given

from minidl import kernels
from minidl.kernels import cuda, reference
from minidl.kernels.cuda_source import SOURCE
from tests import standin
from tests.standin.kernels import COMPILER

from .cases import cases, close

needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no g++ to compile the kernels with")


@pytest.fixture
def gpu(monkeypatch):
    """The stand-in for CuPy, with kernels that run on the CPU in blocks of eight threads."""
    for name in ("cupy", "cupyx", "cupyx.scipy", "cupyx.scipy.special"):
        monkeypatch.setitem(sys.modules, name, None)
    standin.install()
    monkeypatch.setenv("MINIDL_CUDA_KERNELS", "1")
    monkeypatch.setattr(cuda, "THREADS", 8)
    monkeypatch.setattr(cuda, "_module", _compiled)
    return standin.module.asarray


_modules: dict[str, standin.RawModule] = {}


def _compiled(dtype: str) -> standin.RawModule:
    if dtype not in _modules:
        _modules[dtype] = standin.RawModule(code=SOURCE, options=(f"-DT={dtype}",))
    return _modules[dtype]


def ran(name: str) -> bool:
    return name in standin.counter.launched


@needs_compiler
@given(cases(max_groups=2))
@pytest.mark.parametrize("few", [0, 1000])
def test_convolution(gpu, few, case):
    window, x, w, b, g, groups, _ = case
    cuda.FEW, standin.counter.launched[:] = few, []
    bias = None if b is None else gpu(b)
    y = kernels.conv_forward(gpu(x), gpu(w), bias, window, groups)
    close(y.get(), reference.conv_forward(x, w, b, window, groups))
    dx = kernels.conv_input_grad(gpu(g), gpu(w), window, groups)
    close(dx.get(), reference.conv_input_grad(g, w, window, groups))
    dw = kernels.conv_weight_grad(gpu(x), gpu(g), window, groups)
    close(dw.get(), reference.conv_weight_grad(x, g, window, groups))
    direct = few and groups == 1
    assert ran("col2im") and ran("conv" if direct else "im2col")
    assert ran("conv_weight") == bool(direct)
