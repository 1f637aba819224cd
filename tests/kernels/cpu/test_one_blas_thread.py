"""BLAS is told to use one thread while minidl computes, and its own number comes back."""

import pytest

import minidl as md
from minidl.kernels.cpu import blas, threads

pytestmark = pytest.mark.host
needs_openblas = pytest.mark.skipif(
    blas.BLAS_THREADS is None, reason="NumPy's BLAS is no OpenBLAS whose threads can be told"
)


@needs_openblas
def test_blas_has_one_thread_inside_and_its_own_number_outside():
    count = blas.one_blas_thread.limit.get
    before = count()
    blas.one_blas_thread.limit.set(3)
    try:
        md.set_threads(2)
        inside = threads.share(lambda _: count(), range(4))
        with blas.one_blas_thread(), blas.one_blas_thread():
            inside.append(count())
        assert inside == [1] * 5
        assert count() == 3
        with pytest.raises(ZeroDivisionError):
            threads.share(lambda i: 1 / 0, range(3))
        assert count() == 3
    finally:
        blas.one_blas_thread.limit.set(before)


@needs_openblas
def test_who_never_left_is_inside_no_longer_than_it_lives():
    """An interrupt may come where `__exit__` begins, which then never runs."""
    limit = blas.one_blas_thread.limit
    before = limit.get()
    limit.set(3)
    try:
        context = blas.one_blas_thread()
        context.__enter__()
        assert limit.get() == 1
        del context
        assert not limit.inside
        with blas.one_blas_thread():
            assert limit.get() == 1
        assert limit.get() == 3
        with blas.one_blas_thread():
            limit.set(2)  # the user's own, meanwhile
        assert limit.get() == 2
        limit.set(1)
        with blas.one_blas_thread():
            pass
        assert limit.get() == 1
    finally:
        limit.set(before)
