"""The formulas of the predictions agree with samples, with series, and with the literature."""

import math

import numpy as np
import pytest

from minidl.lab import formulas


def test_the_moments_of_log_chi_square_are_those_of_a_sample():
    mean, variance = formulas.log_chi_square(9)
    rng = np.random.default_rng(0)
    for k in (1, 2, 5, 9):
        sample = np.log(rng.chisquare(k, 200_000))
        assert sample.mean() == pytest.approx(mean[k], abs=5 * math.sqrt(variance[k] / 200_000))
        assert sample.var() == pytest.approx(variance[k], rel=0.03)


def test_the_exact_moments_approach_the_known_series():
    for n in (100, 1000):
        mean, variance = formulas.relu_log_moments(n)
        assert mean == pytest.approx(-2.5 / n, abs=10 / n**2)
        assert variance == pytest.approx(5 / n, abs=30 / n**2)


def test_the_mean_field_agrees_with_the_literature():
    found = [formulas.tanh_fixed_point(s * s, 0.05)[1] for s in (1.0, 1.5, 2.0)]
    assert found == pytest.approx([0.759, 1.092, 1.342], abs=5e-4)
    assert formulas.critical_variance(0.05) == pytest.approx(1.761, abs=5e-4)


def test_padding_takes_more_from_a_small_image():
    """The factor is the leading eigenvalue of the mean over three neighbours, zeros outside."""
    for side in (3, 7, 28):
        mean = sum(np.eye(side, k=k) for k in (-1, 0, 1)) / 3
        largest = np.linalg.eigvalsh(mean).max()
        assert formulas.padding_factor(side) == pytest.approx(largest, rel=1e-12)


def test_two_values_after_batch_norm_are_on_together_less_than_a_quarter_of_the_time():
    h = np.random.default_rng(0).standard_normal((200_000, 4))
    h -= h.mean(1, keepdims=True)
    together = ((h[:, 0] > 0) & (h[:, 1] > 0)).mean()
    assert formulas.both_on(4) == pytest.approx(together, abs=0.005)
    assert formulas.both_on(10**6) == pytest.approx(0.25, abs=1e-6)
