"""Exercise 10: predict how large a signal will be at the end of a network.

The network is a chain of dense layers with random weights and no bias:

    x -> weights -> ReLU -> weights -> ReLU -> ... -> weights

There is a ReLU after every layer but the last. `layers` lists them in order, each as
(fan_in, fan_out, sigma): it has fan_in inputs and fan_out outputs, and its weights are drawn at
random around 0 with the standard deviation sigma. The inputs x are drawn at random around 0, and
`start` is their RMS (root mean square).

`predict` returns the RMS of the last layer's outputs. The check builds such networks, measures, and
accepts an error of 5 %.
"""

Layer = tuple[int, int, float]


def predict(start: float, layers: list[Layer]) -> float:
    """The root mean square of the outputs of the last layer."""
    raise NotImplementedError
