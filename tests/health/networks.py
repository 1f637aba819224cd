"""Networks and reports that several tests of the doctor ask for."""

import minidl as md
from minidl.health import doctor
from minidl.lab import cnn


def said(model, rate, make=md.optim.SGD, **options):
    """The report on the first batch of digits."""
    batch = cnn.first_batch(cnn.HEALTHY, 0)
    return doctor(model, batch, make(model.parameters(), rate), **options)


def mlp(width, activation=md.nn.ReLU):
    return md.nn.Dense(784, width), activation(), md.nn.Dense(width, 10)
