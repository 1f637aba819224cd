"""Exercise 13: fool the doctor.

`fool` returns (model, optimizer). The model reads digits of 8×8 pixels, standardised: images
(N, 1, 8, 8), ten logits. The optimizer holds its parameters. The check asks

    md.health.doctor(model, batch, optimizer)

about them and a batch of 64 images. Then it trains for 60 steps. You have fooled the doctor if it
said "healthy" or "watch", and the training diverges all the same: a loss that is not finite, or one
that rises above three times the larger of its start and ln 10, with fewer than 20 % of the unseen
digits right in the end. It must happen with three seeds of three.

`images` and `labels` are there for you, if you want to do something with the model first. Chapter
13 says where the doctor is blind.
"""

from typing import Any

import numpy as np

import minidl as md


def fool(images: np.ndarray, labels: np.ndarray, seed: int) -> tuple[md.nn.Module, Any]:
    """(model, optimizer)."""
    raise NotImplementedError
