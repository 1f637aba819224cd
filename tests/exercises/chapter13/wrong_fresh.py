"""Expect: and so it is. What gives it away is 'update-ratio'"""

import minidl as md


def fool(images, labels, seed):
    md.manual_seed(seed)
    model = md.models.mlp(64, [64] * 4, 10)
    return model, md.optim.SGD(model.parameters(), 2.0)
