"""The LAB-CNN: its variants and its images are what a recipe says."""

import numpy as np
import pytest

import minidl as md
from minidl.lab import cnn
from minidl.lab.cnn import HEALTHY, A, Recipe, build, first_batch, signals


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


def test_signals_are_the_gradients_that_reach_each_output():
    outputs, gradients = signals(Recipe(depth=3, width=4), 0)
    model = build(Recipe(depth=3, width=4), 0)
    x, labels = first_batch(HEALTHY, 0)
    z = model.layers[0](x)
    rest = md.nn.Sequential(*model.layers[1:])
    g = md.grad(lambda z: md.ops.cross_entropy(rest(z), labels))(z.detach())
    assert outputs[0] == pytest.approx(float(np.sqrt((z.numpy() ** 2).mean())), rel=1e-4)
    assert gradients[0] == pytest.approx(float(np.sqrt((g.numpy() ** 2).mean())), rel=1e-4)


def test_the_scale_multiplies_the_images_and_with_them_signal_and_gradient():
    small = HEALTHY.but(scale=1e-3)
    np.testing.assert_allclose(first_batch(small, 0)[0], 1e-3 * first_batch(HEALTHY, 0)[0], 1e-6)
    assert cnn.images("raw", 2.0)[0].images.max() == 510
    one, two = (cnn.gradient_norm(HEALTHY.but(scale=s), 0) for s in (1e-4, 1e-3))
    assert two / one == pytest.approx(10, rel=0.05)
    outputs, gradients = np.log(signals(small, 0)) - np.log(signals(HEALTHY.but(scale=2e-3), 0))
    np.testing.assert_allclose(outputs, -np.log(2), atol=0.01)
    np.testing.assert_allclose(gradients, 0, atol=0.05)
