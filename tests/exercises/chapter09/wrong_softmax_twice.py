"""Expect: Softmax twice"""

import minidl as md


def step(model, optimizer, images, labels):
    loss = md.ops.cross_entropy(md.ops.softmax(model(images)), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def learn(images, labels, seed):
    md.manual_seed(seed)
    model = md.models.article_cnn()
    optimizer = md.optim.SGD(model.parameters(), lr=0.1)
    loader = md.data.DataLoader((images, labels), 64, shuffle=True, seed=seed)
    for _ in range(4):
        for some, theirs in loader:
            step(model, optimizer, some, theirs)
    return model
