"""Expect: a shallow one is no cure"""

import minidl as md


def cured(seed):
    md.manual_seed(seed)
    model = md.models.mlp(64, [64], 10, init="he_normal")
    return model, md.optim.SGD(model.parameters(), lr=0.05), None
