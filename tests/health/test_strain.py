"""How much the first update changes a network, and how much change it can take."""

import contextlib
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl as md
from minidl.health import doctor
from minidl.health.strain import compound
from minidl.lab import cnn

from .networks import mlp, said


def report(layers, optimizer=None, logits=None):
    """The report on Flatten and these layers at the first batch of digits."""
    md.manual_seed(0)
    model = md.nn.Sequential(md.nn.Flatten(), *layers)
    images, labels = cnn.first_batch(cnn.HEALTHY, 0)
    if logits is not None:  # the last layer scaled so that its outputs have this scale
        now = doctor(model, (images, labels)).numbers["logit_scale"]
        model.layers[-1].weight.data *= logits / now
    make = optimizer or (lambda p: md.optim.SGD(p, 0.01))
    return doctor(model, (images, labels), make(model.parameters()))


def numbers(layers, optimizer=None, logits=None):
    """The report's numbers."""
    return report(layers, optimizer, logits).numbers


def test_total_change_is_the_sum_over_the_layers():
    md.manual_seed(0)
    model = md.nn.Sequential(md.nn.Flatten(), *mlp(32))
    images, labels = cnn.first_batch(cnn.HEALTHY, 0)
    optimizer = md.optim.SGD(model.parameters(), 0.1)
    said = doctor(model, (images, labels), optimizer).numbers["change"]
    before = model.state_dict()
    md.ops.cross_entropy(model(images), labels).backward()
    optimizer.step()
    after = model.state_dict()
    by_hand = sum(
        np.linalg.norm(after[n] - before[n]) / np.linalg.norm(before[n])
        for n in before
        if n.endswith("weight")
    )
    assert said == pytest.approx(by_hand, rel=1e-3)


def test_a_layer_before_a_normalisation_does_not_count():
    md.manual_seed(0)
    model = md.nn.Sequential(
        md.nn.Flatten(),
        md.nn.Dense(784, 32),
        md.nn.LayerNorm(32),
        md.nn.ReLU(),
        md.nn.Dense(32, 10),
    )
    batch = cnn.first_batch(cnn.HEALTHY, 0)
    report = doctor(model, batch, md.optim.SGD(model.parameters(), 0.01))
    ratios = {row["layer"]: row["update_ratio"] for row in report.layers}
    assert ratios["1"] > 0 and report.numbers["change"] == pytest.approx(ratios["4"])


@pytest.mark.parametrize(
    ("make", "factor"),
    [
        (lambda p: md.optim.SGD(p, 0.01), 1.0),
        (lambda p: md.optim.SGD(p, 0.01, momentum=0.75), 2.0),
        (lambda p: md.optim.Adam(p, 0.01), 1.0),
        (lambda p: md.optim.AdamW(p, 0.01), 1.0),
        # Its mean square starts at 0: the tenth step is a third of the first.
        (lambda p: md.optim.RMSProp(p, 0.01), (0.01 / (1 - 0.99**10)) ** 0.5),
    ],
)
def test_the_optimizer_decides_how_far_updates_go(make, factor):
    found = numbers(mlp(32), make, logits=4.0)
    assert found["expected_change"] == pytest.approx(found["change"] * factor)


@given(st.lists(st.floats(0, 50), max_size=12))
def test_compound_change_leaves_what_no_layer_does_alone(ratios):
    s = compound(ratios)
    exact = [Fraction(r) for r in ratios]
    rest = float(math.prod(1 + r for r in exact) - 1 - sum(exact))
    assert 0 <= s <= sum(ratios) * (1 + 1e-9)  # as much as all in equal parts, at most
    assert np.expm1(s) - s == pytest.approx(rest, rel=1e-6, abs=1e-9)


def test_compound_change_by_hand():
    assert compound([]) == compound([7.0]) == compound([7.0, 0.0]) == 0
    assert compound([1e-6, 2e-6]) == pytest.approx(2e-6, rel=1e-5)  # the root of 2 r1 r2
    assert compound([0.001] * 1000) == pytest.approx(1, rel=1e-2)
    assert compound([math.inf, 1.0]) == compound([math.inf]) == compound([1e200, 1e200]) == math.inf


def normalised(width, depth):
    layers = [md.nn.Dense(784, width), md.nn.LayerNorm(width), md.nn.ReLU()]
    for _ in range(depth - 1):
        layers += [md.nn.Dense(width, width), md.nn.LayerNorm(width), md.nn.ReLU()]
    return *layers, md.nn.Dense(width, 10)


@pytest.mark.parametrize(
    ("make", "rate", "bound"),
    [(md.optim.SGD, 0.01, 0.25), (md.optim.SGD, 1e4, 0.25), (md.optim.Adam, 0.01, 1.0)],
)
def test_normalised_layers_turn_and_the_last_one_runs(make, rate, bound):
    found = report(normalised(16, 6), lambda p: make(p, rate), logits=0.1)
    ratios = [row["update_ratio"] for row in found.layers if row["weighted"]]
    turned = np.mean([min(r, 1.0) for r in ratios[:-1]])
    assert found.numbers["strain"] == pytest.approx(ratios[-1] * turned, rel=1e-3)
    assert found.numbers["largest_strain"] == bound


@pytest.mark.parametrize("between", [(), (md.nn.ReLU(),), (md.nn.MaxPool2d(2), md.nn.ReLU())])
def test_a_normalisation_takes_a_scale_away_through_relu_and_pooling(between):
    md.manual_seed(0)
    conv, size = md.nn.Conv2d(1, 4, 3, padding=1), 14 if len(between) > 1 else 28
    model = md.nn.Sequential(conv, *between, md.nn.BatchNorm2d(4), md.nn.Flatten(),
                             md.nn.Dense(4 * size * size, 10))  # fmt: skip
    found = said(model, 0.01)
    last = f"{len(model) - 1}"
    ratios = {row["layer"]: row["update_ratio"] for row in found.layers}
    assert found.numbers["change"] == pytest.approx(ratios[last])
    assert found.numbers["strain"] == pytest.approx(ratios[last] * ratios["0"])


def test_few_normalised_layers_excuse_nothing():
    """Two free layers behind one that is normalised: they diverge as without it."""
    layers = *normalised(16, 1)[:3], md.nn.Dense(16, 16), md.nn.ReLU(), md.nn.Dense(16, 10)
    found = report(layers, lambda p: md.optim.SGD(p, 30.0), logits=5.0)
    free = [row["update_ratio"] for row in found.layers if row["weighted"]][1:]
    part = found.numbers["strain"] / found.numbers["largest_strain"]
    assert part >= 0.999 * compound(free) / (0.5 * (1 + 4 / 16)) > 1


def test_small_logits_will_grow_and_the_updates_with_them():
    large, small = numbers(mlp(32), logits=5.0), numbers(mlp(32), logits=0.25)
    assert large["expected_change"] == pytest.approx(large["change"])
    assert small["expected_change"] == pytest.approx(4 * small["change"], rel=1e-3)


@pytest.mark.parametrize("part", [0.9, 0.5, 0.1])
def test_a_clip_that_binds_keeps_the_steps_from_shrinking(part):
    """The logits are large, so nothing else will grow."""
    model = clipped_model()
    batch = cnn.first_batch(cnn.HEALTHY, 0)
    bare = doctor(model, batch, md.optim.SGD(model.parameters(), 0.01)).numbers
    clip = part * bare["gradient"]
    found = doctor(model, batch, md.optim.SGD(model.parameters(), 0.01), clip=clip).numbers
    assert found["change"] == pytest.approx(part * bare["change"], rel=1e-3)
    assert found["expected_change"] == pytest.approx(min(1 / part, 4) * found["change"], rel=1e-3)


@pytest.mark.parametrize("make", [md.optim.Adam, md.optim.RMSProp])
def test_a_clip_does_not_matter_where_the_gradient_is_divided_by_its_size(make):
    model = clipped_model()
    batch = cnn.first_batch(cnn.HEALTHY, 0)
    for clip in (1e-3, 0.1, 10.0):
        clipped = doctor(model, batch, make(model.parameters(), 1e-3), clip=clip).numbers
        bare = doctor(model, batch, make(model.parameters(), 1e-3)).numbers
        later = bare["expected_change"] / bare["change"]
        assert clipped["expected_change"] == pytest.approx(later * clipped["change"])


def clipped_model():
    md.manual_seed(0)
    model = md.nn.Sequential(md.nn.Flatten(), *mlp(32))
    model.layers[-1].weight.data *= 10
    return model


def convolution(activation, width=16):
    flat = md.nn.Flatten(), md.nn.Dense(width * 26 * 26, 10)
    return md.nn.Sequential(md.nn.Conv2d(1, width, 3), activation(), *flat)


@pytest.mark.parametrize(
    ("layers", "bound", "adaptive"),
    [
        (lambda: mlp(16), 0.5 * 1.25, 1.2 * 1.25),
        (lambda: mlp(4), 0.5 * 2, 1.2 * 2),
        (
            lambda: (*mlp(16)[:2], md.nn.ReLU(), md.nn.Dense(16, 8), *mlp(8)[1:]),
            *(0.5 * 1.75, 1.2 * 1.75),
        ),
        (lambda: mlp(7, md.nn.LeakyReLU), 0.35, 1.2),
        (lambda: (md.nn.Dense(784, 10),), 0.35, 1.2),
        (
            lambda: (*mlp(14)[:2], md.nn.Residual(md.nn.Dense(14, 14)), md.nn.Dense(14, 10)),
            *(0.35, 1.2),
        ),
        (
            lambda: (md.nn.Dense(784, 50), md.nn.ReLU(), md.nn.Dense(50, 10), md.nn.Tanh()),
            *(0.5 * 1.08, 1.2 * 1.08),
        ),
    ],
)
def test_the_critical_strain_of_dense_layers(layers, bound, adaptive):
    for make, wanted in ((md.optim.SGD, bound), (md.optim.Adam, adaptive)):
        found = numbers(layers(), lambda p, make=make: make(p, 0.01))
        assert found["largest_strain"] == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("make", "dying", "alive", "bounded"),
    [
        (md.optim.SGD, 0.8, 1.1, 1.8),
        (md.optim.Adam, 1.0, 1.8, 8.0),
        (md.optim.RMSProp, 1.0, 1.8, 8.0),
    ],
)
def test_the_critical_strain_with_convolutions(make, dying, alive, bounded):
    def critical(*network):
        return said(convolution(*network), 0.01, make).numbers["largest_strain"]

    for width in (4, 16):
        assert critical(md.nn.ReLU, width) == pytest.approx(dying * (1 + 4 / width))
    assert critical(md.nn.ELU) == alive
    assert critical(md.nn.Tanh) == critical(md.nn.Sigmoid) == bounded


def test_a_single_layer_takes_every_step():
    """Its loss is convex in its weights: a rate far too high throws it about, not away."""
    report = said(md.nn.Sequential(md.nn.Flatten(), md.nn.Dense(784, 10)), 10.0)
    assert report.numbers["strain"] == 0 and report.verdict == "watch"


@pytest.mark.parametrize(
    ("rate", "verdict"), [(0.1, "healthy"), (0.5, "watch"), (3.0, "will diverge")]
)
@pytest.mark.parametrize("trial_steps", [0, 3])
def test_the_articles_cnn_takes_a_rate_of_a_half(rate, verdict, trial_steps):
    md.manual_seed(0)
    model = md.models.article_cnn()
    train, held_out = md.data.digits().split(0.2, seed=0)
    batch = train.images[:64], train.labels[:64]
    optimizer = md.optim.SGD(model.parameters(), rate)
    assert doctor(model, batch, optimizer, trial_steps=trial_steps).verdict == verdict
    trainer = md.Trainer(model, optimizer=optimizer, seed=0)
    with contextlib.suppress(md.errors.GradientError):
        trainer.fit(train, epochs=3, batch_size=64, progress=False)
    assert (trainer.evaluate(held_out)["accuracy"] > 0.8) == (verdict != "will diverge")


@pytest.mark.parametrize(
    ("make", "moved", "growth"),  # growth of the updates: momentum's, and small logits'
    [
        (lambda p: md.optim.SGD(p, 0.2), lambda h: 0.2 * 32 * h**2, (1, 8)),
        (lambda p: md.optim.SGD(p, 0.2, momentum=0.75), lambda h: 0.2 * 32 * h**2 * 2, (2, 16)),
        (lambda p: md.optim.Adam(p, 0.2), lambda h: 0.2 * 32 * h, (1, 1)),
    ],
)
@pytest.mark.parametrize("logits", [4.0, 0.0625])
@pytest.mark.parametrize("activation", [md.nn.Tanh, md.nn.Sigmoid])
def test_in_a_bounded_mlp_the_logits_run_away(activation, make, moved, growth, logits):
    """The strain is the logits' way in losses, times the change of the hidden layer."""
    layers = mlp(32, activation)
    found = report(layers, make, logits=logits)
    images, _ = cnn.first_batch(cnn.HEALTHY, 0)
    h = np.sqrt((md.nn.Sequential(md.nn.Flatten(), *layers[:2])(images).numpy() ** 2).mean())
    h = min(h * (4 if logits < 1 else 1), 1.0)  # small logits grow, and what they are made of
    way = moved(h) / max(found.numbers["loss"], found.numbers["chance"])
    hidden = min(found.layers[1]["update_ratio"] * growth[logits < 1], 1.0)
    assert found.numbers["strain"] == pytest.approx(way * hidden, rel=1e-3)
    assert found.numbers["largest_strain"] == 1.3


def test_the_logits_of_a_tanh_mlp_are_found_to_run_away():
    md.manual_seed(0)
    model = md.models.mlp(784, [256, 256], 10, "xavier_normal", activation=md.nn.Tanh)
    report = doctor(model, cnn.first_batch(cnn.HEALTHY, 0), md.optim.Adam(model.parameters(), 0.1))
    assert report.verdict == "will diverge" and report.regime == "rate too high"
