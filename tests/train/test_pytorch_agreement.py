"""Fifty steps of the article's CNN beside PyTorch: the same weights, data and order."""

import numpy as np
import pytest

import minidl as md
from minidl import optim
from minidl.data import DataLoader, Dataset
from minidl.models import article_cnn
from minidl.train import Trainer
from tests.device import fetch

torch = pytest.importorskip("torch", reason="PyTorch is not installed: nothing to compare with")

STEPS, BATCH = 50, 8
RECIPES = {
    "sgd": (lambda p: optim.SGD(p, 0.05), lambda p: torch.optim.SGD(p, 0.05)),
    "momentum": (
        lambda p: optim.SGD(p, 0.01, momentum=0.9),
        lambda p: torch.optim.SGD(p, 0.01, momentum=0.9),
    ),
    "adam": (lambda p: optim.Adam(p, 0.001), lambda p: torch.optim.Adam(p, 0.001)),
}


def problem(dtype):
    """Blurred class prototypes with noise: learnable, and no digits to be installed."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, STEPS * BATCH)
    prototypes = rng.random((10, 1, 7, 7)).repeat(4, axis=2).repeat(4, axis=3)
    images = 0.7 * prototypes[labels] + 0.3 * rng.random((len(labels), 1, 28, 28))
    return Dataset(images.astype(dtype), labels)


def reference(model, dtype):
    twin = torch.nn.Sequential(
        torch.nn.Conv2d(1, 32, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(32 * 14 * 14, 10),
    ).to(getattr(torch, dtype))
    twin.load_state_dict(
        {name: torch.tensor(fetch(value)) for name, value in model.state_dict().items()}
    )
    return twin


@pytest.fixture(autouse=True)
def one_thread():
    """PyTorch's idle threads keep spinning, and slow whatever runs beside them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("float64", 1e-10)])
@pytest.mark.parametrize("name", RECIPES)
def test_fifty_steps(name, dtype, tolerance):
    md.manual_seed(1)
    data = problem(dtype)
    model = article_cnn()
    for parameter in model.parameters():
        parameter.data = parameter.data.astype(dtype)
    twin = reference(model, dtype)
    ours, theirs = RECIPES[name]
    other = theirs(twin.parameters())
    expected = []
    for images, labels in DataLoader(data, BATCH, shuffle=True, seed=5):
        other.zero_grad()
        loss = torch.nn.functional.cross_entropy(
            twin(torch.from_numpy(images)), torch.from_numpy(labels)
        )
        loss.backward()
        other.step()
        expected.append(loss.item())
    trainer = Trainer(model, optimizer=ours(model.parameters()), seed=5)
    history = trainer.fit(data, epochs=1, batch_size=BATCH, progress=False)
    assert len(history) == STEPS
    np.testing.assert_allclose(history.steps["loss"], expected, rtol=tolerance)
    assert expected[-1] < 0.5 * expected[0]
    for (key, value), twin_value in zip(
        model.state_dict().items(), twin.state_dict().values(), strict=True
    ):
        np.testing.assert_allclose(
            fetch(value), twin_value.numpy(), rtol=0, atol=tolerance, err_msg=key
        )
