"""Every derivative of every operation, first and second, against differences."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl as md
from minidl.testing import gradcheck
from tests.ops.cases import CASES

SEEDS = st.integers(0, 2**32 - 1)


def test_every_operation_has_a_case():
    assert set(CASES) == set(md.ops.__all__)


@pytest.mark.parametrize("name", md.ops.__all__)
@given(seed=SEEDS)
def test_derivatives_agree_with_differences(name, seed):
    case = CASES[name]
    arrays, kwargs = case.draw(np.random.default_rng(seed))
    f = case.function(name, kwargs)
    checks = ("projection", "forward-mode")
    gradcheck(f, *arrays, order=2, directions=1, check=checks, kinks="raise", seed=seed)
