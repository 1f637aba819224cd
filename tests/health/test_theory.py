"""The quadrature of the predictions is exact, kink or no kink."""

import math

import numpy as np
import pytest

from minidl.health.theory import gaussian_mean


def test_the_quadrature_is_exact_on_both_sides_of_a_kink():
    assert gaussian_mean(lambda z: z**4) == pytest.approx(3, rel=1e-12)
    assert gaussian_mean(lambda z: np.maximum(z, 0) ** 2) == pytest.approx(0.5, rel=1e-12)
    assert gaussian_mean(np.abs) == pytest.approx(math.sqrt(2 / math.pi), rel=1e-12)
    assert gaussian_mean(lambda z: z * z, 2.5) == pytest.approx(2.5, rel=1e-12)
