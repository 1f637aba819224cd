"""The right answer: mean squares multiply by fan_in·σ², and by ½ at each ReLU."""

import math


def predict(start, layers):
    square = start**2
    for fan_in, _, sigma in layers:
        square *= fan_in * sigma**2 / 2
    return math.sqrt(2 * square)
