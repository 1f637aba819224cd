"""The monitor: what it records is what a reader would compute by hand."""

import copy
import csv
import pickle

import numpy as np
import pytest

import minidl as md
from minidl.health import GradientMonitor
from minidl.lab import cnn


def watched(clip=None, steps=3, rate=0.1, init="he_normal", sample=64):
    """A model, its monitor and, per step, (model before, gradients, model after)."""
    md.manual_seed(0)
    model = md.nn.Sequential(
        *(md.nn.Conv2d(1, 4, 3, init=init), md.nn.ReLU(), md.nn.Flatten()),
        md.nn.Dense(4 * 26 * 26, 10, init=init),
    )
    monitor = GradientMonitor(model, sample=sample)
    optimizer = md.optim.SGD(model.parameters(), rate)
    images, labels = cnn.first_batch(cnn.HEALTHY, 0)
    history = []
    for _ in range(steps):
        optimizer.zero_grad()
        md.ops.cross_entropy(model(images), labels).backward()
        before = model.state_dict()
        gradients = {n: p.grad.data.copy() for n, p in model.named_parameters()}
        monitor.before_update()
        if clip:
            md.optim.clip_grad_norm(model.parameters(), clip)
        optimizer.step()
        monitor.after_update()
        history.append((before, gradients, model.state_dict()))
    return model, monitor, images, labels, history


def norm(x):
    return np.linalg.norm(np.asarray(x, np.float64))


def test_norms_and_ratios_by_hand():
    _, monitor, _, _, history = watched()
    assert [(r["step"], r["layer"]) for r in monitor.rows] == [
        (step, layer) for step in range(3) for layer in ("0", "3")
    ]
    for row in monitor.rows:
        before, gradients, after = history[row["step"]]
        name = row["layer"] + ".weight"
        assert row["weight"] == pytest.approx(norm(before[name]), rel=1e-5)
        assert row["weight_gradient"] == pytest.approx(norm(gradients[name]), rel=1e-5)
        moved = norm(after[name].astype(np.float64) - before[name])
        assert row["update"] == pytest.approx(moved, rel=1e-3)
        assert row["ratio"] == pytest.approx(moved / norm(before[name]), rel=1e-3)
        assert row["clipped"] == 0 and row["nan"] == 0 and row["inf"] == 0


def test_signal_and_gradient_by_hand():
    model, monitor, images, labels, history = watched(steps=1)
    model.load_state_dict(history[0][0])
    z = model.layers[0](images)
    z = md.tensor(z.data, requires_grad=True)
    hidden = z.relu().reshape(64, -1)
    logits = model.layers[3](hidden)
    loss = md.ops.cross_entropy(logits, labels)
    loss.backward()
    conv, dense = monitor.rows
    assert conv["activation"] == pytest.approx(norm(z.data) / z.size**0.5, rel=1e-4)
    assert conv["gradient"] == pytest.approx(norm(z.grad.data) / z.size**0.5, rel=1e-4)
    assert dense["activation"] == pytest.approx(norm(logits.data) / logits.size**0.5, rel=1e-4)
    never = (z.data <= 0).all((0, 2, 3)).mean()
    assert conv["dead"] == pytest.approx(never)


def test_clipping_shows():
    _, monitor, _, _, history = watched(clip=0.01)
    for row in monitor.rows:
        gradients = history[row["step"]][1].values()
        whole = np.hypot.reduce([norm(g) for g in gradients])
        assert row["clipped"] == pytest.approx(1 - 0.01 / whole, rel=1e-3)


def test_numbers_beyond_float32_squares():
    with np.errstate(all="ignore"):
        _, monitor, *_ = watched(init=md.nn.init.normal(std=1e24), steps=1)
    conv = monitor.rows[0]
    assert 1e24 < conv["activation"] < 1e27
    assert conv["weight"] == pytest.approx(1e24 * 6, rel=0.5)


@pytest.mark.parametrize(("value", "column"), [(np.nan, "nan"), (np.inf, "inf")])
def test_not_finite_is_counted(value, column):
    model, monitor, images, labels, _ = watched(steps=1)
    md.ops.cross_entropy(model(images), labels).backward()
    model.layers[0].weight.grad.data[0, 0, :2] = value
    monitor.before_update()
    monitor.after_update()
    conv, dense = monitor.rows[-2:]
    assert conv[column] == 6 and dense[column] == 0
    assert conv["nan"] + conv["inf"] == 6


def test_the_step_that_failed_is_kept(tmp_path):
    recipe = cnn.A_PLUS.but(depth=3)
    model = cnn.build(recipe, 0)
    monitor = GradientMonitor(model)
    trainer = md.Trainer(
        model,
        loss=md.ops.cross_entropy,
        optimizer=md.optim.SGD(model.parameters(), 1e10),
        monitors=[monitor],
        seed=0,
    )
    with pytest.raises(md.errors.GradientError):
        trainer.fit(cnn.images()[0], epochs=1, batch_size=64, progress=False)
    last = monitor.rows[-4:]
    assert len({row["step"] for row in last}) == 1
    assert any(row["nan"] + row["inf"] > 0 for row in last)
    assert all(row["weight"] > 0 for row in last)
    assert all(np.isnan(row["update"]) for row in last)
    pytest.importorskip("matplotlib", reason="figures need matplotlib")
    monitor.plot(tmp_path / "failed.png")
    assert (tmp_path / "failed.png").stat().st_size > 10_000


def test_evaluation_leaves_no_trace_and_detach_takes_it_off():
    model, monitor, images, labels, _ = watched(steps=1)
    model.eval()
    model(images)
    model.train()
    with md.no_grad():
        model(images)
    assert len(monitor.rows) == 2 and not monitor._seen
    monitor.detach()
    md.ops.cross_entropy(model(images), labels).backward()
    assert not any(layer.is_watched for layer in model.layers) and not monitor._seen


def trained(model, **options):
    """The model after four steps of a Trainer."""
    optimizer = md.optim.SGD(model.parameters(), 0.1)
    trainer = md.Trainer(model, optimizer=optimizer, seed=0, **options)
    trainer.fit(cnn.images()[0][:256], epochs=1, batch_size=64, progress=False)
    return model.state_dict()


def strided():
    """A network in which no convolution is fused with a pooling behind it."""
    conv = md.nn.Conv2d(1, 4, 3, stride=2)
    return md.nn.Sequential(conv, md.nn.ReLU(), md.nn.Flatten(), md.nn.Dense(4 * 13 * 13, 10))


@pytest.mark.parametrize(
    ("make", "rounding"),
    [(strided, 0), (lambda: md.models.mlp(784, [32], 10), 0), (md.models.article_cnn, 1e-5)],
)
def test_watching_changes_no_number(make, rounding):
    """But for rounding, where a convolution and its pooling would have run as one kernel."""
    results = []
    for monitored in (False, True):
        md.manual_seed(0)
        model = make()
        results.append(trained(model, monitors=[GradientMonitor(model)] if monitored else []))
    for name, plain in results[0].items():
        atol = rounding * np.abs(plain).max()
        np.testing.assert_allclose(results[1][name], plain, rtol=0, atol=atol)


def test_growth_beside_theory():
    md.manual_seed(0)
    model = md.models.mlp(784, [512] * 6, 10, "he_normal")
    monitor = GradientMonitor(model)
    images, labels = cnn.first_batch(cnn.HEALTHY, 0)
    md.ops.cross_entropy(model(images), labels).backward()
    monitor.before_update()
    monitor.after_update()
    measured, predicted = monitor.growth()
    np.testing.assert_allclose(predicted, 1, rtol=0.05)
    np.testing.assert_allclose(measured[1:-1], predicted[1:-1], rtol=0.2)


def test_files(tmp_path):
    _, monitor, *_ = watched()
    monitor.to_csv(tmp_path / "health.csv")
    with open(tmp_path / "health.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(monitor.rows)
    assert float(rows[0]["weight"]) == monitor.rows[0]["weight"]
    pytest.importorskip("matplotlib", reason="figures need matplotlib")
    monitor.plot(tmp_path / "health.png")
    assert (tmp_path / "health.png").stat().st_size > 10_000


@pytest.mark.parametrize(("height", "seen"), [(4, [1, 3]), (10, [2, 7]), (1, [0])])
def test_of_images_rows_that_are_evenly_spread_are_looked_at(height, seen):
    conv = md.nn.Conv2d(1, 1, 1, bias=False)
    conv.weight.data[...] = 1
    monitor = GradientMonitor(conv, sample=2)
    x = np.full((5, 1, height, 3), 100.0)
    x[:, :, seen] = 3
    conv(md.tensor(x)).sum().backward()
    monitor.before_update()
    monitor.after_update()
    (row,) = monitor.rows
    assert row["activation"] == pytest.approx(3)
    assert row["gradient"] == pytest.approx(1)
    assert row["dead"] == 0


def test_a_convolution_that_would_be_pooled_at_once_is_seen_as_it_is():
    md.manual_seed(0)
    model = md.models.article_cnn()
    monitor = GradientMonitor(model, sample=64)
    images, labels = cnn.first_batch(cnn.HEALTHY, 0)
    md.ops.cross_entropy(model(images), labels).backward()
    monitor.before_update()
    monitor.after_update()
    h = md.tensor(images)
    signals = []
    for layer in model.layers:
        h = layer.forward(h)
        h.retain_grad()
        signals += [h] if isinstance(layer, md.nn.Dense | md.nn.Conv2d) else []
    md.ops.cross_entropy(h, labels).backward()
    for row, z in zip(monitor.rows, signals, strict=True):
        assert row["activation"] == pytest.approx(norm(z.data) / z.size**0.5, rel=1e-4)
        assert row["gradient"] == pytest.approx(norm(z.grad.data) / z.size**0.5, rel=1e-4)


def test_a_look_of_the_doctor_is_no_step():
    md.manual_seed(0)
    model = md.models.mlp(784, [16], 10)
    monitor = GradientMonitor(model)
    optimizer = md.optim.SGD(model.parameters(), 0.1)
    md.health.doctor(model, cnn.first_batch(cnn.HEALTHY, 0), optimizer, trial_steps=2)
    assert not monitor._seen and not monitor.rows


def test_a_copy_keeps_the_rows_and_watches_nothing():
    model, monitor, images, labels, _ = watched()
    for copied in (copy.deepcopy(monitor), pickle.loads(pickle.dumps(monitor))):
        np.testing.assert_equal(copied.rows, monitor.rows)
        np.testing.assert_equal(copied.growth(), monitor.growth())
        assert repr(copied) == "GradientMonitor(2 layers, 3 steps)" and not copied.layers
        md.ops.cross_entropy(model(images), labels).backward()
        assert monitor._seen and not copied._seen
    twin, watching = copy.deepcopy((model, monitor))
    assert not any(layer.is_watched for layer in twin.layers) and watching.rows == watching.rows
    assert model.layers[0].is_watched


def test_a_figure_needs_no_path():
    pytest.importorskip("matplotlib", reason="figures need matplotlib")
    _, monitor, *_ = watched()
    assert len(monitor.plot().axes) >= 3
