"""What a Trainer and the doctor are given: mistakes are named where they are made."""

import functools

import numpy as np
import pytest

import minidl as md
from minidl.errors import ConfigError


def batch():
    rng = np.random.default_rng(0)
    return rng.normal(size=(8, 1, 4, 4)).astype(np.float32), np.arange(8) % 2


CALLS = {
    "Trainer": lambda model, optimizer, clip=None: md.Trainer(
        model, optimizer=optimizer, clip=clip
    ),
    "doctor": lambda model, optimizer, clip=None: md.health.doctor(
        model, batch(), optimizer, clip=clip
    ),
}


@pytest.mark.parametrize("call", CALLS)
def test_an_optimizer_of_another_model_would_train_nothing(call):
    model, other = md.models.mlp(16, [4], 2), md.models.mlp(16, [4], 2)
    with pytest.raises(ConfigError, match=f"{call}: the optimizer holds none of this model's"):
        CALLS[call](model, md.optim.SGD(other.parameters(), 0.1))


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("optimizer", ["adam", md.optim.Adam, 0.1])
def test_what_is_no_optimizer_is_named(call, optimizer):
    with pytest.raises(ConfigError, match=f"{call}: expected an optimizer such as"):
        CALLS[call](md.models.mlp(16, [4], 2), optimizer)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("clip", [0, -1.0, float("inf"), float("nan"), "1", True, [1.0]])
def test_a_clip_is_a_norm_above_0_or_a_function(call, clip):
    model = md.models.mlp(16, [4], 2)
    with pytest.raises(ConfigError, match=f"{call}: expected clip as a largest gradient norm"):
        CALLS[call](model, md.optim.SGD(model.parameters(), 0.1), clip)


def test_parameters_that_would_stay_as_they_are_are_told_unless_they_are_frozen():
    call = "Trainer"  # the doctor has a finding of its own for them
    model = md.models.mlp(16, [4], 2)
    with pytest.warns(UserWarning, match=r"does not hold 2 of .*\(4, 16\), \(4,\).*requires_grad"):
        CALLS[call](model, md.optim.SGD(model.parameters()[2:], 0.1))
    for p in model.parameters()[:2]:
        p.requires_grad = False
    CALLS[call](model, md.optim.SGD(model.parameters()[2:], 0.1))


@pytest.mark.parametrize("call", CALLS)
def test_an_optimizer_must_not_train_parameters_that_the_model_has_lost(call):
    model = md.models.mlp(16, [4], 2)
    optimizer = md.optim.SGD(model.parameters(), 0.1)
    model.layers[-1] = md.nn.Dense(4, 2)
    with pytest.raises(ConfigError, match="holds 2 of 4 parameters that this model does not have"):
        CALLS[call](model, optimizer)


def test_frozen_parameters_stay_and_the_others_learn():
    model = md.models.mlp(16, [4], 2)
    frozen, free = model.parameters()[:2], model.parameters()[2:]
    for p in frozen:
        p.requires_grad = False
    before = [p.numpy().copy() for p in model.parameters()]
    trainer = md.Trainer(model, optimizer=md.optim.Adam(free), clip=1.0)
    history = trainer.fit(batch(), epochs=2, batch_size=4, progress=False)
    assert (history.steps["gradient_norm/1"] == 0).all()
    same = [np.array_equal(p.numpy(), b) for p, b in zip(model.parameters(), before, strict=True)]
    assert same == [True, True, False, False]


@pytest.mark.parametrize("call", CALLS)
def test_a_clip_may_be_any_function_of_the_parameters(call):
    model = md.models.mlp(16, [4], 2)
    CALLS[call](
        model,
        md.optim.SGD(model.parameters(), 0.1),
        functools.partial(md.optim.clip_grad_value, limit=1.0),
    )
