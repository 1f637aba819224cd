"""Expect: the signal vanishes: the weights are too small"""

import minidl as md


def cured(seed):
    md.manual_seed(seed)
    model = md.models.mlp(64, [64] * 8, 10, init=md.nn.init.normal(std=0.01))
    return model, md.optim.SGD(model.parameters(), 0.1), None
