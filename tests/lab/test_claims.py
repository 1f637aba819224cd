"""Verdicts follow from what was counted, whatever was counted."""

import math

import pytest

from minidl.lab import REGISTRY, claims_judge
from minidl.lab.claims_judge import judge, promise, row, trained
from minidl.lab.cnn import Recipe, Run
from minidl.lab.registry import Check

LOST = Run("diverged", math.nan, 4, (2.3, 1e9, 1e30, math.nan))
WON = Run("trained", 0.95, 80, (2.4, 0.2))
STUCK = Run("stuck", 0.7, 200, (900.0, 5.0))
BY_NUMBER = {e.number: e for e in REGISTRY.values()}
COUNTED = ("C1", "C2", "C3", "C4", "C6", "C7", "C11")  # claims judged by outcomes alone


def check(ok):
    return Check("x", 1.0, 1.0 if ok else 2.0)


def test_there_are_twelve_claims():
    assert {f"C{i}" for i in range(1, 13)} <= set(BY_NUMBER)


@pytest.mark.parametrize(
    ("kept", "opposite", "verdict"),
    [
        ((True, True), False, "true"),
        ((True, False), False, "conditional"),
        ((True, False), True, "conditional"),
        ((False, False), False, "false"),
        ((False,), True, "refuted"),
    ],
)
def test_a_verdict_is_the_promises_kept(kept, opposite, verdict):
    assert judge([check(ok) for ok in kept], opposite) == verdict


@pytest.mark.parametrize(("won", "kept"), [(10, True), (8, True), (7, False), (0, False)])
def test_a_cure_trains_eight_of_ten(won, kept):
    found = [WON] * won + [STUCK] * (10 - won)
    assert promise("x", found).ok is kept
    assert trained(found) == won


def test_a_row_holds_counts_and_medians():
    line = row("A", [LOST, LOST, STUCK])
    assert (line["trained"], line["stuck"], line["dead"], line["diverged"]) == (0, 1, 0, 2)
    assert line["NaN or death at step"] == 4
    assert line["test accuracy"] == 0.7
    assert line["loss at start"] == 2.3
    assert math.isnan(row("A", [WON])["NaN or death at step"])


@pytest.fixture
def world(monkeypatch):
    """Replace training: `cured(recipe)` says whether a network trains."""

    def make(cured):
        def runs(recipes, seeds):
            return [[WON if cured(r) else LOST for _ in seeds] for r in recipes]

        monkeypatch.setattr(claims_judge, "runs", runs)

    return make


@pytest.mark.parametrize("number", COUNTED)
def test_where_everything_trains_every_claim_is_true(world, number):
    world(lambda recipe: recipe != Recipe(init=0.3) or number == "C4")
    assert BY_NUMBER[number](0, quick=True).verdict == "true"


@pytest.mark.parametrize("number", sorted(set(COUNTED) - {"C4"}))
def test_where_nothing_trains_every_claim_is_false(world, number):
    world(lambda recipe: False)
    result = BY_NUMBER[number](0, quick=True)
    assert result.verdict == "false"
    assert all(
        count == {"trained": 0, "stuck": 0, "dead": 0, "diverged": 3}
        for name, count in result.counts.items()
        if name != "of"
    )


def test_clipping_that_cures_one_of_two_is_conditional(world):
    world(lambda recipe: recipe.rate == 1.0 and recipe.clip is not None)
    result = BY_NUMBER["C2"](0, quick=True)
    assert result.verdict == "conditional"
    assert "3/3 trained" in result.conclusion and "3 NaN" in result.conclusion


def test_depth_that_does_harm_is_refuted(world):
    world(lambda recipe: recipe.depth < 16)
    assert BY_NUMBER["C4"](0, quick=True).verdict == "refuted"


def test_three_seeds_are_quick_and_ten_are_full():
    assert list(claims_judge.seeds(0, True)) == [0, 1, 2]
    assert list(claims_judge.seeds(2, False)) == list(range(200, 210))


def test_weights_accumulate_as_the_product_of_the_gains():
    result = BY_NUMBER["C8"](0, quick=True)
    by_factor = {row["weights"]: row for row in result.rows}
    assert by_factor["He × 2"]["output"] / by_factor["He × 1"]["output"] == pytest.approx(2, 1e-3)
    assert by_factor["He × 1"]["output"] == pytest.approx(0.949, rel=0.1)
    assert by_factor["He × 1"]["gradient"] == pytest.approx(0.949, rel=0.1)


def test_the_number_of_parameters_decides_nothing():
    result = BY_NUMBER["C9"](0, quick=True)
    assert result.verdict == "false"
    same = [row["parameters"] for row in result.rows[:3]]
    assert max(same) / min(same) < 1.1
    assert result.checks[0].measured > 1e6
