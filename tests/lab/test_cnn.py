"""The LAB-CNN: its regimes fail as they should, its variants are what they say."""

import math

import numpy as np
import pytest

import minidl as md
from minidl.lab import cnn
from minidl.lab.cnn import A_PLUS, HEALTHY, A, B, C, Recipe, build, first_batch, signals, train

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
    assert run.steps % cnn.CHECK_EVERY == 0 and run.steps < cnn.STEPS


def test_too_few_steps_leave_it_stuck():
    run = train(SMALL.but(rate=0.03), seed=0, steps=12)
    assert run.outcome == "stuck" and run.steps == 12 and 0 < run.accuracy < 0.9


def test_a_seed_decides_everything_and_the_order_has_its_own():
    assert train(SMALL, 3, steps=3) == train(SMALL, 3, steps=3)
    assert train(SMALL, 3, steps=3) != train(SMALL, 4, steps=3)
    assert (first_batch(A, 3)[1] == first_batch(B, 3)[1]).all()
    assert (first_batch(A, 3)[1] != first_batch(A, 4)[1]).any()


def test_images_are_scaled_as_asked():
    train_set, test_set = cnn.images("standardised")
    assert (len(train_set), len(test_set)) == (1438, 359)
    assert float(train_set.images.mean()) == pytest.approx(0, abs=1e-4)
    assert float(train_set.images.std()) == pytest.approx(1, abs=1e-4)
    assert cnn.images("unit")[0].images.max() == 1
    assert cnn.images("raw")[0].images.max() == 255


def test_weight_normalisation_starts_with_the_length_it_is_given():
    x, _ = first_batch(HEALTHY, 0)
    own = build(A.but(body="weight_norm"), 0)
    np.testing.assert_allclose(own(x).numpy(), build(A, 0)(x).numpy(), rtol=1e-3)
    for _, layer in build(A.but(body="weight_norm", g=2**0.5), 0).named_modules():
        if isinstance(layer, md.nn.Conv2d | md.nn.Dense):
            rows = layer.weight.numpy().reshape(len(layer.weight_v), -1)
            np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 2**0.5, rtol=1e-5)


def test_a_branch_of_scale_0_leaves_two_convolutions():
    recipe = Recipe(depth=5, body="residual", branch=0.0)
    x, _ = first_batch(recipe, 0)
    short = build(recipe, 0)
    convs = [m for _, m in short.named_modules() if isinstance(m, md.nn.Conv2d)]
    assert len(convs) == 5
    head = short.layers[-1]
    by_hand = head(md.ops.flatten(convs[1](convs[0](x).relu()).relu(), 1))
    np.testing.assert_allclose(short(x).numpy(), by_hand.numpy(), rtol=1e-5)


def test_every_convolution_gets_its_batch_norm():
    model = build(Recipe(depth=4, body="batch_norm"), 0)
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds == ["Conv2d", "BatchNorm2d", "ReLU"] * 4 + ["Flatten", "Dense"]


def test_a_clip_that_meets_inf_counts_as_divergence(monkeypatch):
    def refuse(params, limit):
        raise md.errors.GradientError("clip_grad_norm: the gradient holds NaN or Inf")

    monkeypatch.setattr(md.optim, "clip_grad_norm", refuse)
    run = train(SMALL.but(clip=("norm", 1.0)), 0)
    assert run.outcome == "diverged" and run.steps == 1


def test_signals_are_the_gradients_that_reach_each_output():
    outputs, gradients = signals(Recipe(depth=3, width=4), 0)
    model = build(Recipe(depth=3, width=4), 0)
    x, labels = first_batch(HEALTHY, 0)
    z = model.layers[0](x)
    rest = md.nn.Sequential(*model.layers[1:])
    g = md.grad(lambda z: md.ops.cross_entropy(rest(z), labels))(z.detach())
    assert outputs[0] == pytest.approx(float(np.sqrt((z.numpy() ** 2).mean())), rel=1e-4)
    assert gradients[0] == pytest.approx(float(np.sqrt((g.numpy() ** 2).mean())), rel=1e-4)


def test_no_run_is_made_twice(monkeypatch):
    made = []

    def stand_in(recipe, seed):
        made.append((recipe, seed))
        return cnn.Run("trained", 1.0, 20, (2.3,))

    monkeypatch.setattr(cnn, "train", stand_in)
    monkeypatch.setattr(cnn, "_known", {})
    monkeypatch.setattr(cnn.os, "cpu_count", lambda: 1)  # no other process would see the stand-in
    one, two = cnn.runs([A, B], range(3))
    assert len(one) == len(two) == 3 and len(made) == 6
    cnn.runs([B, A, A], range(1, 3))
    assert len(made) == 6


def test_runs_in_processes_are_those_of_one_process(monkeypatch):
    monkeypatch.setattr(cnn, "_known", {})
    monkeypatch.setattr(cnn.os, "cpu_count", lambda: 2)
    [found] = cnn.runs([A_PLUS], range(8))
    assert found[5].losses[0] == train(A_PLUS, 5).losses[0]


def test_counts_name_every_outcome():
    found = [cnn.Run(o, 0.0, 1, (2.3,)) for o in ("dead", "dead", "trained")]
    assert cnn.counts(found) == {"trained": 1, "stuck": 0, "dead": 2, "diverged": 0}
