"""Expect: multiply the factors of all layers"""

import math


def predict(start, layers):
    fan_in, _, sigma = layers[-1]
    return start * math.sqrt(fan_in) * sigma
