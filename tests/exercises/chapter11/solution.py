"""The right answer: look at the loss before the first step, then at a few steps."""

import math

import numpy as np

import minidl as md


def diagnose(model, images, labels, rate):
    optimizer = md.optim.SGD(model.parameters(), rate)
    losses = []
    with np.errstate(all="ignore"):
        for _ in range(10):
            loss = md.ops.cross_entropy(model(images), labels)
            losses.append(loss.item())
            if not math.isfinite(losses[-1]):
                break
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    if losses[0] > 3 * math.log(10):
        return "signal"
    if not math.isfinite(losses[-1]) or max(losses) > 2 * losses[0]:
        return "rate"
    return "healthy"
