"""The run that nothing disturbed."""

import time

import pytest

from tests.faults.outcome import result
from tests.faults.victim import OPTIONS
from tests.train.conftest import make_trainer, run


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """(its weights and history, the seconds that it took)."""
    out, begun = tmp_path_factory.mktemp("faults") / "whole", time.monotonic()
    run(make_trainer(), out, **OPTIONS)
    return result(out), time.monotonic() - begun
