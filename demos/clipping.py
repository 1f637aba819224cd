"""What clipping does and does not do: three ways to clip, in the two regimes that explode.

Run: python demos/clipping.py   (about half a minute)
"""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

import minidl as md
from minidl.lab.cnn import A, B, Recipe, build, evaluate, images
from minidl.plot import COLORS, new_figure, write_figure

EPOCHS, SEED = 4, 0
OUT = Path("runs/demos/clipping.png")
Clip = Callable[[md.nn.Module], float]
CLIPS: dict[str, Clip | None] = {
    "not clipped": None,
    # Each element to [-0.01, 0.01]: the direction changes.
    "by value 0.01": lambda model: md.optim.clip_grad_value(model.parameters(), 0.01),
    # The whole gradient to length 1: the direction stays.
    "by norm 1": lambda model: md.optim.clip_grad_norm(model.parameters(), 1.0),
    # Each unit's gradient to 1 % of its weights; the head (the last weight and bias) left out.
    "adaptive 0.01": lambda model: md.optim.clip_grad_adaptive(model.parameters()[:-2], 0.01),
}


def norm(model: md.nn.Module) -> float:
    """‖gradient‖ of all parameters, in float64 so that its squares cannot overflow."""
    grads = [p.grad.data.astype(np.float64) for p in model.parameters() if p.grad is not None]
    return math.hypot(*(float(np.linalg.norm(g)) for g in grads))


def run(recipe: Recipe, clip: Clip | None) -> tuple[list[float], float]:
    """(gradient norms before clipping, test accuracy); it ends at the first NaN."""
    train, test = images()
    model, norms = build(recipe, SEED), []
    optimizer = md.optim.SGD(model.parameters(), recipe.rate)
    # The batches of explode.py.
    loader = md.data.DataLoader(train, 64, shuffle=True, seed=10_000 + SEED, drop_last=True)
    with np.errstate(all="ignore"):
        for _ in range(EPOCHS):
            for x, labels in loader:
                optimizer.zero_grad()
                loss = md.ops.cross_entropy(model(x), labels)
                loss.backward()
                norms.append(norm(model))
                if not math.isfinite(norms[-1]):
                    return norms, 0.0
                if clip is not None:
                    clip(model)
                optimizer.step()
        return norms, evaluate(model, test)


def main() -> None:
    figure, axes = new_figure(11, 4.4, 1, 2, sharey=True)
    accuracy = {}
    for axis, (regime, recipe) in zip(axes, {"A": A, "B": B}.items(), strict=True):
        for color, (name, clip) in zip(COLORS, CLIPS.items(), strict=False):
            norms, accuracy[regime, name] = run(recipe, clip)
            end = f"accuracy {accuracy[regime, name]:.0%}"
            if not math.isfinite(norms[-1]):
                end = f"NaN at step {len(norms)}"
            elif norms[-1] < 1 and accuracy[regime, name] < 0.2:
                end = "dead"
            print(f"{regime}, {name:<14} first norms " + "  ".join(f"{n:.2g}" for n in norms[:4])
                  + f"  ...  {end}")  # fmt: skip
            axis.plot(range(1, len(norms) + 1), norms, color=color, label=f"{name}: {end}")
        axis.set(xscale="log", yscale="log", xlabel="step", ylim=(1e-2, 1e9))
        axis.legend(frameon=False, fontsize=8)
    axes[0].set(title="A: weights too large", ylabel="‖gradient‖ before clipping")
    axes[1].set_title("B: rate too high")
    OUT.parent.mkdir(parents=True, exist_ok=True)
    write_figure(figure, OUT)

    assert accuracy["A", "not clipped"] < 0.2 and accuracy["B", "not clipped"] < 0.2
    assert accuracy["B", "by norm 1"] > 0.8, "a rate too high is cured by bounding the step"
    assert accuracy["A", "by norm 1"] < 0.9, "a signal that explodes is not"
    print(
        "\nThe curves are what arrives before clipping: in B clipping brings it down, in A the"
        f"\nweights keep making it, step after step. Figure: {OUT}"
    )


if __name__ == "__main__":
    main()
