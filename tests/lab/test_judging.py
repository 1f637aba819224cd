"""Trainings are counted as they ended; a cure must train eight of ten."""

import math

import pytest

from minidl.lab import judging
from minidl.lab.cnn import A, B
from minidl.lab.judging import Tally, treated
from minidl.lab.training import Training

LOST = Training("diverged", math.nan, 4, (2.3, 1e9, 1e30, math.nan))
WON = Training("trained", 0.95, 80, (2.4, 0.2))
STUCK = Training("stuck", 0.7, 200, (900.0, 5.0))


@pytest.fixture
def tally(monkeypatch):
    def make(*found):
        monkeypatch.setattr(judging, "trainings", lambda recipes, seeds: [list(found)])
        return Tally({"x": A}, 0, quick=len(found) == 3)

    return make


@pytest.mark.parametrize(("won", "kept"), [(10, True), (8, True), (7, False), (0, False)])
def test_a_cure_trains_eight_of_ten(tally, won, kept):
    found = tally(*[WON] * won + [STUCK] * (10 - won))
    (check,) = found.trains("x")
    assert check.ok is kept and check.predicted is None
    assert check.allowed() == "at least 8"
    assert found.trained("x") == won
    assert found.score("x") == f"{won}/10 trained"


def test_a_row_holds_counts_and_medians(tally):
    found = tally(LOST, LOST, STUCK)
    (row,) = found.evidence([], "").rows
    assert (row["trained"], row["stuck"], row["dead"], row["diverged"]) == (0, 1, 0, 2)
    assert row["NaN or death at step"] == 4
    assert row["test accuracy"] == 0.7
    assert row["loss at start"] == 2.3
    assert found.lost("x") == "2 NaN, 1 stuck"
    (won,) = tally(WON, WON, WON).evidence([], "").rows
    assert math.isnan(won["NaN or death at step"])


def test_evidence_counts_and_draws_every_recipe(tally):
    evidence = tally(WON, STUCK, LOST).evidence([], "so", rows=[{"more": 1}])
    assert evidence.counts == {
        "of": 3,
        "x": {"trained": 1, "stuck": 1, "dead": 0, "diverged": 1},
    }
    assert evidence.series["bars"] == {"x": pytest.approx(1 / 3)}
    assert evidence.rows[-1] == {"more": 1}


def test_a_remedy_is_given_to_both_regimes():
    assert treated("x", clip=("norm", 1.0)) == {
        "A, x": A.but(clip=("norm", 1.0)),
        "B, x": B.but(clip=("norm", 1.0)),
    }


def test_three_seeds_are_quick_and_ten_are_full():
    assert list(judging.seeds(0, True)) == [0, 1, 2]
    assert list(judging.seeds(2, False)) == list(range(200, 210))
