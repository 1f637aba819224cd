"""Expect: not by fan_in·sigma"""

import math


def predict(start, layers):
    square = start**2
    for number, (fan_in, _, sigma) in enumerate(layers):
        square *= fan_in * sigma * (0.5 if number else 1)
    return math.sqrt(square)
