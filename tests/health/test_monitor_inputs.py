"""The monitor on layers, batches and calls that are not the usual ones."""

import numpy as np
import pytest

import minidl as md
from minidl.health import GradientMonitor


def seen_once(model, x, **options):
    """The rows of one step on random labels."""
    monitor = GradientMonitor(model, **options)
    y = model(md.tensor(x))
    y.sum().backward()
    monitor.before_update()
    md.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.01).step()
    monitor.after_update()
    return monitor


@pytest.mark.parametrize("shape", [(4,), (20, 4), (20, 5, 4), (20, 5, 7, 4)])
def test_the_units_of_a_dense_layer_are_its_last_axis(shape):
    dense = md.nn.Dense(4, 6, init="zeros")
    dense.bias.data[...] = [1, -1, -1, -1, -1, -1]
    (row,) = seen_once(dense, np.ones(shape)).rows
    assert row["dead"] == pytest.approx(5 / 6)
    assert row["activation"] == pytest.approx(1)


def test_all_of_a_dense_layer_is_seen_whatever_its_shape():
    x = np.zeros((64, 3, 64, 1))
    x[:, :, 0] = 100
    (row,) = seen_once(md.nn.Dense(1, 2, init=md.nn.init.constant(1)), x).rows
    assert row["activation"] == pytest.approx(12.5)


def test_what_a_step_did_not_show_is_nan(tmp_path):
    model = md.models.mlp(8, [5], 3)
    for p in model[1].parameters():
        p.requires_grad = False
    monitor = seen_once(model, np.ones((4, 8)))
    frozen, free = monitor.rows
    assert np.isnan([frozen["activation"], frozen["gradient"], frozen["dead"]]).all()
    assert frozen["update"] == 0 and np.isfinite(list(free.values())[2:]).all()
    pytest.importorskip("matplotlib", reason="figures need matplotlib")
    monitor.plot(tmp_path / "frozen.png")


def test_growth_is_predicted_from_the_weights_of_the_first_step():
    model = md.models.mlp(64, [512, 512], 10)
    monitor = GradientMonitor(model)
    model.load_state_dict({name: value * 10 for name, value in model.state_dict().items()})
    model(np.random.default_rng(0).standard_normal((64, 64), np.float32)).sum().backward()
    monitor.before_update()
    monitor.after_update()
    measured, predicted = monitor.growth()
    np.testing.assert_allclose(measured[0], predicted[0], rtol=0.1)
    np.testing.assert_allclose(predicted, 10, rtol=0.1)


def test_only_parameters_are_weights():
    class Masked(md.nn.Dense):
        buffers = ("weight_mean",)

        def __init__(self, *sizes):
            super().__init__(*sizes)
            self.weight_mask, self.weight_decay = np.ones(sizes), 0.1
            self.weight_mean = md.tensor(self.weight.data * 10)

    layer = Masked(4, 3)
    before = np.linalg.norm(layer.weight.data)
    assert seen_once(layer, np.ones((2, 4))).rows[0]["weight"] == pytest.approx(before)


def test_a_layer_without_rows_is_not_seen():
    (row,) = seen_once(md.nn.Dense(4, 3), np.ones((0, 4))).rows
    assert np.isnan(row["activation"])


def test_gradients_that_are_gone_were_not_clipped():
    model = md.models.mlp(8, [], 3)
    monitor = GradientMonitor(model)
    optimizer = md.optim.SGD(model.parameters(), 0.1)
    model(np.ones((2, 8), np.float32)).sum().backward()
    monitor.before_update()
    optimizer.step()
    optimizer.zero_grad()
    monitor.after_update()
    assert np.isnan(monitor.rows[0]["clipped"])


def test_no_warning_where_squares_overflow(recwarn):
    layer = md.nn.Dense(4, 4, init=md.nn.init.constant(1e20))
    monitor = seen_once(layer, np.full((2, 4), 1e5, np.float32))
    assert monitor.rows[0]["activation"] == pytest.approx(4e25) and not recwarn.list


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda m, folder: GradientMonitor(m, sample=0), "sample an int >= 1, got 0"),
        (lambda m, folder: GradientMonitor(None), "nn.Module"),
        (lambda m, folder: GradientMonitor(m).column("typo"), "got 'typo'"),
        (lambda m, folder: GradientMonitor(m).column("layer"), "got 'layer'"),
        (lambda m, folder: GradientMonitor(m).growth(), "no steps"),
        (lambda m, folder: GradientMonitor(m).plot(folder / "a.png"), "no steps"),
        (lambda m, folder: GradientMonitor(m).after_update(), "before_update"),
        (lambda m, folder: GradientMonitor(m).to_csv(folder / "no" / "a.csv"), "cannot write"),
        (lambda m, folder: GradientMonitor(m).to_csv(folder), "cannot write"),
    ],
)
def test_mistakes_are_named(mistake, words, tmp_path):
    with pytest.raises(md.errors.ConfigError, match=words):
        mistake(md.nn.Dense(4, 3), tmp_path)


def test_detach_twice():
    model = md.models.mlp(8, [], 3)
    first, second = GradientMonitor(model), GradientMonitor(model)
    first.detach()
    first.detach()
    assert model[1].is_watched
    second.detach()
    assert not model[1].is_watched
