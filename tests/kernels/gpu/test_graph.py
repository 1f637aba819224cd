"""CUDA graphs, on the stand-in: what is recorded runs at each launch, on the same memory."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidl import device, kernels
from minidl.kernels.gpu import cublas
from minidl.kernels.gpu import product as cuda
from tests import standin
from tests.standin.kernels import COMPILER

from ..cases import close

pytestmark = [
    pytest.mark.host,
    pytest.mark.skipif(COMPILER is None, reason="no g++ to compile the kernels with"),
]
SIZES = st.integers(1, 19)


@settings(max_examples=30)
@given(
    *(SIZES, SIZES, st.integers(1, 40)),
    st.sampled_from([((), ()), ((3,), ()), ((2, 3), (3,)), ((2, 1), (1, 3)), ((2, 2, 2), (2, 1))]),
    st.lists(st.booleans(), min_size=2, max_size=2),
    st.sampled_from([np.float32, np.float64]),
    st.booleans(),
)
def test_products_of_every_shape_and_layout(gpu, m, n, k, batches, turned, dtype, blas):
    random = np.random.default_rng(m + 20 * n + 400 * k)
    shapes = [(*batches[0], m, k), (*batches[1], k, n)]
    a, b = (random.normal(size=s).astype(dtype) for s in shapes)
    there = [
        gpu(x.swapaxes(-1, -2).copy() if t else x) for x, t in zip((a, b), turned, strict=True)
    ]
    there = [x.swapaxes(-1, -2) if t else x for x, t in zip(there, turned, strict=True)]
    cublas._handles.clear()
    if blas:
        cublas.prepare(0)
    standin.counter.clear()
    c = cuda.recorded(*there)
    close(c.get(), np.matmul(a, b))
    assert standin.counter.launched[-1] == ("gemm" if blas else "matmul")


@pytest.mark.parametrize("blas", [True, False])
def test_a_product_of_pieces_of_matrices(gpu, blas):
    whole = np.random.default_rng(0).normal(size=(6, 10, 12))
    pieces = whole[::2, 1:6, 2:9], whole[::-2, ::2, ::3][:, :5, :4].repeat(2, 2)[:, :, :3]
    a, b = (np.ascontiguousarray(p) for p in pieces)
    b = b.swapaxes(1, 2)[:, :, :2]
    b = np.concatenate([b] * 3, 1)[:, :7]
    there = gpu(whole)[::2, 1:6, 2:9], gpu(b)
    cublas._handles.clear()
    if blas:
        cublas.prepare(0)
    close(cuda.recorded(*there).get(), a @ b)
    spread = gpu(whole)[:, ::2, ::3]  # neither rows nor columns are continuous
    close(cuda.recorded(spread, gpu(np.ones((4, 2)))).get(), whole[:, ::2, ::3] @ np.ones((4, 2)))


def test_the_graph_gives_cublas_its_stream_and_a_workspace(gpu, monkeypatch):
    monkeypatch.setenv("CUPY_TF32", "1")
    library = cublas.library()
    a = gpu(np.ones((2, 3), np.float32))
    graph = kernels.Graph(lambda: kernels.product(a, a.T), like=a)
    assert graph.launch().get().tolist() == [[3, 3], [3, 3]]
    assert library.stream and library.has_workspace and library.math_mode == 3
    monkeypatch.setattr(library, "cublasSgemm_v2", lambda *args: 13)
    with pytest.raises(RuntimeError, match="cublasSgemm_v2 failed with status 13"):
        kernels.Graph(lambda: kernels.product(a, a.T), like=a)


def test_a_product_is_cublas_own_unless_a_graph_is_recorded(gpu):
    a = gpu(np.ones((2, 3)))
    standin.counter.clear()
    kernels.product(a, a.T)
    with device.capturing():
        kernels.product(a, a.T)
        kernels.product(a, gpu(np.ones((3, 0))))  # none of our kernels takes what is empty
    assert standin.counter.launched == ["matmul"] * 3


def test_a_graph_repeats_its_work_on_what_lies_there(gpu):
    x, total = gpu(np.array([1.0, 2.0])), gpu(np.zeros(2))

    def work():
        y = x * 3.0
        total.__iadd__(y)
        return kernels.product(y.reshape(1, 2), y.reshape(2, 1))

    graph = kernels.Graph(work, like=x)
    assert total.get().tolist() == [0, 0]  # recording computes nothing
    standin.counter.clear()
    assert graph.launch().get().tolist() == [[45.0]]
    x[...] = gpu(np.array([0.0, 1.0]))
    assert graph.launch().get().tolist() == [[9.0]]
    assert total.get().tolist() == [3, 9]
    assert standin.counter.launched == ["graph", "setitem", "graph"]


REFUSED = {
    "waiting": lambda x: float(x.sum()),
    "reading": lambda x: device.to_host(x),
    "a copy from the host": lambda x: device.to_device(np.ones(3), "cuda"),
    "cuBLAS": lambda x: standin.module.einsum("i,i->", x, x),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_recorded_raises_and_leaves_no_capture_behind(gpu, name):
    x = gpu(np.ones(3))
    with pytest.raises((RuntimeError, NotImplementedError), match=r"captur|record"):
        kernels.Graph(lambda: REFUSED[name](x), like=x)
    assert not device.is_capturing()
    assert float(x.sum()) == 3
