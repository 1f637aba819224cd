import math

import pytest

from minidl.lab import REGISTRY, Check, Evidence, prediction
from minidl.lab.drawing import curves


@pytest.fixture
def empty():
    """The registry as it is, restored after the test."""
    saved = dict(REGISTRY)
    yield
    REGISTRY.clear()
    REGISTRY.update(saved)


@pytest.fixture
def toy(empty):
    """An experiment that takes no time, named "toy"."""

    def toy(seed, quick):
        checks = [Check("seed", 3.0, seed, 0.5), Check("nan", 0.0, math.nan, 1.0)][: 2 - quick]
        series = curves("x", "y", {"a": ([0, 1], [1.0, math.inf])})
        return Evidence(checks, f"The seed is {seed}.", [{"seed": seed}], series)

    toy.__module__ = "somewhere.toy"
    return prediction(99, title="A toy", source="none", setup="one.", predicts="two")(toy)
