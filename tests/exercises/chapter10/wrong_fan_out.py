"""Expect: not fan_out"""

import math


def predict(start, layers):
    square = start**2
    for _, fan_out, sigma in layers:
        square *= fan_out * sigma**2 / 2
    return math.sqrt(2 * square)
