"""Expect: take its root"""


def predict(start, layers):
    square = start**2
    for fan_in, _, sigma in layers:
        square *= fan_in * sigma**2 / 2
    return 2 * square
