import sys

import numpy as np
import pytest

from minidl.data import digits
from minidl.errors import DataError


def test_digits_are_scikit_learns_brought_to_28_by_28():
    datasets = pytest.importorskip("sklearn.datasets")
    data, bunch = digits(), datasets.load_digits()
    assert data.images.shape == (1797, 1, 28, 28) and data.images.dtype == np.float32
    assert data.classes == tuple("0123456789") and data.name == "digits"
    np.testing.assert_array_equal(data.labels, bunch.target)
    for row, column in [(0, 0), (1, 2), (2, 1)]:  # every pixel of a 3x3 block
        small = data.images[:, 0, 2 + row : 26 : 3, 2 + column : 26 : 3]
        np.testing.assert_allclose(small, bunch.images / 16)
    border = data.images.copy()
    border[:, :, 2:-2, 2:-2] = 0
    assert not border.any()


def test_without_scikit_learn_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(DataError, match="pip install scikit-learn"):
        digits()
