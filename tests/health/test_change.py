"""How much the first update changes a network, and how much it bears."""

import numpy as np
import pytest

import minidl as md
from minidl.health import doctor, rules
from minidl.health.change import largest_change
from minidl.health.doctor import Trial
from minidl.lab import cnn, doctor_study


def numbers(layers, optimizer=None, logits=None):
    """The report's numbers for Flatten and these layers on the first batch of digits."""
    md.manual_seed(0)
    model = md.nn.Sequential(md.nn.Flatten(), *layers)
    images, labels = cnn.first_batch(cnn.HEALTHY, 0)
    if logits is not None:  # the last layer scaled so that its outputs have this scale
        now = doctor(model, (images, labels)).numbers["logit_scale"]
        model.layers[-1].weight.data *= logits / now
    make = optimizer or (lambda p: md.optim.SGD(p, 0.01))
    return doctor(model, (images, labels), make(model.parameters())).numbers


def mlp(width, activation=md.nn.ReLU):
    return md.nn.Dense(784, width), activation(), md.nn.Dense(width, 10)


def test_total_change_is_the_sum_over_the_layers():
    md.manual_seed(0)
    model = md.nn.Sequential(md.nn.Flatten(), *mlp(32))
    images, labels = cnn.first_batch(cnn.HEALTHY, 0)
    optimizer = md.optim.SGD(model.parameters(), 0.1)
    said = doctor(model, (images, labels), optimizer).numbers["change"]
    before = model.state_dict()
    md.ops.cross_entropy(model(images), labels).backward()
    optimizer.step()
    after = model.state_dict()
    by_hand = sum(
        np.linalg.norm(after[n] - before[n]) / np.linalg.norm(before[n])
        for n in before
        if n.endswith("weight")
    )
    assert said == pytest.approx(by_hand, rel=1e-3)


def test_a_layer_before_a_normalisation_does_not_count():
    md.manual_seed(0)
    model = md.nn.Sequential(
        md.nn.Flatten(),
        md.nn.Dense(784, 32),
        md.nn.LayerNorm(32),
        md.nn.ReLU(),
        md.nn.Dense(32, 10),
    )
    batch = cnn.first_batch(cnn.HEALTHY, 0)
    report = doctor(model, batch, md.optim.SGD(model.parameters(), 0.01))
    ratios = {row["layer"]: row["update_ratio"] for row in report.layers}
    assert ratios["1"] > 0 and report.numbers["change"] == pytest.approx(ratios["4"])


@pytest.mark.parametrize(
    ("make", "reach"),
    [
        (lambda p: md.optim.SGD(p, 0.01), 1.0),
        (lambda p: md.optim.SGD(p, 0.01, momentum=0.75), 2.0),
        (lambda p: md.optim.Adam(p, 0.01), 1.0),
        (lambda p: md.optim.AdamW(p, 0.01), 1.0),
        (lambda p: md.optim.RMSProp(p, 0.01), 1.0),
    ],
)
def test_the_optimizer_decides_how_far_updates_go(make, reach):
    found = numbers(mlp(32), make, logits=4.0)
    assert found["expected_change"] == pytest.approx(found["change"] * reach)


@pytest.mark.parametrize(
    ("layers", "bound"),
    [
        (lambda: (md.nn.Dense(784, 16), md.nn.LayerNorm(16), *mlp(16)[1:]), 7.0),
        (lambda: mlp(16, md.nn.Sigmoid), 7.0),
        (lambda: mlp(16), 1.5),
        (lambda: (*mlp(16, md.nn.Tanh)[:2], md.nn.Dense(16, 16), *mlp(16)[1:]), 1.5),
    ],
)
def test_what_a_network_bears_of_steps_as_large_as_the_rate(layers, bound):
    for make in (md.optim.Adam, md.optim.RMSProp):
        found = numbers(layers(), lambda p, make=make: make(p, 0.01), logits=0.1)
        assert found["expected_change"] == pytest.approx(found["change"])
        assert found["largest_change"] == bound


def test_small_logits_will_grow_and_the_updates_with_them():
    large, small = numbers(mlp(32), logits=5.0), numbers(mlp(32), logits=0.25)
    assert large["expected_change"] == pytest.approx(large["change"])
    assert small["expected_change"] == pytest.approx(4 * small["change"], rel=1e-3)


@pytest.mark.parametrize(
    ("layers", "bound"),
    [
        (lambda: mlp(12), 2.7),
        (lambda: mlp(6), 4.5),
        (lambda: mlp(7, md.nn.Sigmoid), 1.2),
        (lambda: mlp(7, md.nn.LeakyReLU), 1.2),
        (lambda: (md.nn.Dense(784, 10),), 1.2),
        (lambda: (*mlp(14)[:2], md.nn.Residual(md.nn.Dense(14, 14)), md.nn.Dense(14, 10)), 1.2),
        (
            lambda: (md.nn.Dense(784, 50), md.nn.ReLU(), md.nn.Dense(50, 10), md.nn.Tanh()),
            0.9 * 1.48,
        ),
    ],
)
def test_what_a_network_bears(layers, bound):
    assert numbers(layers())["largest_change"] == pytest.approx(bound)


def test_a_network_of_tanh_and_convolutions_bears_more():
    md.manual_seed(0)
    layers = md.nn.Conv2d(1, 4, 3), md.nn.Tanh(), md.nn.Flatten(), md.nn.Dense(4 * 26**2, 10)
    model, batch = md.nn.Sequential(*layers), cnn.first_batch(cnn.HEALTHY, 0)
    report = doctor(model, batch, md.optim.SGD(model.parameters(), 0.01))
    assert report.numbers["largest_change"] == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("make", "moved", "bound"),
    [
        (lambda p: md.optim.SGD(p, 0.2), lambda h: 0.2 * 32 * h**2, 8.0),
        (lambda p: md.optim.SGD(p, 0.2, momentum=0.75), lambda h: 0.2 * 32 * h**2 * 2, 8.0),
        (lambda p: md.optim.Adam(p, 0.2), lambda h: 0.2 * 32 * h, 1.9),
    ],
)
@pytest.mark.parametrize("logits", [4.0, 0.0625])
def test_in_a_tanh_mlp_the_logits_run_away(make, moved, bound, logits):
    """Of its bound, the change is as large a part as the logits' way in losses is of theirs."""
    layers = mlp(32, md.nn.Tanh)
    found = numbers(layers, make, logits=logits)
    images, _ = cnn.first_batch(cnn.HEALTHY, 0)
    h = np.sqrt((md.nn.Sequential(md.nn.Flatten(), *layers[:2])(images).numpy() ** 2).mean())
    h = min(h * (4 if logits < 1 else 1), 1.0)  # small logits grow, and what they are made of
    part = moved(h) / max(found["loss"], found["chance"]) / bound
    assert found["expected_change"] / found["largest_change"] == pytest.approx(part, rel=1e-3)


def test_the_logits_of_a_tanh_mlp_are_found_to_run_away():
    md.manual_seed(0)
    model = md.models.mlp(784, [256, 256], 10, "xavier_normal", activation=md.nn.Tanh)
    report = doctor(model, cnn.first_batch(cnn.HEALTHY, 0), md.optim.Adam(model.parameters(), 0.1))
    assert report.verdict == "will diverge" and report.regime == "rate too high"


def test_trial_steps_that_calm_down_clear_the_network():
    """The first step is too large for this narrow network, and those after it are not."""
    found = doctor_study.study("plain", 8, 17)
    assert found["said"]["0 trial steps"] == "will diverge"
    assert found["said"]["3 trial steps"] == "watch"
    assert found["outcome"] != "diverged"


@pytest.mark.parametrize(
    ("parts", "losses", "red"),
    [
        ((1.1, 1.1, 0.0), (1, 1, 1), ["update-ratio"]),  # of the bound
        ((1.1, 0.9, 0.0), (1, 1, 1), []),
        ((0.9, 0.9, 0.9), (1, 1, 1), []),
        ((float("inf"), float("nan"), 0.0), (1, 1, 1), ["update-ratio"]),
        ((0.1, 0.1, 0.009), (3.1, 1, 1), ["trial-loss"]),  # of the loss before
        ((0.1, 0.1, 0.009), (2.9, 1, 1), []),
        ((0.1, 0.1, 0.011), (9.9, 1, 1), []),
        ((0.1, 0.1, 0.16), (1, 10.1, 1), ["trial-loss"]),
    ],
)
def test_trial_steps_that_stay_large_or_kill_the_network_convict_it(
    monkeypatch, parts, losses, red
):
    with monkeypatch.context() as patch:
        patch.setattr(rules, "judge", lambda m: m)
        md.manual_seed(0)
        model = md.nn.Sequential(md.nn.Flatten(), *mlp(32))
        batch = cnn.first_batch(cnn.HEALTHY, 0)
        m = doctor(model, batch, md.optim.SGD(model.parameters(), 0.001))
    bound = largest_change(m)
    m.trial = [
        Trial(loss * max(m.loss, m.chance), 5.0, {"1": part * bound})
        for part, loss in zip(parts, losses, strict=True)
    ]
    assert [f.code for f in rules.judge(m).findings if f.severity == "red"] == red


@pytest.mark.parametrize("seed", [3, 8, 9])
def test_trial_steps_of_the_articles_cnn_throw_the_loss_up_and_bring_it_back(seed):
    md.manual_seed(seed)
    model = md.models.article_cnn()
    train, _ = md.data.digits().split(0.2, seed=0)
    optimizer = md.optim.SGD(model.parameters(), 0.1)
    report = doctor(model, (train.images[:64], train.labels[:64]), optimizer, trial_steps=3)
    assert report.verdict == "healthy"


def test_trial_steps_of_a_tanh_mlp_whose_weights_are_frozen():
    md.manual_seed(0)
    model = md.nn.Sequential(md.nn.Flatten(), *mlp(16, md.nn.Tanh))
    for name, p in model.named_parameters():
        p.requires_grad = name.endswith("bias")
    biases = [p for p in model.parameters() if p.requires_grad]
    batch = cnn.first_batch(cnn.HEALTHY, 0)
    report = doctor(model, batch, md.optim.SGD(biases, 0.01), trial_steps=3)
    assert report.verdict == "healthy"


def test_a_rate_that_trial_steps_convict_is_at_least_halved():
    """The first step changes this network by less than what is safe, the later ones do not."""
    md.manual_seed(0)
    model = md.nn.Sequential(md.nn.Flatten(), *mlp(32))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rules, "judge", lambda m: m)
        batch = cnn.first_batch(cnn.HEALTHY, 0)
        m = doctor(model, batch, md.optim.SGD(model.parameters(), 0.001))
    m.trial = [Trial(m.loss, 5.0, {"1": 2 * largest_change(m)})] * 2
    assert rules.judge(m).remedy == {"lr": 0.0005}
