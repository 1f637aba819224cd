"""Networks end as they should: regimes fail, good recipes train, seeds decide everything."""

import math

import pytest

import minidl as md
from minidl.lab import training
from minidl.lab.cnn import A_PLUS, A, B, C, Recipe, first_batch
from minidl.lab.training import Training, train

SMALL = Recipe(depth=3)


@pytest.mark.parametrize("recipe", [A, A_PLUS])
def test_too_large_weights_end_in_nan_at_once(recipe):
    run = train(recipe, seed=0)
    assert run.outcome == "diverged"
    assert run.steps == len(run.losses) <= 5
    assert not math.isfinite(run.losses[-1]) and all(map(math.isfinite, run.losses[:-1]))
    assert run.losses[0] > 100


def test_too_high_a_rate_starts_healthy_and_is_lost():
    run = train(B, seed=0)
    assert run.outcome in ("diverged", "dead")
    assert run.losses[0] < 5 and run.steps < 40


def test_positive_weights_end_at_a_blind_guess():
    run = train(C, seed=0)
    assert run.outcome == "dead"
    assert run.losses[0] > 1e9
    assert run.losses[-1] == pytest.approx(math.log(10), abs=0.05)
    assert run.accuracy < 0.2


def test_a_healthy_network_trains_and_stops():
    run = train(SMALL, seed=0)
    assert run.outcome == "trained" and run.accuracy >= 0.9
    assert run.steps % training.CHECK_EVERY == 0 and run.steps < training.STEPS


def test_too_few_steps_leave_it_stuck():
    run = train(SMALL.but(rate=0.03), seed=0, steps=12)
    assert run.outcome == "stuck" and run.steps == 12 and 0 < run.accuracy < 0.9


def test_a_seed_decides_everything_and_the_order_has_its_own():
    assert train(SMALL, 3, steps=3) == train(SMALL, 3, steps=3)
    assert train(SMALL, 3, steps=3) != train(SMALL, 4, steps=3)
    assert (first_batch(A, 3)[1] == first_batch(B, 3)[1]).all()
    assert (first_batch(A, 3)[1] != first_batch(A, 4)[1]).any()


def test_a_clip_that_meets_inf_counts_as_divergence(monkeypatch):
    def refuse(params, limit):
        raise md.errors.GradientError("clip_grad_norm: the gradient holds NaN or Inf")

    monkeypatch.setattr(md.optim, "clip_grad_norm", refuse)
    run = train(SMALL.but(clip=("norm", 1.0)), 0)
    assert run.outcome == "diverged" and run.steps == 1


def test_no_training_is_made_twice(monkeypatch):
    made = []

    def stand_in(recipe, seed):
        made.append((recipe, seed))
        return Training("trained", 1.0, 20, (2.3,))

    monkeypatch.setattr(training, "train", stand_in)
    monkeypatch.setattr(training, "_known", {})
    monkeypatch.setattr(training.os, "cpu_count", lambda: 1)  # the stand-in is here alone
    one, two = training.trainings([A, B], range(3))
    assert len(one) == len(two) == 3 and len(made) == 6
    training.trainings([B, A, A], range(1, 3))
    assert len(made) == 6


def test_trainings_in_processes_are_those_of_one_process(monkeypatch):
    monkeypatch.setattr(training, "_known", {})
    monkeypatch.setattr(training.os, "cpu_count", lambda: 2)
    [found] = training.trainings([A_PLUS], range(8))
    assert found[5].losses[0] == train(A_PLUS, 5).losses[0]
