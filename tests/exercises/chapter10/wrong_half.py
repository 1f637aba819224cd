"""Expect: √½, not by ½"""


def predict(start, layers):
    size = start
    for number, (fan_in, _, sigma) in enumerate(layers, start=1):
        size *= fan_in**0.5 * sigma * (1 if number == len(layers) else 0.5)
    return size
