"""Expect: The third thing, clip, is True"""

import minidl as md


def cured(seed):
    md.manual_seed(seed)
    model = md.models.mlp(64, [64] * 8, 10, init="he_normal")
    return model, md.optim.SGD(model.parameters(), 0.05), True
