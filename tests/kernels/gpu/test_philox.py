"""Dropout's mask by the CUDA kernel, run on the CPU: the bytes that the host draws."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import minidl as md
from minidl.kernels import philox
from minidl.kernels.gpu import launch
from minidl.kernels.gpu.philox import dropout_mask
from tests import standin
from tests.standin.kernels import COMPILER

pytestmark = [
    pytest.mark.host,
    pytest.mark.skipif(COMPILER is None, reason="no g++ to compile the kernels with"),
]
words = st.integers(0, 2**63 - 1)


@settings(max_examples=30)
@given(
    words, words, st.one_of(st.integers(0, 40), st.integers(2**33, 2**34)), st.integers(1, 700),
    st.sampled_from([1e-9, 0.2, 0.5, 0.99]), st.sampled_from("fd"), st.booleans(),
)  # fmt: skip
@example(0, 0, 7, 2041, 0.5, "f", False)
def test_the_gpu_draws_what_the_host_draws(gpu, monkeypatch, a, b, first, count, p, dtype, wide):
    monkeypatch.setattr(launch, "LARGE", 0 if wide else 1 << 30)  # with 0, indices have 64 bits
    key, like = np.array([a, b, first], np.uint64), np.empty(count, dtype)
    found = dropout_mask(gpu(key), gpu(like), p).get()
    assert found.dtype == like.dtype
    assert np.array_equal(found, philox.dropout_mask(key, like.shape, like.dtype, p))


def test_a_layer_draws_the_same_on_both_devices(gpu):
    x = np.ones((6, 3, 5, 7), np.float32)
    md.manual_seed(4)
    ours = md.nn.Dropout(0.4)(md.tensor(x))
    md.manual_seed(4)
    standin.counter.clear()
    theirs = md.nn.Dropout(0.4)(md.tensor(x, device="cuda"))
    assert "dropout_mask" in standin.counter.launched
    assert np.array_equal(ours.numpy(), theirs.numpy())
