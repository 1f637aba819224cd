"""Ask the doctor about your own model before you train it, and take what it prescribes.

Run: python demos/doctor_your_model.py   (about ten seconds)
"""

from itertools import pairwise
from pathlib import Path

import minidl as md

OUT = Path("runs/demos")


class Mine(md.nn.Module):
    """A model of your own: anything with a forward. It has two faults that are easy to make."""

    def __init__(self, init: md.nn.init.Initializer) -> None:
        widths = (1, 16, 16, 32, 32)
        self.convs = [
            md.nn.Conv2d(a, b, 3, stride=2, padding=1, init=init) for a, b in pairwise(widths)
        ]
        self.head = md.nn.Dense(32 * 2 * 2, 10, init=init)

    def forward(self, x: md.Tensor) -> md.Tensor:
        for conv in self.convs:
            x = conv(x).relu()
        return self.head(md.ops.flatten(x, 1))


def main() -> None:
    train, test = md.data.digits().split(0.2, seed=0)
    batch = (train.images[:64] * 255, train.labels[:64])  # fault 1: pixels of 0..255
    md.manual_seed(0)
    model = Mine(init=md.nn.init.normal(std=0.2))  # fault 2: a σ that ignores the fan-in
    optimizer = md.optim.SGD(model.parameters(), lr=0.1)

    before = md.health.doctor(model, batch, optimizer=optimizer)
    print(before.table())
    OUT.mkdir(parents=True, exist_ok=True)
    before.plot(OUT / "doctor-before.png")
    before.to_json(OUT / "doctor-before.json")

    # What it prescribes: inputs of scale 1, weights scaled by their fan-in.
    scale = md.data.standardize(train.images)
    md.manual_seed(0)
    cured = Mine(init="he_normal")
    optimizer = md.optim.SGD(cured.parameters(), lr=0.1)
    images, labels = train.map(scale)[:64].images, train.labels[:64]
    after = md.health.doctor(cured, (images, labels), optimizer=optimizer)
    print("\nafter the prescription:\n")
    print(after.table())
    after.plot(OUT / "doctor-after.png")

    trainer = md.Trainer(cured, loss=md.ops.cross_entropy, optimizer=optimizer, seed=0)
    trainer.fit(train.map(scale), epochs=4, batch_size=64, progress=False)
    accuracy = trainer.evaluate(test.map(scale))["accuracy"]
    assert before.verdict == "will diverge" and before.regime == "signal explodes"
    assert after.verdict in ("healthy", "watch")
    assert accuracy > 0.9
    print(
        f"\nbefore: {before.verdict}; after: {after.verdict}, and four epochs give "
        f"{accuracy:.1%} on unseen digits. Figures: {OUT}/doctor-*.png"
    )


if __name__ == "__main__":
    main()
