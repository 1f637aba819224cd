"""The article's remedies, one by one: does the network train with them that fails without?"""

import math

from .claims_judge import judge, lost, promise, score, seeds, tallied, tally
from .cnn import HEALTHY, A, B
from .registry import Result, experiment

SETUP_AB = (
    "LAB-CNN, 8 convolutions of 16 channels, SGD, batch 64, 200 steps. A: weights N(0, 0.3²), "
    "rate 0.1. B: He weights, rate 1."
)


@experiment(
    name="claim-weight-normalisation",
    number="C1",
    title="Weight normalisation prevents exploding gradients",
    source="the article; Salimans and Kingma 2016",
    setup=SETUP_AB,
    prediction="A and B train once every weight is g·v/‖v‖, whatever g",
)
def weight_normalisation(seed: int, quick: bool) -> Result:
    he = {"body": "weight_norm", "g": math.sqrt(2)}
    results = tally(
        {
            "A": A,
            "A, g = √2": A.but(**he),
            "A, g = ‖v‖": A.but(body="weight_norm"),
            "B": B,
            "B, g = √2": B.but(**he),
        },
        seeds(seed, quick),
    )
    names = ("A, g = √2", "A, g = ‖v‖", "B, g = √2")
    promises = [promise(name, results[name]) for name in names]
    return Result(
        promises,
        judge(promises),
        f"A: {score(results['A, g = √2'])} with g = √2, but {score(results['A, g = ‖v‖'])} with "
        "the length the weights had. A row of He weights has length √2 as well: the scale is the "
        f"cure, not the reparametrisation. B, a rate too high: {score(results['B, g = √2'])}.",
        **tallied("Weight normalisation", results),
    )


@experiment(
    name="claim-clipping",
    number="C2",
    title="Gradient clipping prevents exploding gradients",
    source="the article; Pascanu, Mikolov and Bengio 2013",
    setup=SETUP_AB + " The gradient's norm is clipped at 1.",
    prediction="A and B train with a clipped gradient",
)
def clipping(seed: int, quick: bool) -> Result:
    clip = {"clip": ("norm", 1.0)}
    results = tally(
        {"A": A, "A, clipped": A.but(**clip), "B": B, "B, clipped": B.but(**clip)},
        seeds(seed, quick),
    )
    promises = [promise(name, results[name]) for name in ("A, clipped", "B, clipped")]
    a, b = results["A, clipped"], results["B, clipped"]
    return Result(
        promises,
        judge(promises),
        f"Where the rate is too high (B) clipping cures: {score(b)}. Where the signal explodes (A) "
        f"it keeps the numbers finite ({lost(a)}) but {score(a)}: it bounds the step, not the "
        "forward pass.",
        **tallied("Clipping the gradient's norm at 1", results),
    )


@experiment(
    name="claim-rate-decay",
    number="C3",
    title="Learning-rate decay prevents exploding gradients",
    source="the article",
    setup=SETUP_AB + " The rate is halved every 50 steps.",
    prediction="A and B train with a decaying rate",
)
def rate_decay(seed: int, quick: bool) -> Result:
    decay = {"schedule": "decay"}
    results = tally(
        {
            "A": A,
            "A, decay": A.but(**decay),
            "A, rate/10": A.but(rate=A.rate / 10),
            "B": B,
            "B, decay": B.but(**decay),
            "B, rate/10": HEALTHY,
        },
        seeds(seed, quick),
    )
    promises = [promise(name, results[name]) for name in ("A, decay", "B, decay")]
    both = results["A, decay"] + results["B, decay"]
    last = max((run.steps for run in both if run.outcome in ("diverged", "dead")), default=0)
    when = "before the first decay, at step 50" if last <= 50 else f"by step {last}"
    return Result(
        promises,
        judge(promises),
        f"With decay A: {score(results['A, decay'])}, B: {score(results['B, decay'])}; every lost "
        f"run was lost {when}. A tenth of the rate from the start: A {score(results['A, rate/10'])}"
        f", B {score(results['B, rate/10'])}. What matters is the rate at the start.",
        **tallied("Decaying the rate, and starting lower", results),
    )


@experiment(
    name="claim-xavier-he",
    number="C6",
    title="Xavier and He initialisation prevent exploding gradients",
    source="the article; Glorot and Bengio 2010; He et al. 2015",
    setup=SETUP_AB,
    prediction="A trains once its weights are drawn with either",
)
def xavier_he(seed: int, quick: bool) -> Result:
    results = tally(
        {"A": A, "A, Xavier": A.but(init="xavier_normal"), "A, He": HEALTHY, "B (He)": B},
        seeds(seed, quick),
    )
    xavier, he = results["A, Xavier"], results["A, He"]
    promises = [promise("A, Xavier", xavier), promise("A, He", he)]
    return Result(
        promises,
        judge(promises),
        f"A: {score(results['A'])}; with Xavier {score(xavier)}, with He {score(he)}. The cure for "
        f"a bad scale, and for that alone: He weights at rate 1 (B) give {score(results['B (He)'])}"
        ".",
        **tallied("Weights scaled by their fan", results),
    )


@experiment(
    name="claim-input-normalisation",
    number="C7",
    title="Input normalisation prevents exploding gradients",
    source="the article; LeCun et al. 1998",
    setup="LAB-CNN, 8 convolutions of 16 channels, He weights, rate 0.01, SGD, batch 64, 200 "
    "steps.",
    prediction="0..255 diverges; [0, 1] and standardised images do not",
)
def input_normalisation(seed: int, quick: bool) -> Result:
    slow = HEALTHY.but(rate=0.01)
    results = tally(
        {
            "0..255": slow.but(images="raw"),
            "[0, 1]": slow.but(images="unit"),
            "standardised": slow,
        },
        seeds(seed, quick),
    )
    promises = [promise(name, results[name]) for name in ("[0, 1]", "standardised")]
    raw = results["0..255"]
    return Result(
        promises,
        judge(promises),
        f"Pixels of 0..255: {score(raw)} ({lost(raw)}). The same images in [0, 1]: "
        f"{score(results['[0, 1]'])}; standardised: {score(results['standardised'])}.",
        **tallied("The scale of the images, rate 0.01", results),
    )
