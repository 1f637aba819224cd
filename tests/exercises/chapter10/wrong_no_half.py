"""Expect: halves the mean square"""

import math


def predict(start, layers):
    square = start**2
    for fan_in, _, sigma in layers:
        square *= fan_in * sigma**2
    return math.sqrt(square)
