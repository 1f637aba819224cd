"""The switches: recording, as a context and as a decorator, in each thread by itself."""

import threading

import pytest

import minidl as md
from minidl.errors import ConfigError
from minidl.modes import is_recording, running, switches


def test_contexts_nest_and_end_with_an_error():
    with md.no_grad():
        assert not is_recording()
        with md.enable_grad():
            assert is_recording()
        with pytest.raises(KeyError), md.enable_grad():
            raise KeyError
        assert not is_recording()
    assert is_recording()


def test_a_context_may_be_entered_again_inside_itself():
    off = md.no_grad()
    with off:
        with off:
            assert not is_recording()
        assert not is_recording()
    assert is_recording()


def test_a_decorated_function_does_not_record():
    @md.no_grad()
    def deep(n):
        """Its words."""
        return [is_recording()] + (deep(n - 1) if n else [])

    assert deep(3) == [False] * 4 and is_recording() and deep.__doc__ == "Its words."


def test_a_decorated_generator_does_not_record_and_lets_others_record_between():
    @md.no_grad()
    def doubled(x):
        sent = None
        while sent != "stop":
            sent = yield (2 * x).requires_grad
        return "done"

    x = md.tensor([1.0], requires_grad=True)
    generator, ends = doubled(x), []
    for sent in (None, "again"):
        assert generator.send(sent) is False
        assert is_recording() and (2 * x).requires_grad
    try:
        generator.send("stop")
    except StopIteration as end:
        ends.append(end.value)
    assert ends == ["done"] and is_recording()


def test_coroutines_are_refused():
    async def waits():
        pass

    async def yields():
        yield

    for function in (waits, yields):
        with pytest.raises(ConfigError, match="expected a function or a generator function"):
            md.no_grad()(function)


def test_each_thread_has_its_own_switches():
    seen = []
    with md.no_grad(), running("a layer"):
        thread = threading.Thread(target=lambda: seen.append((is_recording(), switches.layer)))
        thread.start()
        thread.join()
    assert seen == [(True, None)]


def test_one_context_may_be_entered_by_two_threads_at_once():
    off, entered, leave = md.no_grad(), threading.Event(), threading.Event()
    seen = []

    def other():
        with off:
            entered.set()
            leave.wait(5)
            seen.append(is_recording())
        seen.append(is_recording())

    thread = threading.Thread(target=other)
    with off:
        thread.start()
        entered.wait(5)
    assert is_recording()
    leave.set()
    thread.join()
    assert seen == [False, True] and is_recording()


def test_an_error_thrown_into_a_decorated_generator_arrives_inside():
    @md.no_grad()
    def patient():
        while True:
            try:
                yield is_recording()
            except KeyError:
                yield "caught"

    generator = patient()
    assert next(generator) is False
    assert generator.throw(KeyError) == "caught"
