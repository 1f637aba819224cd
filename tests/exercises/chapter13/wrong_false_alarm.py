"""Expect: That is a false alarm"""

import minidl as md


def fool(images, labels, seed):
    md.manual_seed(seed)
    model = md.models.mlp(64, [64] * 2, 10, init=md.nn.init.he_normal(gain=0.6))
    return model, md.optim.SGD(model.parameters(), 0.63)
