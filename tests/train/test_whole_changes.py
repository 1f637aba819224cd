"""Graphs of training steps where something changes on the way, compared with steps without graphs.

A graph must not be launched again after a change that an ordinary step would have noticed.
"""

import functools

import numpy as np
import pytest

import minidl as md
from minidl.train.interrupt import Stopped
from minidl.train.nonfinite import NotFiniteError
from minidl.train.progress import LossJump
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


@pytest.mark.parametrize(
    ("layer", "option", "value", "watched"),
    [
        *(
            (1, *change, watched)
            for change in (("momentum", 0.7), ("eps", 0.5))
            for watched in (0, 1)
        ),
        (4, "p", 0.6, False),
    ],
)
def test_an_option_of_a_layer_that_changes_is_noticed(gpu, layer, option, value, watched):
    def change(step):
        if step == 5:
            setattr(model[layer], option, value)
        return 0.05

    ends = []
    for capture in ("auto", False):
        md.manual_seed(0)
        dropped = [] if watched else [md.nn.Dropout(0.1)]  # gradients alone: not with dropout
        convolution = md.nn.Conv2d(1, 4, 3, padding=1), md.nn.BatchNorm2d(4), md.nn.ReLU()
        model = md.nn.Sequential(*convolution, md.nn.Flatten(), *dropped, md.nn.Dense(256, 3))
        trainer = md.Trainer(
            model, optimizer=md.optim.SGD(model.parameters(), 0.05), device="cuda", seed=0,
            capture=capture, schedule=change, monitors=[object()] if watched else [],
        )  # fmt: skip
        standin.counter.clear()
        data = IMAGES.reshape(44, 1, 8, 8), LABELS
        trainer.fit(data, epochs=2, batch_size=8, progress=False)
        ends.append([md.device.to_host(t.data) for t in model._state().values()])
        assert (standin.counter.launched.count("graph") >= 8) == (capture == "auto")
    for one, other in zip(*ends, strict=True):
        np.testing.assert_allclose(one, other, 1e-4, 1e-5)


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


@pytest.mark.parametrize("batch", [1, 3, 7, 11])
def test_steps_that_changed_no_weight_are_not_counted(gpu, batch):
    counts = []
    for capture in ("auto", False):
        seen = iter(range(100))

        def spoiled(images, *args, seen=seen):
            return images * np.float32(np.inf) if next(seen) == batch else images

        md.manual_seed(0)
        model = perceptron()
        optimizer = md.optim.Adam(model.parameters())
        trainer = md.Trainer(model, optimizer=optimizer, device="cuda", capture=capture, seed=0)
        with pytest.raises(NotFiniteError):
            trainer.fit((IMAGES, LABELS), epochs=2, batch_size=8, progress=False, transform=spoiled)
        counts.append([int(a) for name, a in optimizer.state.items() if name.endswith(".step")])
    assert counts[0] == counts[1] == [batch] * 4


def test_after_another_error_the_record_is_complete(gpu):
    def stop(trainer, step):
        if step == 9:
            kept.append(trainer)
            raise ValueError("of the schedule")

    for capture in ("auto", False):
        kept = []
        with pytest.raises(ValueError, match="of the schedule"):
            trained(capture, stop)
        assert kept[0].history.steps["step"].tolist() == list(range(9))


def test_what_the_trainer_holds_in_the_end_is_of_the_last_step(gpu):
    graphs, plain = (trained(capture)[3] for capture in ("auto", False))
    np.testing.assert_array_equal(graphs.batch[0], plain.batch[0])
    np.testing.assert_array_equal(*(md.device.to_host(t.batch[1]) for t in (graphs, plain)))
    assert graphs.loss_value == pytest.approx(plain.loss_value, rel=1e-5)


@pytest.mark.parametrize("watched", [False, True], ids=["whole", "gradients"])
def test_gradients_outlive_the_memory_of_the_graphs(gpu, watched, monkeypatch):
    inside, holders = [], []
    record = md.kernels.Graph.__init__

    def recorded(graph, work, like):
        record(graph, work, like)
        inside.extend(p.grad.data for p in holders[0].parameters)

    monkeypatch.setattr(md.kernels.Graph, "__init__", recorded)
    graphs = trained("auto", lambda trainer, step: holders.append(trainer), watched)[3]
    assert inside
    for p, other in zip(graphs.parameters, trained(False)[3].parameters, strict=True):
        assert not any(p.grad.data is array for array in inside)
        np.testing.assert_allclose(p.grad.numpy(), other.grad.numpy(), 1e-4, 1e-6)


def test_an_update_that_somebody_has_wrapped_is_called(gpu):
    calls = []
    md.manual_seed(0)
    model = perceptron()
    optimizer = md.optim.SGD(model.parameters(), 0.1)
    step = optimizer.step
    optimizer.step = lambda: (calls.append(1), step())
    trainer = md.Trainer(model, optimizer=optimizer, device="cuda")
    trainer.fit((IMAGES, LABELS), epochs=2, batch_size=8, progress=False)
    assert len(calls) == STEPS


@pytest.mark.parametrize("kind", ["of another type", "in another order"])
def test_slots_that_do_not_fit_the_kernel(gpu, kind):
    weights = []
    for capture in ("auto", False):
        md.manual_seed(0)
        model = perceptron()
        optimizer = md.optim.SGD(model.parameters(), 0.1, momentum=0.9)
        trainer = md.Trainer(model, optimizer=optimizer, device="cuda", capture=capture, seed=0)
        for p in trainer.parameters:
            if kind == "of another type":
                p.data = p.data.astype(np.float64)
            else:
                p.data = p.data.T.copy().T
        trainer.fit((IMAGES, LABELS), epochs=2, batch_size=8, progress=False)
        for p in trainer.parameters:
            p.data = p.data.astype(np.float32).copy()
        trainer.fit((IMAGES, LABELS), epochs=2, batch_size=8, progress=False)
        weights.append([p.numpy() for p in trainer.parameters])
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, 1e-4, 1e-5)


def test_the_rate_of_a_warning_is_that_of_its_step(gpu):
    said = []
    for capture in ("auto", False):
        lines = []
        md.manual_seed(0)
        model = perceptron()
        optimizer = md.optim.SGD(model.parameters(), 0.1)
        trainer = md.Trainer(
            model, optimizer=optimizer, device="cuda", capture=capture, seed=0,
            monitors=[LossJump(lines.append, "lr {rate:g}")],
            schedule=lambda step: 3.0 + step,
        )  # fmt: skip
        trainer.fit((IMAGES, LABELS), epochs=2, batch_size=8, progress=False)
        said.append(lines)
    assert said[0] == said[1] and "lr" in said[0][0]


def test_a_signal_that_comes_while_the_host_waits_loses_no_row(gpu, tmp_path, monkeypatch):
    opened = md.kernels.gpu.pinned.Letter.open
    count = iter(range(100))

    def interrupted(letter):
        if next(count) == 3:  # in the first wait before a checkpoint
            raise Stopped("stopped at once")
        return opened(letter)

    monkeypatch.setattr(md.kernels.gpu.pinned.Letter, "open", interrupted)
    md.manual_seed(0)
    model = perceptron()
    trainer = md.Trainer(
        model, optimizer=md.optim.SGD(model.parameters(), 0.1), device="cuda", seed=0
    )
    with pytest.raises(Stopped):
        trainer.fit(
            (IMAGES, LABELS), epochs=2, batch_size=8, progress=False, out=tmp_path / "run",
            checkpoint_every=5,
        )  # fmt: skip
    assert trainer.history.steps["step"].tolist() == list(range(5))


@pytest.mark.parametrize("weight", [[1, 2, 3], np.array([1.0, 2.0, 3.0])], ids=["list", "array"])
def test_the_weights_of_classes_may_come_from_the_host(gpu, weight):
    logits = md.device.to_device(IMAGES[:, :3], "cuda")
    labels = md.device.to_device(LABELS, "cuda")
    there = md.ops.cross_entropy(logits, labels, weight=weight)
    here = md.ops.cross_entropy(IMAGES[:, :3], LABELS, weight=weight)
    assert there.item() == pytest.approx(here.item(), rel=1e-6)


def test_a_model_with_new_arrays_in_each_step_is_recorded_once(gpu):
    """As with an optimizer of one's own that assigns new values."""

    def renew(trainer, step):
        for p in trainer.parameters:
            p.data = p.data * 1.0

    for watched in (False, True):
        graphs = trained("auto", renew, watched)
        assert graphs[2] == 2  # one for each shape of a batch
        same(graphs, trained(False, renew, watched))


@pytest.mark.parametrize("stop", [1, 3, 8])
@pytest.mark.parametrize("clip", [None, 0.3])
def test_after_a_stop_a_training_goes_on_to_the_same_bytes(gpu, tmp_path, monkeypatch, stop, clip):
    def run(out, resume=False):
        md.manual_seed(0)
        first = md.nn.Conv2d(1, 4, 3, padding=1), md.nn.BatchNorm2d(4), md.nn.ReLU()
        model = md.nn.Sequential(*first, md.nn.Flatten(), md.nn.Dense(256, 3))
        optimizer = md.optim.Adam(model.parameters(), 0.003)
        trainer = md.Trainer(model, optimizer=optimizer, device="cuda", clip=clip, seed=0)
        data = IMAGES.reshape(44, 1, 8, 8), LABELS
        trainer.fit(data, epochs=2, batch_size=8, out=out, resume=resume, progress=False)
        return trainer

    original = md.train.loop.Loop._stop_if_asked

    def asked(loop):
        if loop.session.step == stop + 1:
            raise Stopped("stopped")
        original(loop)

    through = run(tmp_path / "a")
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(md.train.loop.Loop, "_stop_if_asked", asked)
        run(tmp_path / "b")
    again = run(tmp_path / "b", resume=True)
    for name in through.history.step_names:
        np.testing.assert_array_equal(*(t.history.steps[name] for t in (through, again)))
    for one, other in zip(*(t.model._state().values() for t in (through, again)), strict=True):
        np.testing.assert_array_equal(md.device.to_host(one.data), md.device.to_host(other.data))


def test_a_large_limit_needs_no_kernels_with_wide_indices(gpu, monkeypatch):
    """A recording could not load them."""
    loaded = []
    original = md.kernels.gpu.launch._kernel
    monkeypatch.setattr(
        md.kernels.gpu.launch,
        "_kernel",
        lambda file, name, char, wide, constants: (
            loaded.append((name, wide)),
            original(file, name, char, wide, constants),
        )[1],
    )
    trained("auto", clip=1e12)
    assert ("judge", False) in loaded and ("judge", True) not in loaded
