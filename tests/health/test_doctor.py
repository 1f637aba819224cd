"""The doctor's verdicts: each regime is named, and what it prescribes trains the network."""

import itertools
import json

import numpy as np
import pytest

import minidl as md
from minidl.errors import ConfigError, DataError
from minidl.health import doctor
from minidl.lab import cnn, training

RECIPES = {
    "healthy": (cnn.HEALTHY.but(depth=3, rate=0.05), "healthy", "none"),
    "A": (cnn.A, "will diverge", "signal explodes"),
    "A+": (cnn.A_PLUS, "will diverge", "signal explodes"),
    "B": (cnn.B, "will diverge", "rate too high"),
    "C": (cnn.C, "will diverge", "signal explodes"),
    "raw pixels": (cnn.HEALTHY.but(images="raw"), "will diverge", "signal explodes"),
    "vanishing": (cnn.HEALTHY.but(init=0.05), "will not learn", "signal vanishes"),
    "dead": (cnn.HEALTHY.but(depth=3), "will not learn", "dead"),
}


def patient(name, seed):
    """(recipe, model, optimizer) of a regime."""
    recipe = RECIPES[name][0]
    model = cnn.build(recipe, seed)
    if name == "dead":
        for layer in model.layers:
            if isinstance(layer, md.nn.Conv2d):
                layer.bias.data -= 50
    return recipe, model, md.optim.SGD(model.parameters(), recipe.rate)


def report_of(name, seed, **options):
    recipe, model, optimizer = patient(name, seed)
    return doctor(model, cnn.first_batch(recipe, seed), optimizer, **options)


def treated(recipe, remedy):
    """The recipe with the prescription carried out."""
    changes = {"init": remedy.get("init", recipe.init), "rate": remedy.get("lr", recipe.rate)}
    if remedy.get("input") == "standardize":
        changes["images"] = "standardised"
    return recipe.but(**changes)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", RECIPES)
def test_each_regime_gets_its_name(name, seed):
    _, verdict, regime = RECIPES[name]
    found = report_of(name, seed)
    assert (found.verdict, found.regime) == (verdict, regime)


@pytest.mark.parametrize("name", [n for n in RECIPES if n != "healthy"])
def test_the_prescription_trains_the_network(name):
    recipe = treated(RECIPES[name][0], report_of(name, 0).remedy)
    assert recipe != RECIPES[name][0] or name == "dead"  # its fault was in the biases alone
    run = training.train(recipe, 0)
    assert run.outcome == "trained", (recipe, run.accuracy)


@pytest.mark.parametrize("name", ["A", "A+", "B"])
def test_untreated_it_does_diverge(name):
    assert training.train(RECIPES[name][0], 0).outcome == "diverged"


@pytest.mark.parametrize("trial_steps", [0, 3])
@pytest.mark.parametrize("method", ["sgd", "momentum", "adam"])
def test_nothing_is_changed(method, trial_steps):
    model = md.nn.Sequential(
        *(md.nn.Conv2d(1, 4, 3), md.nn.BatchNorm2d(4), md.nn.ReLU(), md.nn.Dropout(0.5)),
        *(md.nn.Flatten(), md.nn.Dense(4 * 26 * 26, 10)),
    )
    optimizer = {
        "sgd": lambda: md.optim.SGD(model.parameters(), 0.1),
        "momentum": lambda: md.optim.SGD(model.parameters(), 0.1, momentum=0.9),
        "adam": lambda: md.optim.Adam(model.parameters(), 0.1),
    }[method]()
    images, labels = cnn.first_batch(cnn.HEALTHY, 0)
    md.ops.cross_entropy(model(images), labels).backward()
    optimizer.step()
    model.eval()

    def everything():
        state = optimizer.state_dict()
        gradients = [p.grad.data.copy() for p in model.parameters()]
        return model.state_dict(), state, gradients, model.training, images.copy()

    def same(a, b):
        if isinstance(a, dict):
            return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
        if isinstance(a, list | tuple):
            return len(a) == len(b) and all(map(same, a, b))
        return np.array_equal(a, b)

    before, draw = everything(), md.rng.generator().bit_generator.state
    doctor(model, (images, labels), optimizer, trial_steps=trial_steps)
    assert same(before, everything())
    assert draw == md.rng.generator().bit_generator.state
    assert not any(layer.is_watched for _, layer in model.named_modules())


def test_signals_are_predicted_from_the_weights():
    md.manual_seed(0)
    model = md.models.mlp(784, [1024] * 4, 10, "he_normal")
    images, labels = cnn.first_batch(cnn.HEALTHY, 0)
    rows = doctor(model, (images, labels)).layers
    for row in rows[1:-1]:  # the last layer has 10 units, too few for a mean
        assert row["signal"] == pytest.approx(row["predicted"], rel=0.1), row


def test_momentum_and_adam_are_measured_by_their_own_update():
    recipe = cnn.HEALTHY.but(depth=3)
    model, batch = cnn.build(recipe, 0), cnn.first_batch(recipe, 0)
    change = {}
    for name, optimizer in {
        "sgd": md.optim.SGD(model.parameters(), 0.1),
        "none": md.optim.SGD(model.parameters(), 1e-12),
        "adam": md.optim.Adam(model.parameters(), 0.1),
    }.items():
        change[name] = doctor(model, batch, optimizer).numbers["change"]
    # Adam's first step moves every weight by the rate, whatever its gradient is.
    weights = [p.data for p in model.parameters() if p.ndim > 1]
    by_hand = sum(0.1 * np.sqrt(w.size) / np.linalg.norm(w) for w in weights)
    assert change["adam"] == pytest.approx(by_hand, rel=0.05)
    assert change["none"] == pytest.approx(0, abs=1e-6)
    assert 0.01 < change["sgd"] < 1


def test_without_an_optimizer_nothing_is_said_of_the_rate():
    recipe, model, _ = patient("B", 0)
    found = doctor(model, cnn.first_batch(recipe, 0))
    assert found.regime == "none"
    assert not {"update-ratio", "trial-loss"} & {f.code for f in found.findings}
    assert all(row["update_ratio"] is None for row in found.layers)


def test_trial_steps_show_in_the_findings():
    codes = [f.code for f in report_of("B", 0, trial_steps=3).findings]
    assert "trial-loss" in codes


def test_a_signal_that_overflows_is_found_at_its_layer():
    md.manual_seed(0)
    model = md.models.mlp(784, [64] * 60, 10, md.nn.init.normal(std=1.0))
    found = doctor(model, cnn.first_batch(cnn.HEALTHY, 0))
    (finding,) = [f for f in found.findings if f.code == "non-finite"]
    assert found.verdict == "will diverge" and found.regime == "signal explodes"
    first = next(r["layer"] for r in found.layers if not np.isfinite(r["signal"]))
    assert finding.layer == first
    assert "overflow" in finding.evidence


def test_every_finding_is_complete():
    for name in RECIPES:
        found = report_of(name, 0)
        for f in found.findings:
            layers = {row["layer"] for row in found.layers} | {"model"}
            assert f.code and f.evidence and f.prescription and f.severity in ("amber", "red")
            assert f.layer in layers
            assert not f.measured <= f.threshold or f.code in ("vanishing", "dead"), (name, f)
        assert (not found.findings) == (found.verdict == "healthy")
        assert found.verdict in found.table() and all(
            f.code in found.table() for f in found.findings
        )


def test_files(tmp_path):
    found = report_of("A+", 0)
    found.to_json(tmp_path / "report.json")
    read = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert read["verdict"] == found.verdict and len(read["layers"]) == len(found.layers)
    pytest.importorskip("matplotlib", reason="figures need matplotlib")
    for name in ("A+", "healthy", "dead"):
        report_of(name, 0).plot(tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").stat().st_size > 10_000


def test_mistakes_are_explained():
    recipe, model, optimizer = patient("healthy", 0)
    images, labels = cnn.first_batch(recipe, 0)
    with pytest.raises(DataError, match=r"expected a batch \(images, labels\), got ndarray"):
        doctor(model, images)
    with pytest.raises(DataError, match="at least one image"):
        doctor(model, (images[:0], labels[:0]))
    with pytest.raises(ConfigError, match="trial_steps an int >= 0, got -1"):
        doctor(model, (images, labels), optimizer, trial_steps=-1)
    other = md.optim.SGD(cnn.build(recipe, 1).parameters(), 0.1)
    with pytest.raises(ConfigError, match="none of this model's parameters"):
        doctor(model, (images, labels), other)
    with pytest.raises(ConfigError, match="no parameters"):
        doctor(md.nn.Sequential(md.nn.Flatten()), (images, labels))


def test_clipping_is_part_of_the_update():
    recipe, model, optimizer = patient("B", 0)
    batch = cnn.first_batch(recipe, 0)
    bare = doctor(model, batch, optimizer, trial_steps=3)
    loose = doctor(model, batch, optimizer, clip=1e9, trial_steps=3)
    tight = doctor(model, batch, optimizer, clip=0.25, trial_steps=3)
    by_function = doctor(
        model, batch, optimizer, clip=lambda ps: md.optim.clip_grad_norm(ps, 0.25), trial_steps=3
    )
    assert bare.numbers == loose.numbers and bare.verdict == "will diverge"
    assert tight.numbers == by_function.numbers
    share = 0.25 / bare.numbers["gradient"]
    assert tight.numbers["change"] == pytest.approx(share * bare.numbers["change"], rel=1e-3)
    # However large the gradient becomes, the step does not; nor does it become smaller.
    assert tight.numbers["expected_change"] == pytest.approx(4 * tight.numbers["change"])
    assert tight.verdict != "will diverge"
    assert training.train(recipe.but(clip=("norm", 0.25)), 0).outcome == "trained"


def deep(depth, activation, *, frozen=False):
    """An MLP, and what the doctor says of it under plain gradient descent."""
    md.manual_seed(0)
    sizes = [784, *[128] * depth]
    hidden = [
        layer
        for n, m in itertools.pairwise(sizes)
        for layer in (md.nn.Dense(n, m, init="xavier_normal"), activation())
    ]
    model = md.nn.Sequential(md.nn.Flatten(), *hidden, md.nn.Dense(128, 10, init="xavier_normal"))
    if frozen:
        for p in model.layers[1].parameters():
            p.requires_grad = False
    optimizer = md.optim.SGD(model.parameters(), 0.05)
    return doctor(model, cnn.first_batch(cnn.HEALTHY, 0), optimizer)


@pytest.mark.parametrize("depth", [6, 8, 12, 25])
def test_a_gradient_that_vanishes_on_its_way_back_is_found(depth):
    found = deep(depth, md.nn.Sigmoid)
    assert (found.verdict, found.regime) == ("will not learn", "signal vanishes")
    first = next(f for f in found.findings if f.code in ("vanishing-gradient", "dead"))
    assert first.layer in ("1", "model")
    assert "ReLU" in found.advice()


def test_a_gradient_that_does_not_vanish_is_not_blamed():
    for depth in (2, 4, 12):
        codes = [f.code for f in deep(depth, md.nn.Tanh).findings]
        assert "vanishing-gradient" not in codes
    assert "vanishing-gradient" not in [f.code for f in deep(2, md.nn.Sigmoid).findings]
    frozen = [f.layer for f in deep(3, md.nn.Tanh, frozen=True).findings]
    assert not frozen


@pytest.mark.parametrize("rate", [1e-6, 1e-8, 1e-9, 1e-12])
def test_steps_that_are_rounded_away_are_not_called_vanishing(rate):
    md.manual_seed(0)
    layers = [(md.nn.Dense(20, 64), md.nn.ReLU())] + [
        (md.nn.Dense(64, 64), md.nn.ReLU()) for _ in range(2)
    ]
    model = md.nn.Sequential(*(part for pair in layers for part in pair), md.nn.Dense(64, 4))
    x = np.random.default_rng(0).standard_normal((64, 20), np.float32)
    found = md.health.doctor(model, (x, np.arange(64) % 4), md.optim.SGD(model.parameters(), rate))
    assert found.regime != "signal vanishes" and found.verdict in ("healthy", "watch")
