"""Expect: and it is right"""

import minidl as md


def fool(images, labels, seed):
    md.manual_seed(seed)
    model = md.models.mlp(64, [64] * 4, 10)
    optimizer = md.optim.SGD(model.parameters(), 0.05)
    for _ in range(15):
        for some, theirs in md.data.DataLoader((images, labels), 64, shuffle=True, seed=seed):
            optimizer.zero_grad()
            md.ops.cross_entropy(model(some), theirs).backward()
            optimizer.step()
    return model, md.optim.SGD(model.parameters(), 0.05)
