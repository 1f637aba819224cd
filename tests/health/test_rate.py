"""The test with a rising rate, and the rate that the doctor holds for safe."""

import numpy as np
import pytest

import minidl as md
from minidl.errors import ConfigError
from minidl.health import rate_test, safe_rate


def batch(n=64, seed=0):
    random = np.random.default_rng(seed)
    x = random.standard_normal((n, 20)).astype("f")
    return x, (x[:, :4] @ random.standard_normal((4, 3))).argmax(1)


def network(init="he_normal", depth=2):
    md.manual_seed(0)
    layers = []
    for _ in range(depth):
        layers += [md.nn.Dense(20, 20, init=init), md.nn.ReLU()]
    return md.nn.Sequential(*layers, md.nn.Dense(20, 3))


def losses_with(rate, steps=60, rule=md.optim.SGD):
    model, (x, y) = network(), batch(512)
    trainer = md.Trainer(model, optimizer=rule(model.parameters(), rate), seed=0)
    with np.errstate(all="ignore"):
        return trainer.fit((x, y), epochs=steps // 8, batch_size=64, progress=False)


@pytest.mark.parametrize("rule", [md.optim.SGD, md.optim.Adam])
def test_the_suggested_rate_trains(rule):
    model = network()
    found = rate_test(model, batch(512), rule(model.parameters(), 123.0))
    history = losses_with(found.suggestion, rule=rule)
    assert history.epochs["train_loss"][-1] < 0.6 * history.epochs["train_loss"][0]
    assert (np.diff(np.log(found.rates)) > 0).all() and len(found.rates) == len(found.losses)
    assert found.rates[0] == pytest.approx(1e-6)


def test_it_ends_where_the_loss_blows_up():
    model = network()
    found = rate_test(model, batch(512), md.optim.SGD(model.parameters(), 1.0), highest=1e6)
    assert len(found.rates) < 100 and found.suggestion < found.rates[-1] / 4
    assert np.isfinite(found.smooth).all()


def test_everything_is_put_back():
    model = md.nn.Sequential(md.nn.Dense(20, 8), md.nn.LayerNorm(8), md.nn.Dropout(0.5),
                             md.nn.Dense(8, 3)).eval()  # fmt: skip
    optimizer = md.optim.Adam(model.parameters(), 0.1)
    before = {n: np.array(md.tensor(v).numpy()) for n, v in model.state_dict().items()}
    state = repr(optimizer.state_dict())
    randomness = repr(md.rng.generator().bit_generator.state)
    rate_test(model, batch(128), optimizer, steps=12)
    safe_rate(model, batch(), optimizer)
    assert repr(optimizer.state_dict()) == state and optimizer.lr == 0.1 and not model.training
    assert repr(md.rng.generator().bit_generator.state) == randomness
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(md.tensor(value).numpy(), before[name])


def test_the_same_seed_gives_the_same_losses():
    found = []
    for _ in range(2):
        model = network()
        optimizer = md.optim.SGD(model.parameters(), 1.0)
        found.append(rate_test(model, batch(200), optimizer, seed=4).losses.tolist())
    assert found[0] == found[1]


def test_no_suggestion_where_nothing_is_learned():
    model = network()
    optimizer = md.optim.SGD(model.parameters(), 1.0)
    x, y = batch(64)
    found = rate_test(model, (x, y), optimizer, lowest=1e-12, highest=1e-10)
    assert found.suggestion is None and "none" in found._repr_html_()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, -1.0])
def test_a_loss_that_says_nothing(tmp_path, value):
    model = network()

    def loss(outputs, labels):
        return (outputs * 0).sum() + value

    found = rate_test(model, batch(64), md.optim.SGD(model.parameters(), 1.0), loss=loss)
    assert found.suggestion is None
    found.plot(tmp_path / "rates.png")


@pytest.mark.parametrize("options", [{"lowest": 0}, {"lowest": 2, "highest": 1}, {"steps": 0},
                                     {"highest": np.inf}, {"steps": 2.5}])  # fmt: skip
def test_numbers_that_cannot_be(options):
    model = network()
    with pytest.raises(ConfigError, match="rate_test: expected"):
        rate_test(model, batch(), md.optim.SGD(model.parameters(), 1.0), **options)


def test_the_safe_rate_is_below_one_that_is_too_high_and_trains():
    model = network(depth=6)
    optimizer = md.optim.SGD(model.parameters(), 30.0)
    rate = safe_rate(model, batch(), optimizer)
    assert rate < 15 and optimizer.lr == 30.0
    optimizer.lr = rate
    assert md.health.doctor(model, batch(), optimizer, trial_steps=5).regime == "none"


def test_a_rate_that_is_safe_stays():
    model = network()
    assert safe_rate(model, batch(), md.optim.SGD(model.parameters(), 0.01)) == 0.01


def test_where_the_signal_explodes_no_rate_helps():
    model = network(md.nn.init.normal(std=30.0), depth=6)
    assert safe_rate(model, batch(), md.optim.SGD(model.parameters(), 0.1)) == 0.1


def test_the_figure(tmp_path):
    model = network()
    found = rate_test(model, batch(512), md.optim.SGD(model.parameters(), 1.0))
    figure = found.plot(tmp_path / "rates.png")
    assert (tmp_path / "rates.png").stat().st_size > 1000
    [axis] = figure.axes
    assert f"{found.suggestion:.2g}" in axis.get_legend_handles_labels()[1][-1]
