"""The right answer: the four lines of training, and the article's network for four epochs."""

import minidl as md


def step(model, optimizer, images, labels):
    loss = md.ops.cross_entropy(model(images), labels)
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
