"""The tests are tested: every planted mistake is found, and its kind is named."""

import numpy as np
import pytest

import minidl as md
from minidl.errors import GradientError
from minidl.testing import gradcheck
from tests.ops.case import same
from tests.ops.cases import CASES
from tests.testing.planted import GRADIENTS
from tests.testing.planted_values import FORWARDS


def test_there_are_enough_of_them():
    assert len(GRADIENTS) + len(FORWARDS) >= 25


@pytest.mark.parametrize("name", GRADIENTS)
@pytest.mark.parametrize("seed", range(3))
def test_a_wrong_gradient_is_rejected(name, seed):
    op, inputs, arguments, words = GRADIENTS[name]
    with np.errstate(all="ignore"), pytest.raises(GradientError, match=words):
        gradcheck(op, *(x.copy() for x in inputs), seed=seed, **arguments)


@pytest.mark.parametrize("name", FORWARDS)
def test_a_wrong_value_is_rejected(name):
    """By the comparison with the reference that the suite makes, within its first 60 draws."""
    op, wrong = FORWARDS[name]
    case = CASES[op]
    for seed in range(60):
        arrays, kwargs = case.draw(np.random.default_rng(seed))
        try:
            same(md.as_tensor(wrong(*arrays, **kwargs)), case.reference(*arrays, **kwargs))
        except AssertionError:
            return
    pytest.fail(f"{name}: nobody noticed")


def test_the_all_ones_cotangent_would_have_missed_the_factor_seven():
    """Why cotangents are drawn: the rows of a softmax sum to 1, so their ones-gradient is 0."""
    op, (x,), _, _ = GRADIENTS["softmax ×7"]
    leaf = md.tensor(x, dtype="float64", requires_grad=True)
    op(leaf).backward(np.ones(x.shape))
    assert np.abs(leaf.grad.numpy()).max() < 1e-14
