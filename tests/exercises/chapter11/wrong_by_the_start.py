"""Expect: times the 2.30 of a guess"""

import math

import minidl as md


def diagnose(model, images, labels, rate):
    loss = md.ops.cross_entropy(model(images), labels).item()
    return "signal" if loss > 3 * math.log(10) else "healthy"
