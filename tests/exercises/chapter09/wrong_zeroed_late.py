"""Expect: The order is `optimizer.zero_grad()`"""

import minidl as md


def step(model, optimizer, images, labels):
    loss = md.ops.cross_entropy(model(images), labels)
    loss.backward()
    optimizer.zero_grad()
    optimizer.step()
    return loss.item()


def learn(images, labels, seed):
    md.manual_seed(seed)
    model = md.models.mlp(784, [64], 10)
    opt = md.optim.SGD(model.parameters(), 0.1)
    for _ in range(8):
        for x, y in md.data.DataLoader((images, labels), 64, shuffle=True, seed=seed):
            step(model, opt, x, y)
    return model
