"""The simulator of a step, where its result can be said in advance."""

import importlib.util
from pathlib import Path

import pytest

pytestmark = pytest.mark.host
path = Path(__file__).parents[2] / "tools" / "scaling.py"
spec = importlib.util.spec_from_file_location("scaling", path)
scaling = importlib.util.module_from_spec(spec)
spec.loader.exec_module(scaling)
Layer, Machine, simulate = scaling.Layer, scaling.Machine, scaling.simulate


def test_one_process_computes_and_sends_nothing():
    layers = [Layer(1e6, 100), Layer(0, 8, channels=4), Layer(3e6, 100)]
    machine = Machine(speed=1e9, latency=1.0, bandwidth=1.0, overhead=0.5)
    assert simulate(layers, 1, 10, machine) == pytest.approx(0.5 + 3 * 10 * 4e6 / 1e9)


def test_one_message_at_the_end_is_added_and_buckets_are_hidden():
    layers = [Layer(1e9, 1000), Layer(1e9, 1000)]  # 1 s forward, 2 s backward each
    machine = Machine(speed=1e9, latency=0.0, bandwidth=8000.0)  # 4,000 B: 0.5 s of two processes
    logits = 40 / 8000
    whole = simulate(layers, 2, 1, machine, bucket=1e9)
    assert whole == pytest.approx(6 + logits + 1.0)
    assert simulate(layers, 2, 1, machine, bucket=1) == pytest.approx(6 + logits + 0.5)


def test_batch_normalisation_waits_for_its_messages():
    plain, normed = [Layer(1e9, 10)], [Layer(1e9, 10), Layer(0, 0, channels=100)]
    machine = Machine(speed=1e9, latency=0.25, bandwidth=1600.0)
    more = simulate(normed, 2, 1, machine) - simulate(plain, 2, 1, machine)
    assert more == pytest.approx(2 * (0.25 + 800 / 1600))


def test_the_networks_are_those_of_minidl():
    layers = scaling.layers_of("article_cnn")
    assert sum(layer.weights for layer in layers) == 63_050
    assert [layer.operations for layer in layers] == [2 * 9 * 32 * 784, 2 * 6272 * 10]
    assert sum(layer.channels > 0 for layer in scaling.layers_of("resnet_small")) == 9


def test_more_images_for_each_process_hide_the_messages():
    layers = scaling.layers_of("vgg_small")
    machine = Machine(5e10, 2e-5, 1.25e9)
    shares = [scaling.efficiency(layers, 64, images, machine) for images in (1, 8, 64)]
    assert shares == sorted(shares)
    least = scaling.least_batch(layers, 64, machine)
    assert scaling.efficiency(layers, 64, least, machine) >= 0.9
    assert scaling.efficiency(layers, 64, least // 2, machine) < 0.9


def test_processes_that_share_cores_have_a_share_of_their_speed(capsys):
    scaling.share("vgg_small", 64, 100.0, cores=2, latency=0.0, bandwidth=1e30)
    one, two, four = (float(line.split()[-2]) for line in capsys.readouterr().out.splitlines())
    assert (one, two, four) == (100.0, 50.0, 50.0)
