"""Expect: Where it jumps, or is nan, the rate is too high"""

import minidl as md


def step(model, optimizer, images, labels):
    optimizer.zero_grad()
    loss = md.ops.cross_entropy(model(images), labels)
    loss.backward()
    optimizer.step()
    return loss.item()


def learn(images, labels, seed):
    md.manual_seed(seed)
    model = md.models.mlp(784, [32])
    optimizer = md.optim.SGD(model.parameters(), lr=50.0)
    for x, y in md.data.DataLoader((images, labels), 64, shuffle=True, seed=seed):
        step(model, optimizer, x, y)
    return model
