"""The stand-in for CuPy catches each of the traps that it is there for."""

import inspect
from contextlib import nullcontext

import numpy as np
import pytest

from tests.standin import counter
from tests.standin import module as cp
from tests.standin.array import VERSIONS
from tests.standin.graph import Graph

HOST = np.ones(3)


@pytest.fixture
def x():
    counter.clear()
    return cp.asarray([1.0, 2.0, 3.0], dtype=np.float32)


TRAPS = {
    "host + device": (lambda x: HOST + x, TypeError),
    "device + host": (lambda x: x + HOST, TypeError),
    "device += host": (lambda x: x.__iadd__(HOST), TypeError),
    "a function of both": (lambda x: cp.add(x, HOST), TypeError),
    "both in a list": (lambda x: cp.concatenate([x, HOST]), TypeError),
    "NumPy's function": (lambda x: np.exp(x), TypeError),
    "NumPy's reduction": (lambda x: np.sum(x), TypeError),
    "host into device": (lambda x: x.__setitem__(slice(None), HOST), TypeError),
    "a list into device": (lambda x: x.__setitem__(slice(None), [1, 2, 3]), TypeError),
    "an index of the host": (lambda x: x[np.array([0])], TypeError),
    "implicit conversion": (lambda x: np.asarray(x), TypeError),
    "an index": (lambda x: [1, 2, 3][cp.argmax(x)], TypeError),
    "truth of many": (lambda x: bool(x > 1), ValueError),
    "errstate": (lambda x: cp.errstate, AttributeError),
    "insert": (lambda x: cp.insert, AttributeError),
    "block": (lambda x: cp.block, AttributeError),
    "vecdot": (lambda x: cp.vecdot, AttributeError),
    "geomspace": (lambda x: cp.geomspace, AttributeError),
    "frompyfunc": (lambda x: cp.frompyfunc, AttributeError),
    "put_along_axis": (lambda x: cp.put_along_axis, AttributeError),
    "permute_dims": (lambda x: cp.permute_dims, AttributeError),
    "astype": (lambda x: cp.astype, AttributeError),
    "ufunc where=": (lambda x: cp.exp(x, where=x > 1), TypeError),
    "sum where=": (lambda x: x.sum(where=x > 1), TypeError),
    "sum initial=": (lambda x: cp.sum(x, initial=0), TypeError),
    "max initial=": (lambda x: x.max(initial=0), TypeError),
    "clip without a bound": (lambda x: cp.clip(x, 0, None), TypeError),
    "clip with one bound": (lambda x: cp.clip(x, 0), TypeError),
    "x.clip without a bound": (lambda x: x.clip(None, 1), TypeError),
    "multiply.at": (lambda x: cp.multiply.at(x, cp.asarray([0]), 2.0), NotImplementedError),
    "maximum.reduce": (lambda x: cp.maximum.reduce(x), NotImplementedError),
    "a list as operand": (lambda x: cp.exp([1.0]), TypeError),
    "a list to reduce": (lambda x: cp.sum([1.0]), TypeError),
    "dlpack of the host": (lambda x: cp.from_dlpack(HOST), TypeError),
    "flags that NumPy alone has": (lambda x: x.flags.writeable, AttributeError),
}


@pytest.mark.parametrize("name", TRAPS)
def test_what_cupy_refuses_is_refused(name, x):
    trap, error = TRAPS[name]
    with pytest.raises(error):
        trap(x)


def test_reductions_are_arrays_without_axes(x):
    for y in (x.sum(), cp.max(x), x[0], x @ x, x.argmax()):
        assert isinstance(y, cp.ndarray) and y.shape == ()


def test_memory_nobody_wrote_is_poisoned():
    assert np.isnan(cp.empty(3).get()).all()
    assert np.isnan(cp.empty_like(cp.ones((2, 2), np.float32)).get()).all()
    assert (cp.empty(3, int).get() != 0).all()


def test_a_numpy_scalar_promotes_and_a_python_number_does_not(x):
    assert (x * 2.0).dtype == np.float32
    assert (x * np.float64(2)).dtype == np.float64
    assert (x.sum() * np.float64(2)).dtype == np.float64


WAITS = {
    "get": lambda x: x.get(),
    "item": lambda x: x[0].item(),
    "float": lambda x: float(x[0]),
    "int": lambda x: int(x[0]),
    "bool": lambda x: bool(x[0]),
    "tolist": lambda x: x.tolist(),
    "nonzero": lambda x: x.nonzero(),
    "flatnonzero": lambda x: cp.flatnonzero(x),
    "reading by a mask": lambda x: x[x > 1],
    "bincount": lambda x: cp.bincount(cp.asarray([0, 1])),
    "repr": lambda x: repr(x),
}


@pytest.mark.parametrize("name", WAITS)
def test_what_waits_for_the_gpu_is_counted(name, x):
    WAITS[name](x)
    assert counter.waited == [name]


def test_launches_are_counted_and_views_are_none(x):
    x[::2], x.reshape(3, 1), x.T, cp.empty(3), cp.broadcast_to(x, (2, 3))
    assert counter.launched == []
    y = x + 1
    y += x
    y[...] = 0
    cp.exp(x, out=y)
    cp.add.at(y, cp.asarray([0, 0]), 1.0)
    x[x > 1] = 0
    assert len(counter.launched) == 7
    assert counter.waited == []
    cp.concatenate([x, y])
    assert len(counter.launched) == 9


def test_graphs_have_the_names_and_arguments_of_every_cupy():
    for names in VERSIONS.values():
        for path, arguments in names["graphs"].items():
            kind, _, method = path.partition(".")
            f = getattr(cp.cuda, kind) if kind != "Graph" else Graph
            f = getattr(f, method) if method else f
            assert [a for a in inspect.signature(f).parameters if a != "self"] == arguments


@pytest.mark.parametrize("blocking", [True, False])
def test_only_a_current_stream_that_does_not_block_captures(blocking):
    stream = cp.cuda.Stream(non_blocking=not blocking)
    with pytest.raises(RuntimeError, match="non-blocking"), stream if blocking else nullcontext():
        stream.begin_capture()


BREAKING = {
    "waiting": (lambda x: x.sum().item(), RuntimeError),
    "reading": (lambda x: x.get(), RuntimeError),
    "copying": (lambda x: cp.asarray(HOST), RuntimeError),
    "writing": (lambda x: x.set(HOST), RuntimeError),
    "joining many": (lambda x: cp.concatenate([x] * 9), RuntimeError),
    "cuBLAS": (lambda x: x @ x, NotImplementedError),
}


@pytest.mark.parametrize("name", BREAKING)
def test_what_breaks_a_capture(name, x):
    breaking, error = BREAKING[name]
    with cp.cuda.Stream(non_blocking=True) as stream:
        stream.begin_capture()
        with pytest.raises(error, match="captur"):
            breaking(x)
        with pytest.raises(RuntimeError, match="Invalidated"):
            stream.end_capture()


def test_a_capture_computes_nothing_until_it_is_launched(x):
    with cp.cuda.Stream(non_blocking=True) as stream:
        stream.begin_capture()
        y = x + 1.0
        x *= 2.0
        z = x.reshape(3, 1)[1:].sum(0)
        graph = stream.end_capture()
    assert np.isnan([*y.get(), *z.get()]).all() and x.get().tolist() == [1, 2, 3]
    for _ in range(2):
        graph.launch()
    assert (y.get().tolist(), x.get().tolist()) == ([3, 5, 7], [4, 8, 12])
    assert z.get().tolist() == [20]


def test_the_generator_lacks_what_cupys_lacks():
    from tests.standin.array import VERSIONS

    for version in VERSIONS.values():
        assert not {"normal", "permutation", "shuffle", "choice"} & set(version["generator"])
    assert {v.split(".")[0] for v in VERSIONS} == {"13", "14"}


def test_it_computes_as_numpy_does(x):
    host = x.get()
    np.testing.assert_array_equal((2 - x).get(), 2 - host)
    np.testing.assert_array_equal((x[:, None] @ x[None]).get(), np.outer(host, host))
    np.testing.assert_array_equal(cp.where(x > 1, x, 0).get(), np.where(host > 1, host, 0))
    assert x.mean(keepdims=True).shape == (1,)
