"""Expect: square it before you multiply"""

import math


def predict(start, layers):
    square = start
    for number, (fan_in, _, sigma) in enumerate(layers):
        square *= fan_in * sigma**2 * (0.5 if number else 1)
    return math.sqrt(square)
