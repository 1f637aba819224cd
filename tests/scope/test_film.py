"""Trainings, and what a pixel does."""

import numpy as np
import pytest

import minidl as md
from minidl.errors import ConfigError
from minidl.scope.film import film, outcome
from minidl.scope.pixel import images_are_apart, true_change, true_changes
from minidl.scope.settings import checked
from minidl.scope.subject import GivenModel, LabNetwork, same_batch
from minidl.scope.views import look


def lab(**settings):
    return LabNetwork().network(checked(settings))


def test_a_healthy_network_learns_and_the_same_seed_gives_the_same_frames():
    frames = list(film(lab()))
    assert frames[-1]["end"] == "learned" and frames[-1]["accuracy"] > 0.8
    assert len(frames) == 62 and [f["step"] for f in frames[1:-1]] == list(range(60))
    assert len(frames[0]["layers"]) == len(frames[1]["norms"]) == 9
    assert list(film(lab())) == frames
    assert list(film(lab(seed=1))) != frames


def test_a_film_is_the_training_that_a_trainer_makes():
    network = lab(clip=1.0)
    frames = list(film(lab(clip=1.0), steps=5))
    losses = []
    for _ in range(5):
        x, labels = network.first if not losses else next(network.batches)
        network.optimizer.zero_grad()
        loss = md.ops.cross_entropy(network.model(md.tensor(x)), labels)
        loss.backward()
        losses.append(loss.item())
        md.optim.clip_grad_norm(network.model.parameters(), 1.0)
        network.optimizer.step()
    assert [f["loss"] for f in frames[1:-1]] == losses


def test_dropout_draws_the_same_numbers_each_time():
    md.manual_seed(0)
    layers = md.nn.Flatten(), md.nn.Dense(784, 16), md.nn.Tanh(), md.nn.Dropout(0.5)
    model = md.nn.Sequential(*layers, md.nn.Dense(16, 10))
    images, labels = lab(depth=2, width=2).first
    subject = GivenModel(model, same_batch(images, labels), (), "dropout")

    def network(seed=0):
        return subject.network(checked({"seed": seed}, subject.controls))

    assert list(film(network(), 3)) == list(film(network(), 3)) != list(film(network(1), 3))
    gradient = look(network()).values[0].gradient
    change = true_change(network(), 2, (0, 9, 9), 1e-3)
    assert change == pytest.approx(float(gradient[2, 0, 9, 9]) * 1e-3, rel=0.02)


def test_large_weights_diverge_and_the_last_frame_says_when():
    frames = list(film(lab(scale=2.46)))
    assert frames[-1]["end"] == "diverged"
    assert frames[-1]["step"] == frames[-2]["step"] < 59
    last = [frames[-2]["loss"], *frames[-2]["norms"]]
    assert not np.isfinite(last).all() and np.isfinite(frames[-3]["loss"])


def test_dead_units_get_no_gradient():
    frames = list(film(lab(optimizer="adam")))
    assert frames[-1]["dead"]
    assert not any(frames[-2]["norms"][:-1])


@pytest.mark.parametrize(
    ("losses", "accuracy", "expected"),
    [
        ([2.3, 1.0], 0.5, "learned"),
        ([2.3, 2.0], 0.49, "neither"),
        ([2.3, 7.0, 2.3], 0.1, "diverged"),
        ([2.3, 6.8, 2.3], 0.1, "neither"),
        ([2.3, 7.0, 1.0], 0.6, "learned"),
        ([9.0, 26.0], 0.1, "neither"),
        ([9.0, 28.0], 0.1, "diverged"),
    ],
)
def test_outcomes_are_those_of_the_doctors_study(losses, accuracy, expected):
    assert outcome(losses, accuracy) == expected


@pytest.mark.parametrize("body", ["plain", "batch_norm"])
def test_a_small_change_of_a_pixel_does_what_the_gradient_says(body):
    network = lab(body=body, depth=3, width=4, activation="tanh")
    gradient = look(network).values[0].gradient
    for place in ((0, 0), (10, 10), (20, 5)):
        found = true_change(network, 3, (0, *place), 1e-3)
        assert found == pytest.approx(float(gradient[3, 0, *place]) * 1e-3, rel=0.02, abs=1e-12)


def test_all_pixels_of_an_image_are_as_one_by_one():
    network = lab(depth=2, width=2)
    assert images_are_apart(network.model)
    changes = true_changes(network, 1, 0.5)
    assert changes.shape == (1, 28, 28)
    for place in ((0, 0), (13, 5), (20, 17)):
        one = true_change(network, 1, (0, *place), 0.5)
        assert changes[0, *place] == pytest.approx(one, rel=1e-9, abs=1e-15)
    assert not images_are_apart(lab(body="batch_norm", depth=2, width=2).model)


def test_a_pixel_outside_the_image_is_refused():
    with pytest.raises(ConfigError, match="image from 0 to 63"):
        true_change(lab(depth=2, width=2), 0, (0, 28, 0), 1.0)
