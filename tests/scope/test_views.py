"""What the page is sent about a network, and what theory says beside it."""

import json

import numpy as np
import pytest

import minidl as md
from minidl.scope.expected import expected_gradients, expected_signals
from minidl.scope.settings import checked
from minidl.scope.subject import GivenModel, LabNetwork, same_batch
from minidl.scope.views import look, network_view, operations_view
from tests.scope.test_pack import unpacked


def lab(**settings):
    return LabNetwork().network(checked(settings))


@pytest.mark.parametrize("scale", [0.4, 1.0, 2.46])
def test_theory_tells_signal_and_gradient_to_a_factor(scale):
    """Over 8 layers of random weights chance alone makes a factor of about 2."""
    found = {"signal": [], "gradient": []}
    for seed in range(5):
        record = look(lab(scale=scale, seed=seed))
        signals = expected_signals(record.calls)
        gradients = expected_gradients(record.calls, signals)
        first, last = record.calls[0], record.calls[-1]
        found["signal"].append(last.out_rms / signals[-1])
        found["gradient"].append(first.gradient_rms / gradients[0])
    for ratios in found.values():
        assert 0.5 < np.exp(np.mean(np.log(ratios))) < 2.5


@pytest.mark.parametrize("activation", ["tanh", "gelu", "sigmoid", "leaky_relu"])
def test_theory_knows_other_activations(activation):
    record = look(lab(activation=activation, depth=4, width=32))
    signals = expected_signals(record.calls)
    for call, size in zip(record.calls, signals, strict=True):
        assert size == pytest.approx(call.out_rms, rel=0.6), call.name
    gradients = expected_gradients(record.calls, signals)
    assert gradients[0] == pytest.approx(record.calls[0].gradient_rms, rel=0.7)


def test_each_layer_multiplies_by_the_scale_of_the_weights():
    """The lesson of the page: 1 × He keeps the size, 2.46 × He multiplies it by about 2.46."""

    def factors(scale):
        network = lab(scale=scale)
        rows = network_view(network)["layers"][:-1]
        signal = (rows[-1]["signal"] / rows[0]["signal"]) ** (1 / 7)
        return signal, (rows[0]["gradient"] / rows[-1]["gradient"]) ** (1 / 7)

    for scale in (0.4, 1.0, 2.46):
        for factor in factors(scale):
            assert factor == pytest.approx(scale, rel=0.25)


def test_the_network_view_has_the_doctors_own_words():
    network = lab(scale=2.46)
    view = network_view(network)
    report = md.health.doctor(network.model, network.first, network.optimizer)
    assert view["doctor"]["verdict"] == report.verdict == "will diverge"
    assert [f["code"] for f in view["doctor"]["findings"]] == [f.code for f in report.findings]
    assert view["layers"][0]["update"] == report.layers[0]["update_ratio"]
    assert view["loss"] == report.numbers["loss"]


@pytest.mark.parametrize(
    ("settings", "group"),
    [
        ({}, "plain"),
        ({"optimizer": "momentum"}, "various"),
        ({"body": "batch_norm"}, "various"),
        ({"activation": "tanh"}, "various"),
        ({"clip": 1.0}, "various"),
        ({"depth": 2}, "shallow"),
    ],
)
def test_error_rates_are_those_of_networks_like_this_one(settings, group):
    network = lab(**settings)
    assert network_view(network)["doctor"]["group"] == group


def test_views_are_json_whatever_the_numbers():
    network = lab(scale=10.0, depth=32, inputs=255.0)
    record = look(network)
    for view in (network_view(network), operations_view(record, 3)):
        json.dumps(view, allow_nan=False)


def test_the_operations_view_holds_the_chosen_image():
    network = lab(depth=3, width=4)
    record = look(network)
    view = operations_view(record, 5)
    images = view["values"][0]
    assert np.array_equal(unpacked(images["value"]["data"]), network.first[0][5])
    assert np.array_equal(unpacked(images["gradient"]["data"]), record.values[0].gradient[5])
    kernel = next(v for v in view["values"] if v["name"] == "2.weight")
    assert np.array_equal(unpacked(kernel["value"]["data"]), record.value("2.weight").data)


@pytest.mark.parametrize("place", [(0, 0, 0), (3, 3, 4), (1, 6, 6)])
def test_a_convolution_can_be_written_out_from_what_is_sent(place):
    """The sum over the window, and the gradients that a pixel gathers, from the view alone."""
    view = operations_view(look(lab(depth=3, width=4)), 0)
    operation = view["operations"][2]
    assert operation["name"] == "conv2d"
    value = [unpacked(view["values"][i]["value"]["data"]) for i in operation["inputs"]]
    output = view["values"][operation["output"]]
    y, g = (unpacked(output[what]["data"]) for what in ("value", "gradient"))
    dx = unpacked(view["values"][operation["inputs"][0]]["gradient"]["data"])
    x, w, b = value
    stride, pads = operation["window"]["stride"], operation["window"]["pads"]
    o, r, c = place
    total = b[o]
    for k, i, j in np.ndindex(w.shape[1:]):
        row, column = r * stride[0] + i - pads[0], c * stride[1] + j - pads[1]
        if 0 <= row < x.shape[1] and 0 <= column < x.shape[2]:
            total += w[o, k, i, j] * x[k, row, column]
    assert total == pytest.approx(y[place], rel=1e-4, abs=1e-6)

    k, p, q = place
    total = 0.0
    for o, i, j in np.ndindex(w.shape[0], *w.shape[2:]):
        r, left = divmod(p + pads[0] - i, stride[0])
        c, right = divmod(q + pads[1] - j, stride[1])
        if not (left or right) and 0 <= r < g.shape[1] and 0 <= c < g.shape[2]:
            total += w[o, k, i, j] * g[o, r, c]
    assert total == pytest.approx(dx[place], rel=1e-4, abs=1e-9)


def test_a_given_model_stays_as_it_is():
    md.manual_seed(0)
    model = md.models.article_cnn()
    before = model.state_dict()
    x = np.random.default_rng(0).normal(size=(4, 1, 28, 28)).astype(np.float32)
    subject = GivenModel(model, same_batch(x, np.arange(4)), ("a", "b", "c", "d"), "mine")
    network = subject.network(checked({"scale": 2.0}, subject.controls))
    network_view(network)
    assert np.allclose(network.model.layers[0].weight.numpy(), 2 * before["0.weight"])
    for name, values in model.state_dict().items():
        assert np.array_equal(values, before[name])
    assert all(p.grad is None for p in model.parameters())
    assert not any(layer.is_watched for layer in model.layers)
