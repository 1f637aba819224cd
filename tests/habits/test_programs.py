"""A newcomer's programs, written as a user of the field would write them."""

import numpy as np
import pytest

import minidl as md
from minidl import nn, ops

pytestmark = pytest.mark.host


def test_a_spiral_is_told_apart():
    rng = np.random.default_rng(0)
    n, classes = 60, 3
    angle = (
        np.linspace(0, 4, n) + rng.normal(0, 0.1, (classes, n)) + 4.2 * np.arange(classes)[:, None]
    )
    radius = np.linspace(0.05, 1, n)
    x = np.stack([radius * np.sin(angle), radius * np.cos(angle)], axis=-1).reshape(-1, 2)
    y = np.repeat(np.arange(classes), n)
    md.manual_seed(0)
    model = nn.Sequential(nn.Dense(2, 64), nn.ReLU(), nn.Dense(64, 32), nn.ReLU(), nn.Dense(32, 3))
    trainer = md.Trainer(model, optimizer=md.optim.Adam(model.parameters(), lr=0.01), seed=0)
    trainer.fit((x.astype("float32"), y), epochs=60, batch_size=30, progress=False)
    assert trainer.evaluate((x.astype("float32"), y))["accuracy"] > 0.95
    assert (trainer.predict(x.astype("float32")).argmax(axis=1) == y).mean() > 0.95


def test_a_regression_by_hand_and_by_the_trainer():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(200, 3)).astype("float32")
    y = (x @ np.array([[1.0], [-2.0], [0.5]]) + 3).astype("float32")
    w, b = md.zeros(3, 1, requires_grad=True), md.zeros(1, requires_grad=True)
    for _ in range(200):
        loss = ((md.tensor(x) @ w + b - y) ** 2).mean()
        w.grad = b.grad = None
        loss.backward()
        w.data -= 0.1 * w.grad.data
        b.data -= 0.1 * b.grad.data
    np.testing.assert_allclose(w.numpy().ravel(), [1, -2, 0.5], atol=1e-3)
    model = nn.Dense(3, 1)
    trainer = md.Trainer(
        model, loss=ops.mse_loss, optimizer=md.optim.SGD(model.parameters(), lr=0.1), seed=0
    )
    trainer.fit((x, y), epochs=20, batch_size=20, progress=False)
    assert trainer.evaluate((x, y))["loss"] < 1e-4
    np.testing.assert_allclose(trainer.predict(x[:5]), y[:5], atol=0.05)


def test_an_autoencoder_learns_its_own_images():
    images = md.data.digits().images[:200]
    md.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(8, 1, 2, stride=2),
    )
    trainer = md.Trainer(
        model, loss=ops.mse_loss, optimizer=md.optim.Adam(model.parameters(), lr=0.01), seed=0
    )
    trainer.fit((images, images), epochs=4, batch_size=20, progress=False)
    assert trainer.evaluate((images, images))["loss"] < 0.3 * images.var()
    assert trainer.predict(images[:2]).shape == images[:2].shape


def test_an_rnn_shows_its_gradient_at_each_time_step():
    md.manual_seed(0)
    steps, size = 12, 4
    cell = md.tensor(0.5 * np.eye(size), requires_grad=True)  # each step halves the gradient
    h = md.randn(1, size)
    states = []
    for _ in range(steps):
        h = h @ cell
        h.retain_grad()
        states.append(h)
    h.sum().backward()
    norms = [np.linalg.norm(s.grad.numpy()) for s in states]
    np.testing.assert_allclose(norms, [2 * 0.5 ** (steps - 1 - t) for t in range(steps)], rtol=1e-5)
    assert cell.grad.shape == (size, size)


def test_an_operation_of_ones_own_is_checked():
    from minidl.tensor import as_tensor, record

    def cube(x):
        x = as_tensor(x)
        return record(x.data**3, (x, lambda g, y: g * 3 * x * x), name="cube")

    def wrong(x):
        x = as_tensor(x)
        return record(x.data**3, (x, lambda g, y: g * 2 * x * x), name="wrong")

    x = np.random.default_rng(0).normal(size=(3, 4))
    md.testing.gradcheck(cube, x, order=2)
    with pytest.raises(md.errors.GradientError, match="wrong"):
        md.testing.gradcheck(wrong, x)
    np.testing.assert_allclose(md.grad(md.grad(lambda t: cube(t).sum()))(2.0).item(), 12.0)


def test_weights_of_pytorch_are_loaded(tmp_path):
    torch = pytest.importorskip("torch")
    theirs = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3, padding=1),
        torch.nn.BatchNorm2d(4),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(4 * 4 * 4, 3),
    ).eval()
    ours = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dense(4 * 4 * 4, 3),
    ).eval()
    ours.load_state_dict({n: t.numpy() for n, t in theirs.state_dict().items()})
    x = np.random.default_rng(0).normal(size=(2, 1, 8, 8)).astype("float32")
    expected = theirs(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(ours(x).numpy(), expected, atol=1e-5)
    from safetensors.torch import save_file

    save_file(theirs.state_dict(), tmp_path / "theirs.safetensors")
    again = md.load(tmp_path / "theirs.safetensors", nn.Sequential(*ours.layers)).eval()
    np.testing.assert_allclose(again(x).numpy(), expected, atol=1e-5)


def test_a_layer_is_replaced_and_some_weights_are_frozen():
    md.manual_seed(0)
    model = md.models.article_cnn(size=8)
    model[4] = nn.Dense(32 * 4 * 4, 2)
    for p in model[0].parameters():
        p.requires_grad = False
    before = model[0].weight.numpy().copy()
    x = np.random.default_rng(0).normal(size=(32, 1, 8, 8)).astype("float32")
    y = (x.mean((1, 2, 3)) > 0).astype(int)
    trainer = md.Trainer(model, optimizer=md.optim.SGD(model.parameters(), lr=0.05), seed=0)
    trainer.fit((x, y), epochs=3, batch_size=8, progress=False)
    assert np.array_equal(before, model[0].weight.numpy())
    state = model.state_dict()
    del state["4.bias"]
    with pytest.raises(md.errors.CheckpointError, match=r"4\.bias"):
        model.load_state_dict(state)
    assert model.load_state_dict(state, strict=False) == ["4.bias"]
