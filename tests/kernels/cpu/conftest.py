"""Tests that change how many threads share the work leave as many as there were."""

import faulthandler

import pytest

import minidl as md


@pytest.fixture(autouse=True)
def as_many_as_before():
    """What waits for ever fails; and the next test has the threads it expects."""
    before = md.get_threads()
    faulthandler.dump_traceback_later(100, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()
    md.set_threads(before)
