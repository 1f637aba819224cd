"""What up to three steps on the batch convict, and what they clear."""

import math

import pytest

import minidl as md
from minidl.health import doctor
from minidl.health.measure import Step, measure
from minidl.health.report import report_on
from minidl.health.strain import strain
from minidl.lab import cnn
from tools import doctor_study

from .networks import mlp


def test_trial_steps_that_calm_down_clear_the_network():
    """The first step is too large for this narrow network, and those after it are not."""
    found = doctor_study.study("plain", 8, 17)
    assert found["said"]["0 trial steps"] == "will diverge"
    assert found["said"]["3 trial steps"] == "watch"
    assert found["outcome"] != "diverged"


def measured(rate=0.001):
    md.manual_seed(0)
    model = md.nn.Sequential(md.nn.Flatten(), *mlp(32))
    images, labels = cnn.first_batch(cnn.HEALTHY, 0)
    optimizer = md.optim.SGD(model.parameters(), rate)
    return measure(model, md.tensor(images), labels, optimizer, md.ops.cross_entropy, None, 0)


@pytest.mark.parametrize(
    ("parts", "losses", "red"),
    [
        ((1.1, 0.9, 0.0), (1, 1, 1.1), ["update-ratio", "trial-loss"]),  # of the bound, of the loss
        ((1.1, 1.1, 0.0), (1, 9, 0.9), []),
        ((0.9, 0.9, 0.0), (1, 9, 9), []),
        ((math.inf, math.nan, 0.0), (1, 1, 3), ["update-ratio", "trial-loss"]),
        ((0.1, 0.1, 0.1), (1, math.nan), ["update-ratio", "trial-loss"]),
    ],
)
@pytest.mark.parametrize("first", [0.9, 1.1])
def test_trial_steps_convict_and_clear(parts, losses, red, first):
    m = measured()
    m.step.logit_rms = 5.0
    bound = strain(m).critical

    def ratios(part):  # two layers whose compound change is this part of the bound
        r = math.sqrt(math.expm1(part * bound) - part * bound)
        return {"1": r, "3": r}

    m.step.ratios = ratios(first)
    m.trial = [
        Step(loss * max(m.loss, m.chance_loss), 5.0, ratios(part), math.inf)
        for part, loss in zip(parts, losses, strict=False)
    ]
    calm = parts[-1] < 0.15 and max(losses) <= 2
    wanted = red or ["update-ratio"] * (first > 1 and not calm)
    assert [f.code for f in report_on(m).findings if f.severity == "red"] == wanted


def test_trial_steps_clear_only_where_the_loss_never_rose():
    m = measured()
    m.step.logit_rms, m.step.ratios = 5.0, {"1": 1.2, "3": 1.2}
    for highest, verdict in ((1.9, "watch"), (2.1, "will diverge")):
        losses = 1.0, highest, 1.0
        m.trial = [Step(x * max(m.loss, m.chance_loss), 5.0, {"1": 0.0}, math.inf) for x in losses]
        assert report_on(m).verdict == verdict


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
    m = measured(0.001)
    m.trial = [Step(9 * m.loss, 5.0, {"1": 9.0, "3": 9.0}, math.inf)] * 2
    assert report_on(m).remedy == {"lr": 0.0005}
