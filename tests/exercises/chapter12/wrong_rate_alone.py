"""Expect: the weights are still too large"""

import minidl as md


def cured(seed):
    md.manual_seed(seed)
    model = md.models.mlp(64, [64] * 8, 10, init=md.nn.init.normal(std=0.4))
    return model, md.optim.SGD(model.parameters(), lr=0.05), None
