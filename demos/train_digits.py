"""The main job: the article's CNN learns real handwritten digits.

Run: python demos/train_digits.py   (under a minute)

First by hand: the network and plain gradient descent, θ ← θ - α∇L, from five seeds. Then the same
network by `md.Trainer` with Adam. The Trainer adds progress, checkpoints and a history. Accuracy is
measured on a fifth of the images, which is held out from training.
"""

import shutil
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import minidl as md

OUT = Path("runs/demo")
SEEDS, RATE, EPOCHS, BATCH = range(5), 0.1, 15, 64
train, test = md.data.digits().split(0.2, seed=0)  # 1,438 and 359 images of 28×28 pixels in [0, 1]


def network(seed):
    """Convolution 3×3 with 32 filters, ReLU, 2×2 max-pooling, dense; cross_entropy has softmax."""
    md.manual_seed(seed)
    return md.nn.Sequential(
        md.nn.Conv2d(1, 32, 3, padding="same", init="he_normal"),  # (N, 32, 28, 28)
        md.nn.ReLU(),
        md.nn.MaxPool2d(2),  # (N, 32, 14, 14)
        md.nn.Flatten(),  # (N, 6272)
        md.nn.Dense(32 * 14 * 14, 10),  # (N, 10)
    )


def descend(model, seed):
    """Plain gradient descent; (the loss, the norm of the kernels' gradient) of each step."""
    found = []
    for epoch in range(EPOCHS):
        loader = md.data.DataLoader(train, BATCH, shuffle=True, seed=100 * seed + epoch)
        for images, labels in loader:
            loss = md.ops.cross_entropy(model(images), labels)
            for p in model.parameters():
                p.grad = None
            loss.backward()
            for p in model.parameters():
                p.data = p.data - np.float32(RATE) * p.grad.data
            found.append((loss.item(), np.linalg.norm(model.layers[0].weight.grad.numpy())))
        print(f"\rseed {seed}, epoch {epoch + 1} of {EPOCHS}: loss {found[-1][0]:.4f}", end="")
    return np.array(found).T


def accuracy(model):
    return (model(test.images).numpy().argmax(1) == test.labels).mean()


shutil.rmtree(OUT, ignore_errors=True)
OUT.mkdir(parents=True)
figure = Figure(figsize=(10, 4), layout="constrained")
left, right = figure.subplots(1, 2)
by_hand, by_trainer = [], []
for seed in SEEDS:
    model = network(seed)
    losses, norms = descend(model, seed)
    by_hand.append(accuracy(model))
    print(f", accuracy {by_hand[-1]:.1%}")
    left.semilogy(losses, linewidth=0.8, label=f"seed {seed}: {by_hand[-1]:.1%}")
    right.semilogy(norms, linewidth=0.8)
left.set(title="gradient descent: loss of the batch", xlabel="step")
left.legend(title="accuracy on unseen digits")
right.set(title="‖gradient‖ of the convolution's kernels", xlabel="step")
figure.savefig(OUT / "descent.png")
health = md.health.doctor(model, (train.images[:64], train.labels[:64]))
md.save(OUT / "descent.safetensors", model)

for seed in SEEDS:
    model = network(seed)
    trainer = md.Trainer(model, optimizer=md.optim.Adam(model.parameters(), lr=0.002), seed=seed)
    trainer.fit(train, validation=test, epochs=10, batch_size=BATCH, out=OUT / f"adam-{seed}")
    by_trainer.append(trainer.evaluate(test)["accuracy"])
    print(f"Adam, seed {seed}: accuracy {by_trainer[-1]:.1%}")

assert np.mean(by_hand) >= 0.96 and np.mean(by_trainer) >= 0.97
print(f"\nmean accuracy on unseen digits: gradient descent by hand {np.mean(by_hand):.2%},")
print(f"md.Trainer with Adam {np.mean(by_trainer):.2%}; gradient health {health.verdict}.")
print(f"Weights, histories and checkpoints: {OUT}. Figure: {OUT}/descent.png")
