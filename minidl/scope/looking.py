"""Which network `minidl scope` looks at: the lab's or a run's, with an image of one's own."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..data import DataLoader, load_image
from ..device import Array
from ..errors import ConfigError
from ..lab import cnn
from ..modes import no_grad
from ..nn import Module
from ..runs import Run
from ..runs.data import load_data
from .settings import checked
from .subject import Batch, GivenModel, LabNetwork


def at_lab(image: str | None = None, label: int | None = None) -> LabNetwork:
    """The lab's network. image: a file to look at first, resized and standardised as the digits.

    label: its class; None takes the most probable one by the network.
    Raises: DataError for a file that is no image, ConfigError for a label that is no class.
    """
    subject = LabNetwork()
    if image is None:
        return subject
    pixels = load_image(image, gray=True, size=28)
    raw, _ = cnn.md.data.digits().split(0.2, seed=0)
    x = cnn.md.data.standardize(raw.images)(pixels[None])
    model = subject.network(checked({})).model
    return LabNetwork(own=(x, _label("scope", label, model, x, len(subject.classes))))


def at_run(folder: str, image: str | None = None, label: int | None = None) -> GivenModel:
    """The trained model of a run, on batches of its training images. image, label: as for `at_lab`.

    Raises: CheckpointError, DataError, ConfigError as for `Run.open`, and as for `at_lab`.
    """
    run = Run.open(folder)
    splits = load_data(run.config, run.normalize, progress=False)
    train, test = splits.train, splits.test

    def batches(seed: int) -> Iterator[Batch]:
        loader = DataLoader(train, min(run.config.batch_size, len(train)), shuffle=True, seed=seed)
        while True:
            yield from loader

    own = None
    if image is not None:
        channels, height, width = run.shape
        pixels = load_image(image, gray=channels == 1, size=(height, width))[None]
        x = run.normalize(pixels) if run.normalize else pixels
        own = x, _label("scope", label, run.model, x, len(run.classes))
    return GivenModel(
        run.model,
        batches,
        tuple(run.classes),
        Path(folder).name,
        run.config.build_loss(),
        own,
        (test.images[:500], test.labels[:500]),
    )


def _label(call: str, label: int | None, model: Module, x: Array, classes: int) -> Array:
    """The label of the user's image: as given, else the most probable class by the model."""
    if label is None:
        model.eval()
        with no_grad():
            label = int(model(x).numpy().argmax())
        model.train()
    if not 0 <= label < classes:
        raise ConfigError(f"{call}: expected a label from 0 to {classes - 1}, got {label}")
    return np.array([label])
