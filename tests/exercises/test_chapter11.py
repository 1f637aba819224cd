"""The ten networks have the diseases that the exercise says: each is trained."""

import math

import pytest

from minidl.exercises import chapter11, small


@pytest.mark.parametrize("patient", chapter11.PATIENTS, ids=range(1, 11))
def test_the_disease_is_what_training_shows(patient):
    losses = chapter11.losses(patient, 100)
    assert (losses[0] > 3 * small.LN10) == (patient.disease == "signal")
    if patient.disease == "healthy":
        assert losses[-1] < 0.5
    else:
        last = losses[-1]
        assert not math.isfinite(last) or last > 0.95 * small.LN10
    if patient.disease == "rate":
        assert max(losses[:10]) > 2 * losses[0]
