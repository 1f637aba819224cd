"""The monitor: what it records is what a reader would compute by hand."""

import csv

import numpy as np
import pytest

import minidl as md
from minidl.health import GradientMonitor
from minidl.health.monitor import FIELDS
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
    assert any(not np.isfinite(row["weight_gradient"]) for row in last)
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
    assert all(not layer.hooks for layer in model.layers) and not monitor._seen


def test_watching_changes_no_number():
    results = []
    for monitored in (False, True):
        md.manual_seed(0)
        model = md.models.article_cnn()
        trainer = md.Trainer(
            model,
            loss=md.ops.cross_entropy,
            optimizer=md.optim.SGD(model.parameters(), 0.1),
            monitors=[GradientMonitor(model)] if monitored else [],
            seed=0,
        )
        trainer.fit(cnn.images()[0][:256], epochs=1, batch_size=64, progress=False)
        results.append(model.state_dict())
    for name, plain in results[0].items():
        np.testing.assert_array_equal(plain, results[1][name])


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


def test_of_a_pooled_convolution_images_and_rows_are_evenly_spread():
    model = md.nn.Sequential(md.nn.Conv2d(1, 1, 1, bias=False), md.nn.MaxPool2d(2))
    model[0].weight.data[...] = 1
    monitor = GradientMonitor(model, sample=2)
    x = np.full((5, 1, 4, 2), 100.0)
    x[np.ix_([1, 4], [0], [1, 3])] = 3
    model(md.tensor(x)).sum().backward()
    monitor.before_update()
    monitor.after_update()
    (row,) = monitor.rows
    assert row["activation"] == pytest.approx(3)
    assert row["gradient"] == pytest.approx(0.5)


def test_a_convolution_that_is_pooled_at_once_is_seen_as_if_it_were_not():
    found = []
    for in_one in (True, False):
        md.manual_seed(0)
        model = md.models.article_cnn()
        if not in_one:
            model[2].hooks.append(lambda module, y: None)
        monitor = GradientMonitor(model, sample=64)
        optimizer = md.optim.SGD(model.parameters(), 0.01)
        images, labels = cnn.first_batch(cnn.HEALTHY, 0)
        for _ in range(2):
            optimizer.zero_grad()
            md.ops.cross_entropy(model(images), labels).backward()
            monitor.before_update()
            optimizer.step()
            monitor.after_update()
        found.append([[row[name] for name in FIELDS if name != "layer"] for row in monitor.rows])
    np.testing.assert_allclose(*found, rtol=1e-4)
