"""Expect: the rate is still too high"""

import minidl as md


def cured(seed):
    md.manual_seed(seed)
    model = md.models.mlp(64, [64] * 8, 10, init="he_normal")
    return model, md.optim.SGD(model.parameters(), lr=1.0), None
