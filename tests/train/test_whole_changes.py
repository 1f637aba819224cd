"""Graphs of training steps where something changes on the way, compared with steps without graphs.

A graph must not be launched again after a change that an ordinary step would have noticed.
"""

import functools

import numpy as np
import pytest

import minidl as md
from tests import standin
from tests.standin.kernels import COMPILER

pytestmark = [
    pytest.mark.host,
    pytest.mark.skipif(COMPILER is None, reason="no g++ to compile the kernels with"),
]
random = np.random.default_rng(0)
IMAGES, LABELS = random.random((44, 64), np.float32), random.integers(0, 3, 44)
STEPS = 12  # in two epochs of 44 images, 8 at a time


def perceptron():
    return md.nn.Sequential(md.nn.Dense(64, 8), md.nn.ReLU(), md.nn.Dense(8, 3))


def trained(capture, change=None, watched=False, held=slice(None), **options):
    """(history, weights, number of graphs, trainer); change(trainer, step) before each step."""
    md.manual_seed(0)
    model = perceptron()
    optimizer = md.optim.SGD(model.parameters()[held], 0.1)

    def schedule(step):
        if change is not None:
            change(trainer, step)
        return 0.1

    options |= {"monitors": [object()] if watched else [], "schedule": schedule, "seed": 0}
    trainer = md.Trainer(model, optimizer=optimizer, device="cuda", capture=capture, **options)
    standin.counter.clear()
    trainer.fit((IMAGES, LABELS), epochs=2, batch_size=8, progress=False)
    weights = {name: md.device.to_host(t.data) for name, t in model._state().items()}
    return trainer.history, weights, standin.counter.launched.count("graph"), trainer


def same(one, other):
    for name in one[0].step_names:
        np.testing.assert_allclose(
            one[0].column(name, STEPS), other[0].column(name, STEPS), 1e-4, 1e-5, err_msg=name
        )
    for name, value in one[1].items():
        np.testing.assert_allclose(value, other[1][name], 1e-4, 1e-5, err_msg=name)


def freeze(trainer, step, first=0, until=5):
    for p in trainer.parameters[first:]:
        p.requires_grad = step < until


def thaw(trainer, step):
    for p in trainer.parameters[:2]:
        p.requires_grad = step >= 5


def swap(trainer, step):
    """Other arrays with the same values, twice: the number of the first may come again."""
    for p in trainer.parameters if step in (3, 4, 6) else ():
        p.data = p.data.copy()


def gain_momentum(trainer, step):
    trainer.optimizer.momentum = 0.9 if step >= 4 else 0


def restart(trainer, step):
    trainer.optimizer.momentum = 0.9
    if step == 4:
        trainer.optimizer.load_state_dict(trainer.optimizer.state_dict())


def replace(trainer, step):
    if step == 4:
        trainer.optimizer = md.optim.Adam(trainer.parameters, 0.003)


CHANGES = {
    "one parameter is left": functools.partial(freeze, first=1),
    "the last layer is frozen": functools.partial(freeze, first=2),
    "the first layer is thawed": thaw,
    "other arrays": swap,
    "momentum begins": gain_momentum,
    "the optimizer's state is put back": restart,
    "another optimizer": replace,
}


@pytest.mark.parametrize("watched", [False, True], ids=["whole", "gradients"])
@pytest.mark.parametrize("name", CHANGES)
def test_a_change_between_two_steps_is_noticed(gpu, name, watched):
    graphs = trained("auto", CHANGES[name], watched)
    assert graphs[2] >= 5
    same(graphs, trained(False, CHANGES[name], watched))


@pytest.mark.parametrize("clip", [None, 0.1])
@pytest.mark.parametrize("watched", [False, True], ids=["whole", "gradients"])
def test_gradients_that_the_optimizer_does_not_hold_do_not_add_up(gpu, watched, clip):
    options = {"held": slice(2, None), "watched": watched, "clip": clip}
    with pytest.warns(UserWarning, match="the optimizer does not hold 2"):
        graphs, plain = (trained(capture, **options) for capture in ("auto", False))
    same(graphs, plain)
    assert plain[0].column("gradient_norm/0", STEPS).max() < 4


HOOKS = {
    "layer": lambda model, note: model[0].register_forward_hook(lambda *seen: note()),
    "parameter": lambda model, note: model[0].weight.register_hook(lambda g: note()),
}


@pytest.mark.parametrize("watched", [False, True], ids=["whole", "gradients"])
@pytest.mark.parametrize("name", HOOKS)
def test_hooks_see_every_step(gpu, name, watched, capsys):
    seen = []

    def hook(trainer, step):
        if step == 0:
            HOOKS[name](trainer.model, lambda: seen.append(step))

    assert trained("auto", hook, watched)[2] == 0
    assert len(seen) == STEPS


def test_an_observer_sees_every_step(gpu):
    names = []
    with md.modes.observe(lambda phase, name, *rest: names.append(name)):
        trained("auto")
    assert names.count("cross_entropy") >= STEPS
