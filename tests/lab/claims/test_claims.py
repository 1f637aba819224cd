"""Verdicts follow from the counts, whatever they are; all remedies are judged alike."""

import math

import pytest

from minidl.lab import REGISTRY, judging
from minidl.lab.cnn import HEALTHY, A, B
from minidl.lab.training import Training

LOST = Training("diverged", math.nan, 4, (2.3, 1e9, 1e30, math.nan))
WON = Training("trained", 0.95, 80, (2.4, 0.2))
BY_NUMBER = {e.number: e for e in REGISTRY.values()}
CLAIMS = [f"C{i}" for i in range(1, 16)]
COUNTED = ("C1", "C2", "C3", "C4", "C6", "C7", "C11")  # claims judged by outcomes alone
REMEDIES = (*COUNTED, "C5", "C10", "C12")


def test_there_are_fifteen_claims():
    assert {e.number for e in REGISTRY.values() if e.is_claim} == set(CLAIMS)


@pytest.mark.parametrize("number", CLAIMS)
def test_a_claim_of_the_article_is_quoted_with_its_section(number):
    claim = BY_NUMBER[number]
    beyond = claim.title.startswith("Beyond the article")
    assert beyond == (number in ("C10", "C11", "C12", "C15"))
    assert bool(claim.section) == bool(claim.says) == (not beyond)


@pytest.fixture
def world(monkeypatch):
    """Replace training: `cured(recipe)` says whether a network trains."""
    asked = []

    def make(cured):
        def trainings(recipes, seeds):
            asked.extend(recipes)
            return [[WON if cured(r) else LOST for _ in seeds] for r in recipes]

        monkeypatch.setattr(judging, "trainings", trainings)
        return asked

    return make


@pytest.mark.parametrize("number", COUNTED)
def test_where_everything_trains_every_claim_is_true(world, number):
    world(lambda recipe: True)
    evidence = BY_NUMBER[number](0, quick=True)
    assert evidence.verdict == "true"
    assert all(check.predicted is None for check in evidence.checks), "promises, not predictions"


@pytest.mark.parametrize("number", sorted(set(COUNTED) - {"C4"}))
def test_where_nothing_trains_every_claim_is_false(world, number):
    world(lambda recipe: False)
    evidence = BY_NUMBER[number](0, quick=True)
    assert evidence.verdict == "false"
    assert all(
        count == {"trained": 0, "stuck": 0, "dead": 0, "diverged": 3}
        for name, count in evidence.counts.items()
        if name != "of"
    )


@pytest.mark.parametrize("number", REMEDIES)
def test_every_remedy_is_judged_on_both_regimes(world, number):
    world(lambda recipe: False)
    checks = [check.what for check in BY_NUMBER[number](0, quick=True).checks]
    promised = {what.split(",")[0] for what in checks if ": trained of 3" in what}
    assert {"A", "B"} <= promised
    a, b = (sum(what.startswith(f"{name},") for what in checks) for name in "AB")
    assert a == b, "each remedy is given to A and to B"


def test_clipping_that_cures_one_of_two_is_conditional(world):
    world(lambda recipe: recipe.rate == 1.0 and recipe.clip is not None)
    evidence = BY_NUMBER["C2"](0, quick=True)
    assert evidence.verdict == "conditional"
    assert "3/3 trained" in evidence.conclusion and "3 NaN" in evidence.conclusion


def test_initialisation_cures_weights_and_no_rate(world):
    """B has He weights to begin with: giving it He's changes nothing."""
    asked = world(lambda recipe: recipe.init != A.init and recipe.rate < 1)
    evidence = BY_NUMBER["C6"](0, quick=True)
    assert evidence.verdict == "conditional"
    assert [check.ok for check in evidence.checks] == [True, False, True, False]
    assert asked[-2:] == [HEALTHY, B]


def test_depth_that_does_harm_is_refuted(world):
    world(lambda recipe: recipe.depth < 16)
    assert BY_NUMBER["C4"](0, quick=True).verdict == "refuted"


def test_weights_accumulate_as_the_product_of_the_gains():
    evidence = BY_NUMBER["C8"](0, quick=True)
    by_factor = {row["weights"]: row for row in evidence.rows}
    assert by_factor["He × 2"]["output"] / by_factor["He × 1"]["output"] == pytest.approx(2, 1e-3)
    assert by_factor["He × 1"]["output"] == pytest.approx(0.949, rel=0.1)
    assert by_factor["He × 1"]["gradient"] == pytest.approx(0.949, rel=0.1)
    assert all(check.predicted for check in evidence.checks), "theory gives these numbers"


def test_the_number_of_parameters_decides_nothing():
    evidence = BY_NUMBER["C9"](0, quick=True)
    assert evidence.verdict == "false"
    same = [row["parameters"] for row in evidence.rows[:3]]
    assert max(same) / min(same) < 1.1
    assert evidence.checks[0].measured > 1e6


def test_the_scale_of_the_input_multiplies_the_gradient_and_grows_nothing():
    evidence = BY_NUMBER["C13"](0, quick=True)
    assert evidence.verdict == "conditional"
    assert [check.ok for check in evidence.checks] == [False, False, False, True, False, True]
    small, one, large = evidence.rows
    growth = "gradient's growth per layer"
    assert small["‖gradient‖"] < 1e-5 * one["‖gradient‖"]
    assert large["‖gradient‖"] > 1e5 * one["‖gradient‖"]
    assert small[growth] == pytest.approx(large[growth], rel=0.05)
    assert small["loss at start"] == pytest.approx(math.log(10), rel=1e-3)
    assert large["largest stable rate"] * 1e6 == pytest.approx(one["largest stable rate"], rel=3)


def test_more_pixels_enlarge_the_first_gradient_and_no_growth():
    evidence = BY_NUMBER["C14"](0, quick=True)
    found = {check.what: check for check in evidence.checks}
    # √64 = 8; the median of three seeds is within 30 % of its mean two times of three.
    assert 4 < found["He: ‖dL/dW₁‖, 64×64 over 8×8"].measured < 16
    assert found["He: loss at start, 64×64 over 8×8"].measured == pytest.approx(1, rel=0.5)
    for name, check in found.items():
        assert check.ok == (name.startswith("fixed σ: loss") or "‖dL/dW₁‖" in name), name


def test_a_large_batch_is_judged_by_what_trains_and_by_what_the_doctor_said(monkeypatch):
    from minidl.lab.claims import large_batch

    asked = []

    def outcome(body, rate, batch, warm, seed):
        asked.append((rate, batch, warm))
        lost = batch == 720 and not warm
        return (0.1, "will diverge") if lost else (0.95, "healthy")

    monkeypatch.setattr(large_batch, "accuracy_after", outcome)
    evidence = BY_NUMBER["C15"](0, quick=True)
    assert evidence.verdict == "true"
    assert {(rate / 0.05, batch, warm) for rate, batch, warm in asked} == {
        (1, 45, 0), (16, 720, 0), (16, 720, 5)
    }  # fmt: skip
    monkeypatch.setattr(large_batch, "accuracy_after", lambda *options: (0.1, "healthy"))
    assert BY_NUMBER["C15"](0, quick=True).verdict != "true"
