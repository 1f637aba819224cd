"""Tell a signal that explodes from a rate that is too high, before the training."""

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import numpy as np

import minidl as md

from . import small
from .answers import Wrong, function

NAMES = ("signal", "rate", "healthy")


@dataclass(frozen=True)
class Patient:
    """A network that the reader does not see, and its disease.

    disease: the right answer, one of NAMES. factor: the standardised images are multiplied by it.
    """

    disease: str
    build: Callable[[], md.nn.Module]
    rate: float
    factor: float = 1.0

    def model(self) -> md.nn.Module:
        """The network, always with the same first weights."""
        md.manual_seed(0)
        return self.build()

    def batch(self) -> tuple[np.ndarray, np.ndarray]:
        """The images and labels of the first step."""
        images, labels = next(small.batches(0))
        return images * np.float32(self.factor), labels


def _mlp(layers: int, init: str | float = "he_normal", width: int = 64) -> md.nn.Module:
    drawn = init if isinstance(init, str) else md.nn.init.normal(std=init)
    return md.models.mlp(64, [width] * layers, 10, drawn)


def _cnn(layers: int, width: int, init: str | float = "he_normal") -> md.nn.Module:
    drawn = init if isinstance(init, str) else md.nn.init.normal(std=init)
    return md.models.deep_plain_cnn(layers, width, drawn, size=8)


PATIENTS = [
    Patient("signal", lambda: _mlp(8, 0.4), 0.1),
    Patient("rate", lambda: _mlp(8), 1.0),
    Patient("healthy", lambda: _mlp(8), 0.03),
    Patient("healthy", lambda: _mlp(0), 1.0),  # one layer takes every rate
    Patient("signal", lambda: _mlp(6), 0.03, factor=255.0),
    Patient("rate", lambda: _cnn(3, 32), 2.0),
    Patient("signal", lambda: _cnn(6, 16, 0.5), 0.01),
    Patient("healthy", lambda: _mlp(1, width=32), 0.3),
    Patient("signal", lambda: _mlp(4, 0.6), 0.03),
    Patient("rate", lambda: _mlp(4), 2.0),
]


def check(answer: ModuleType) -> str:
    """Ask about each network; for a wrong answer, show numbers that disprove it."""
    diagnose = function(answer, "diagnose")
    for number, patient in enumerate(PATIENTS, start=1):
        said = diagnose(patient.model(), *patient.batch(), patient.rate)
        if said not in NAMES:
            raise Wrong(f'Network {number}: {said!r} is none of "signal", "rate" and "healthy".')
        if said != patient.disease:
            raise Wrong(
                f'Network {number}, at rate {patient.rate:g}: you say "{said}", but it is '
                f'"{patient.disease}". {reason(patient)}'
            )
    return f"All {len(PATIENTS)} networks are named rightly."


def losses(patient: Patient, steps: int) -> list[float]:
    """The losses of its training, until one is not finite."""
    model = patient.model()
    factor = np.float32(patient.factor)
    stream = ((images * factor, labels) for images, labels in small.batches(0))
    return small.train(model, md.optim.SGD(model.parameters(), patient.rate), stream, steps)


def reason(patient: Patient) -> str:
    """Why the network has this disease, in numbers of its own training."""
    found = losses(patient, 20)
    start, highest, last = found[0], max(x for x in found if x == x), found[-1]
    if patient.disease == "signal":
        return (
            f"Its loss is {start:.3g} before the first step; that of a guess is ln 10 = 2.30. No "
            "step has been made, so the rate is not to blame."
        )
    if patient.disease == "rate":
        return (
            f"Its loss starts at {start:.3g}, less than ten times the 2.30 of a guess, so "
            "weights and images are good. "
            f"In the first {len(found)} steps it rises to {highest:.3g}."
        )
    return (
        f"Its loss goes from {start:.3g} to {last:.3g} in {len(found)} steps. A rate is too high "
        "for a network, not in itself."
    )
