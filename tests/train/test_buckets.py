"""When which part of the gradients is sent."""

import numpy as np
import pytest

import minidl as md
from minidl import nn
from minidl.train.buckets import Buckets, _cut

pytestmark = pytest.mark.host


class Sent:
    """A network whose gradients are noted when they are sent."""

    def __init__(self, bytes_each, layers=4, shared=False):
        self.events, self.parts = [], []
        first = nn.Dense(3, 3)
        self.model = nn.Sequential(first, *(nn.Dense(3, 3) for _ in range(layers - 1)))
        if shared:
            self.model.layers.append(first)
        self.parameters = list(self.model.parameters())
        self.buckets = Buckets(self.parameters, 2, bytes_each, self.begin)
        y = self.model(md.tensor(np.ones((5, 3), "f")))
        self.buckets.watch(y)
        self.pairs = md.backward.sweep(
            [(y, md.Tensor(np.ones(y.shape, "f")))], retain_graph=False, create_graph=False
        )
        self.events.append("end of the backward pass")
        self.buckets.finish(self.pairs, [np.array([1, 0])])

    def begin(self, part):
        self.events.append(part.size)
        self.parts.append(part)
        part *= 2  # the sum with another process that has the same
        return lambda: self.events.append("waited")


def gradients(pairs, parameters):
    found = {id(p): g.numpy() for p, g in pairs}
    return [found[id(p)].ravel() for p in parameters]


@pytest.mark.parametrize("bytes_each", [1, 40, 100, 1 << 20])
@pytest.mark.parametrize("shared", [False, True])
def test_every_number_is_sent_once_and_comes_to_its_place(bytes_each, shared):
    sent = Sent(bytes_each, shared=shared)
    assert sum(part.size for part in sent.parts) == sent.buckets.flat.size
    right = np.concatenate([[1, 0], *gradients(sent.pairs, sent.parameters)])
    np.testing.assert_allclose(sent.buckets.flat, 2 * right, rtol=1e-6)
    assert all(sent.buckets.given(p) for p in sent.parameters)


def test_full_buckets_leave_before_the_backward_pass_has_ended():
    events = Sent(40).events
    end = events.index("end of the backward pass")
    assert events[:end] == [12, 12, 12]  # the last layers: 9 weights and 3 of bias each
    assert events[end + 1 :] == [14, *["waited"] * 4]  # the first layer with the extra numbers


def test_one_bucket_is_one_message_at_the_end():
    assert Sent(1 << 20).events == ["end of the backward pass", 50, "waited"]


def test_a_parameter_that_is_used_twice_waits_for_both_parts():
    events = Sent(40, shared=True).events
    assert events[: events.index("end of the backward pass")] == [12, 12, 12]


def test_what_the_backward_pass_does_not_reach_is_zero_and_not_given():
    used, unused = nn.Parameter(np.ones(2)), nn.Parameter(np.ones(3))
    buckets = Buckets([used, unused], 0, 1, None)
    buckets.finish([(used, md.tensor([4.0, 5.0]))], [])
    np.testing.assert_array_equal(buckets.flat, [4, 5, 0, 0, 0])
    assert buckets.given(used)
    assert not buckets.given(unused)


def test_where_buckets_are_cut():
    assert _cut([3, 10, 20, 30], 40, 15) == [0, 20]
    assert _cut([3, 10, 20, 30], 40, 10) == [0, 10, 20, 30]
    assert _cut([3, 10], 12, 100) == [0]
