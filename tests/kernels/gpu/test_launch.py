"""The CUDA kernels: compiled for every GPU by NVRTC, and their arithmetic proven on the CPU."""

import ctypes
import importlib.util
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import minidl as md
from minidl import kernels
from minidl.kernels import Window, reference
from minidl.kernels.gpu import convolution, few, launch, pool
from tests import standin
from tests.standin.kernels import COMPILER

from ..cases import cases, close

pytestmark = pytest.mark.host
examples = settings(max_examples=20)  # a thread of the system for each of the GPU's costs time
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no g++ to compile the kernels with")


def ran(name: str) -> bool:
    return name in standin.counter.launched


@needs_compiler
@examples
@given(cases(max_groups=2))
@pytest.mark.parametrize("most", [0, 1000])
def test_convolution(gpu, monkeypatch, most, case):
    window, x, w, b, g, groups, _ = case
    monkeypatch.setattr(convolution, "FEW", most)
    monkeypatch.setattr(few, "CHANNELS", 0)
    standin.counter.clear()
    bias = None if b is None else gpu(b)
    y = convolution.conv_forward(gpu(x), gpu(w), bias, window, groups)
    close(y.get(), reference.conv_forward(x, w, b, window, groups))
    dx = convolution.conv_input_grad(gpu(g), gpu(w), window, groups)
    close(dx.get(), reference.conv_input_grad(g, w, window, groups))
    dw = convolution.conv_weight_grad(gpu(x), gpu(g), window, groups)
    close(dw.get(), reference.conv_weight_grad(x, g, window, groups))
    direct = most and groups == 1
    assert ran("col2im") and ran("conv" if direct else "im2col")
    assert ran("conv_weight") == bool(direct)


@needs_compiler
@examples
@given(cases(distinct=False), st.sampled_from([1, 2, (1, 2)]), st.booleans())
def test_convolution_and_pooling_in_one(gpu, monkeypatch, case, size, rectify):
    window, x, w, b, _, _, random = case
    monkeypatch.setattr(few, "CHANNELS", 0)
    try:
        pool = kernels.window("max_pool2d", window.out, size, size)
    except md.errors.ShapeError:
        assume(False)
    assume(pool.padded == pool.image)
    if random.integers(4) == 0:
        x[tuple(random.integers(x.shape))] = random.choice([np.nan, np.inf])
    bias = None if b is None else gpu(b)
    y, index = kernels.conv_pool(gpu(x), gpu(w), bias, window, 1, pool, rectify)
    with np.errstate(invalid="ignore"):  # 0·∞
        right, first = reference.max_pool(reference.conv_forward(x, w, b, window, 1), pool)
    if rectify:
        first[~(right > 0)], right = kernels.NO_TAP, np.maximum(right, 0)
    np.testing.assert_array_equal(y.get(), right)  # whole numbers: sums are exact
    np.testing.assert_array_equal(index.get(), first)
    x, g = np.nan_to_num(x, posinf=1), random.normal(size=y.shape).astype(x.dtype)
    dw, db = kernels.conv_pool_grads(gpu(x), gpu(g), index, window, 1, pool)
    wide = reference.max_unpool(g * (first != kernels.NO_TAP), first % kernels.NO_TAP, pool)
    close(dw.get(), reference.conv_weight_grad(x, wide, window, 1))
    close(db.get(), wide.sum((0, 2, 3)))
    assert ran("conv_pool") and ran("conv_pool_grads")


@needs_compiler
@pytest.mark.parametrize(("most", "joins"), [(11, False), (12, True)])
def test_few_taps_are_summed_directly(gpu, monkeypatch, most, joins):
    monkeypatch.setattr(convolution, "FEW", most)
    monkeypatch.setattr(few, "CHANNELS", 0)
    window = kernels.window("conv2d", (4, 5), (2, 3))
    pool = kernels.window("max_pool2d", window.out, 1, 1)
    x, w = gpu(np.ones((1, 2, 4, 5))), gpu(np.ones((1, 2, 2, 3)))
    standin.counter.clear()
    assert (kernels.conv_pool(x, w, None, window, 1, pool, False) is not None) == joins
    assert kernels.conv_forward(x, w, None, window, 1).get().tolist() == [[[[12.0] * 3] * 3]]
    assert ran("conv_pool") == ran("conv") == joins


@needs_compiler
def test_the_gradient_of_relu(gpu):
    for value, factor in ((-1.0, 0.0), (0.0, 0.0), (2.0, 1.0)):
        x = md.Tensor(gpu(np.array([value])))
        x.requires_grad = True
        slope = md.grad(lambda t: (md.ops.relu(t) ** 2.0).sum())
        assert slope(x).numpy().tolist() == [2 * value * factor]
        assert md.hvp(lambda t: (md.ops.relu(t) ** 2.0).sum(), x, x).item() == 2 * value * factor
    assert kernels.keep_positive(gpu(np.array([np.inf])), gpu(np.array([0.0]))).get() == 0


OPTIMIZERS = {
    "SGD": {"lr": 0.1, "weight_decay": 0.3},
    "momentum": {"lr": 0.05, "momentum": 0.8, "weight_decay": 0.1},
    "nesterov": {"lr": 0.05, "momentum": 0.7, "nesterov": True},
    "RMSProp": {"lr": 0.02, "alpha": 0.9, "eps": 1e-3, "weight_decay": 0.1},
    "Adam": {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1},
    "AdamW": {"lr": 0.02, "betas": (0.5, 0.9), "weight_decay": 0.3},
}


@needs_compiler
@pytest.mark.parametrize("times", [1, 2, 9])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_of_every_parameter_in_one_launch(gpu, name, times):
    """36 parameters need two: their tables do not fit into one."""
    shapes, found = [(3, 4), (5,), (), (2, 3, 2, 2)] * times, []
    for place in ("cpu", "cuda"):
        random = np.random.default_rng(0)
        params = [md.nn.Parameter(random.normal(size=s), np.float64) for s in shapes]
        for p in params:
            p.data = md.device.to_device(md.device.to_host(p.data), place)
        kind = getattr(md.optim, name, md.optim.SGD)
        optimizer = kind(params, **OPTIMIZERS[name])
        for step in range(4):
            for i, p in enumerate(params):
                value = np.asarray(random.normal(size=p.shape))
                late = i == 1 and step == 0  # counts its own steps
                p.grad = None if late else md.Tensor(md.device.to_device(value, place))
            standin.counter.clear()
            optimizer.step()
        found.append([p.numpy() for p in params])
    assert len(standin.counter.launched) == (1 if times < 9 else 2)
    for ours, right in zip(*found, strict=True):
        np.testing.assert_allclose(ours, right, rtol=1e-12)


@needs_compiler
def test_a_step_of_the_articles_cnn_takes_at_most_20_launches(gpu):
    random = np.random.default_rng(0)
    model = md.models.article_cnn(size=8).to("cuda")
    optimizer = md.optim.Adam(model.parameters())
    images = md.Tensor(gpu(random.random((4, 1, 8, 8), np.float32)))
    labels = md.Tensor(gpu(random.integers(0, 10, 4)))
    for _ in range(2):
        standin.counter.clear()
        optimizer.zero_grad()
        md.ops.cross_entropy(model(images), labels).backward()
        optimizer.step()
    assert len(standin.counter.launched) <= 20, " ".join(standin.counter.launched)
    assert standin.counter.waited == []


def test_without_a_compiler_array_code_runs_and_one_line_says_so(gpu, monkeypatch):
    def refuse(**options):
        raise RuntimeError("nvrtc: error: no library\nand more")

    monkeypatch.setattr(standin.module, "RawModule", refuse)
    for cached in (launch.usable, launch._kernel, launch._module):
        cached.cache_clear()
    with pytest.warns(UserWarning, match=r"no CUDA kernels, array code instead: nvrtc: .*library$"):
        assert not launch.compiled(np.dtype(float))
    monkeypatch.setenv("MINIDL_CUDA_KERNELS", "0")
    launch.usable.cache_clear()
    assert not launch.compiled(np.dtype(float))
    launch.usable.cache_clear()


# The constants that the sources need; every other source is compiled as it is.
CONSTANTS = {
    "batch_norm": (("OWN", 16),),
    "few": tuple(few._constants(3, Window((8, 8), (3, 3)), (2, 2)).items()),
    "implicit": (("ROWS", 64),),
    "loss": (("TEAM", 16),),
    "pool": tuple(pool._constants(Window((8, 8), (3, 2), (2, 1), dilation=(1, 2))).items()),
    "product": (("TEAM", 16),),
    "rows": (("TEAM", 16),),
    "update": (("ROWS", 32),),
}
SOURCES = sorted(p.stem for p in Path(launch.__file__).parent.glob("*.cu") if p.stem != "common")


@pytest.mark.parametrize("capability", [75, 80, 86, 89, 90])
@pytest.mark.parametrize("char", "fd")
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize(
    ("file", "constants"),
    [*((file, CONSTANTS.get(file, ())) for file in SOURCES), ("update", (("GUARDED", 1),))],
)
def test_the_source_compiles_for_every_gpu(file, constants, wide, char, capability):
    """NVRTC from its wheel: no GPU and no driver are needed."""
    spec = importlib.util.find_spec("nvidia.cuda_nvrtc") if _has("nvidia") else None
    if spec is None:
        pytest.skip("the wheel nvidia-cuda-nvrtc-cu12 is not installed")
    folder = Path(next(iter(spec.submodule_search_locations)))
    nvrtc = ctypes.CDLL(str(next(folder.glob("lib/libnvrtc.so*"))))
    program, options = ctypes.c_void_p(), list(launch.options(char, wide, constants))
    options.append(f"--gpu-architecture=compute_{capability}")
    pointer = ctypes.byref(program)
    assert (
        nvrtc.nvrtcCreateProgram(pointer, launch.source(file).encode(), b"minidl.cu", 0, None, None)
        == 0
    )
    array = (ctypes.c_char_p * len(options))(*(o.encode() for o in options))
    failed = nvrtc.nvrtcCompileProgram(program, len(options), array)
    log = ctypes.create_string_buffer(1 << 16)
    nvrtc.nvrtcGetProgramLog(program, log)
    assert not failed, log.value.decode()
    assert "warning" not in log.value.decode()
    nvrtc.nvrtcDestroyProgram(pointer)


def _has(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
