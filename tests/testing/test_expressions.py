"""Whole graphs: random expressions against NumPy, and a machine that builds, sweeps and reuses."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import minidl as md
from minidl.testing import gradcheck
from minidl.testing.differences import STEP
from minidl.testing.expression import RULES
from minidl.testing.strategies import SEEDS, expressions


@given(expression=expressions())
def test_value_and_both_derivatives_of_whole_expressions(expression):
    y = expression.on_tensors(*map(md.as_tensor, expression.leaves))
    assert y.item() == pytest.approx(expression.on_arrays(*expression.leaves), rel=1e-11, abs=1e-11)
    gradcheck(
        expression.on_tensors,
        *expression.leaves,
        order=2,
        directions=1,
        check=("projection", "forward-mode", "graph"),
        kinks="raise",
    )


class Graphs(RuleBasedStateMachine):
    """Builds one growing graph and checks it whole, again and again.

    Every value is a tensor and a NumPy step on the arrays of earlier values; the gradients
    expected are differences of those steps, so no code of the engine says what is right.
    """

    @initialize(seed=SEEDS)
    def start(self, seed):
        rng = np.random.default_rng(seed)
        shapes = [(3,), (), (2, 3), (3, 2)]
        self.arrays = [np.asarray(rng.normal(size=s)) for s in shapes[: rng.integers(1, 5)]]
        self.leaves = [md.tensor(a, dtype="float64", requires_grad=True) for a in self.arrays]
        self.tensors = list(self.leaves)
        self.steps = []  # each makes the next array from the list of those before
        self.expected = [np.zeros(a.shape) for a in self.arrays]

    def pick(self, rng):
        """The place of a value: any, or one of the latest."""
        n = len(self.tensors)
        return int(rng.integers(n)) if rng.random() < 0.5 else int(rng.integers(max(n - 3, 0), n))

    def compute(self, arrays):
        values = list(arrays)
        for step in self.steps:
            values.append(np.asarray(step(values)))
        return values

    @rule(seed=SEEDS, name=st.sampled_from(sorted(RULES)))
    def build(self, seed, name):
        """One more operation on values that may be leaves, views, or used already."""
        rng, law = np.random.default_rng(seed), RULES[name]
        places = [self.pick(rng) for _ in range(law.inputs)]
        inputs = [self.tensors[i] for i in places]
        if not law.fits(*(t.shape for t in inputs)):
            return
        made = law.tensor(*inputs)
        if made.size <= 48:
            self.tensors.append(made)
            self.steps.append(lambda values: law.array(*(values[i] for i in places)))

    @rule(seed=SEEDS)
    def island(self, seed):
        """A value computed under no_grad: a constant from here on."""
        place = self.pick(np.random.default_rng(seed))
        with md.no_grad():
            constant = md.ops.sin(self.tensors[place])
        assert not constant.requires_grad
        frozen = constant.numpy().copy()
        self.tensors.append(self.tensors[place] * constant)
        self.steps.append(lambda values: values[place] * frozen)

    def total(self, place, u, arrays):
        return float(np.sum(self.compute(arrays)[place] * u))

    def differences(self, place, u):
        """The gradient, one coordinate at a time."""
        found = []
        for k, array in enumerate(self.arrays):
            g = np.zeros(array.shape)
            for index in np.ndindex(array.shape):
                ends = []
                for sign in (1, -1):
                    moved = [a.copy() for a in self.arrays]
                    moved[k][index] += sign * STEP
                    ends.append(self.total(place, u, moved))
                g[index] = (ends[0] - ends[1]) / (2 * STEP)
            found.append(g)
        return found

    @rule(seed=SEEDS, create=st.booleans())
    def sweep(self, seed, create):
        """A backward pass from any value; the graph stays for the next, gradients add up."""
        rng = np.random.default_rng(seed)
        place = self.pick(rng)
        u = rng.normal(size=self.tensors[place].shape)
        self.tensors[place].backward(u, retain_graph=True, create_graph=create)
        for total, g in zip(self.expected, self.differences(place, u), strict=True):
            total += g
        for leaf in self.leaves:
            if leaf.grad is not None and create:
                leaf.grad = leaf.grad.detach()  # a recorded gradient and its leaf hold each other

    @rule()
    def forget(self):
        for leaf, total in zip(self.leaves, self.expected, strict=True):
            leaf.grad = None
            total[...] = 0

    @rule(seed=SEEDS)
    def second_order(self, seed):
        """vᵀHv from a recorded gradient, against the second difference along v."""
        rng = np.random.default_rng(seed)
        place = self.pick(rng)
        kept = [leaf.grad for leaf in self.leaves]
        u = rng.normal(size=self.tensors[place].shape)
        v = [rng.normal(size=a.shape) for a in self.arrays]

        def along_v():
            terms = [
                (t.grad * w).sum()
                for t, w in zip(self.leaves, v, strict=True)
                if t.grad is not None
            ]
            for leaf in self.leaves:
                leaf.grad = None
            return sum(terms[1:], terms[0]) if terms else md.as_tensor(0.0)

        for leaf in self.leaves:
            leaf.grad = None
        self.tensors[place].backward(u, retain_graph=True, create_graph=True)
        slope = along_v()
        if slope.requires_grad:
            slope.backward(retain_graph=True)
        curvature = along_v().item()
        for leaf, g in zip(self.leaves, kept, strict=True):
            leaf.grad = g

        step, weights = 1e-3, (-1 / 12, 4 / 3, -5 / 2, 4 / 3, -1 / 12)
        values = [
            self.total(place, u, [a + k * step * w for a, w in zip(self.arrays, v, strict=True)])
            for k in (-2, -1, 0, 1, 2)
        ]
        numeric = sum(w * t for w, t in zip(weights, values, strict=True)) / step**2
        assert curvature == pytest.approx(numeric, rel=1e-4, abs=1e-4 * (1 + max(map(abs, values))))

    @invariant()
    def values_are_right(self):
        if hasattr(self, "tensors"):
            found = self.tensors[-1].numpy()
            np.testing.assert_allclose(found, self.compute(self.arrays)[-1], rtol=1e-10, atol=1e-10)

    @invariant()
    def gradients_are_right(self):
        if hasattr(self, "tensors"):
            for leaf, total in zip(self.leaves, self.expected, strict=True):
                found = np.zeros(leaf.shape) if leaf.grad is None else leaf.grad.numpy()
                np.testing.assert_allclose(found, total, rtol=1e-6, atol=1e-6)


TestGraphs = Graphs.TestCase
TestGraphs.settings = settings(max_examples=40, stateful_step_count=25)
