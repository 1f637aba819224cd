"""Watch gradients explode in two ways, hear the doctor before the first step, try every cure.

Run: python demos/explode.py   (about half a minute)
"""

from pathlib import Path

import minidl as md
from minidl.lab.cnn import HEALTHY, A, B, Recipe, Run, build, first_batch, signals, train
from minidl.plot import COLORS, new_figure, write_figure

SEED = 0
OUT = Path("runs/demos")

# Two ways to fail. A: weights too large, so every layer multiplies the signal by about 2.4.
# B: good weights, but a learning rate that throws them away in the first steps.
FAILURES = {
    "A: weights N(0, 0.3²), rate 0.1": A,
    "B: He weights, rate 1": B,
}
CURES = {
    "A: weights N(0, 0.3²), rate 0.1": {
        "no cure": A,
        "rate decay": A.but(schedule="decay"),
        "rate/10": A.but(rate=0.01),
        "clip norm at 1": A.but(clip=("norm", 1.0)),
        "BatchNorm": A.but(body="batch_norm"),
        "weight norm, g = √2": A.but(body="weight_norm", g=2**0.5),
        "He weights": HEALTHY,
    },
    "B: He weights, rate 1": {
        "no cure": B,
        "rate decay": B.but(schedule="decay"),
        "weight norm, g = √2": B.but(body="weight_norm", g=2**0.5),
        "clip norm at 1": B.but(clip=("norm", 1.0)),
        "rate/10": HEALTHY,
    },
}


def consult(recipe: Recipe) -> md.health.Report:
    """What the doctor says before the first step."""
    model = build(recipe, SEED)
    optimizer = md.optim.SGD(model.parameters(), recipe.rate)
    return md.health.doctor(model, first_batch(recipe, SEED), optimizer=optimizer)


def draw(reports: dict, results: dict[str, dict[str, Run]], path: Path) -> None:
    """Above: the signal by layer. Below: the loss by step, with every cure."""
    figure, axes = new_figure(11, 7.6, 2, 2, gridspec_kw={"height_ratios": [1, 1.5]}, sharey="row")
    color = dict(zip(CURES[next(iter(CURES))], ("black", *COLORS), strict=False))
    for column, (name, recipe) in enumerate(FAILURES.items()):
        above, below = axes[:, column]
        layers = range(1, recipe.depth + 1)
        above.plot(layers, signals(HEALTHY, SEED)[0], color=COLORS[0], label="healthy", linewidth=5,
                   alpha=0.4)  # fmt: skip
        above.plot(layers, signals(recipe, SEED)[0], "o-", color="black", label=name)
        above.set(yscale="log", xlabel="convolution", title=f"{name}\n{reports[name].regime}")
        above.legend(frameon=False, fontsize=8)
        for cure, run in results[name].items():
            steps = range(1, len(run.losses) + 1)
            ends = "NaN at" if run.outcome == "diverged" else f"{run.outcome}, stopped at"
            style = {"color": color[cure], "linewidth": 1.3, "linestyle": "-"}
            if cure == "no cure":
                style |= {"linewidth": 2.2, "linestyle": "--", "zorder": 3}
            below.plot(steps, run.losses, label=f"{cure}: {ends} step {run.steps}", **style)
        below.axhline(2.303, color="#666666", linestyle=":", linewidth=1)
        below.set(xscale="log", yscale="log", xlabel="step")
        below.set_ylim(0.02, 1e9)
        below.legend(frameon=False, fontsize=8, loc="upper right")
    axes[0, 0].set_ylabel("output's root mean square\nbefore the first step")
    axes[1, 0].set_ylabel("loss of the batch (nats); dotted: ln 10")
    write_figure(figure, path)


def main() -> None:
    reports, results = {}, {}
    for name, recipe in FAILURES.items():
        reports[name] = consult(recipe)
        print(f"\n{name}")
        print(f"  doctor, before the first step: {reports[name].verdict} ({reports[name].regime})")
        results[name] = {}
        for cure, changed in CURES[name].items():
            run = results[name][cure] = train(changed, SEED)
            start = "  ".join(f"{loss:.3g}" for loss in run.losses[:5])
            print(f"  {cure:<20} {run.outcome:<9} step {run.steps:<4} losses {start} ...")
    OUT.mkdir(parents=True, exist_ok=True)
    draw(reports, results, OUT / "explode.png")

    a, b = results.values()
    assert all(report.verdict == "will diverge" for report in reports.values())
    assert [r.regime for r in reports.values()] == ["signal explodes", "rate too high"]
    assert consult(HEALTHY).verdict in ("healthy", "watch")
    assert {name for name, run in a.items() if run.outcome == "trained"} == {
        "BatchNorm", "weight norm, g = √2", "He weights",
    }  # fmt: skip
    assert {n for n, run in b.items() if run.outcome == "trained"} == {"clip norm at 1", "rate/10"}
    print(
        "\nA signal that explodes is cured where it is made, by the scale of the weights; a rate"
        "\nthat is too high, at the step. None of these cures helps with both."
        f"\nFigure: {OUT / 'explode.png'}"
    )


if __name__ == "__main__":
    main()
