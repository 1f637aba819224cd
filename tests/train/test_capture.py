"""`Trainer(capture=True)` on the stand-in: the same training, with one launch a pass."""

import warnings

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
DATA = random.random((44, 1, 8, 8), np.float32), random.integers(0, 3, 44)


STEPS = 12  # in two epochs of 44 images, 8 at a time


class Count:
    """A monitor: what a step launched, and how often it waited."""

    def __init__(self):
        self.launched, self.waited = [], []

    def before_step(self, trainer, step):
        standin.counter.clear()

    def after_update(self, trainer, step):
        self.launched.append(list(standin.counter.launched))
        self.waited.append(list(standin.counter.waited))


def trained(model, *, device="cuda", monitors=(), **options):
    md.manual_seed(0)
    model = model()
    watching = [m(model) if isinstance(m, type) else m for m in monitors]
    optimizer = md.optim.SGD(model.parameters(), 0.02, momentum=0.9)
    options |= {"device": device, "monitors": watching, "seed": 0}
    trainer = md.Trainer(model, optimizer=optimizer, **options)
    history = trainer.fit(DATA, validation=DATA, epochs=2, batch_size=8, progress=False)
    return history, {name: md.device.to_host(t.data) for name, t in model._state().items()}


def article():
    return md.models.article_cnn(size=8, classes=3)


def normalised():
    layers = md.nn.Conv2d(1, 4, 3, padding=1), md.nn.BatchNorm2d(4), md.nn.ReLU()
    residual = md.nn.Residual(md.nn.Conv2d(4, 4, 3, padding="same"))
    end = md.nn.AvgPool2d(2), md.nn.Flatten(), md.nn.Dense(64, 8), md.nn.GELU(), md.nn.Dense(8, 3)
    return md.nn.Sequential(*layers, residual, *end)


@pytest.mark.parametrize("model", [article, normalised])
@pytest.mark.parametrize("clip", [None, 0.5])
def test_it_trains_as_without_and_launches_one_graph(gpu, model, clip):
    count = Count()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        captured = trained(model, capture=True, clip=clip, monitors=[count])
    plain, host = trained(model, clip=clip), trained(model, device="cpu", clip=clip)
    for other in (plain, host):
        for name in captured[0].step_names:
            close(captured[0].column(name, STEPS), other[0].column(name, STEPS))
        for name, value in captured[1].items():
            close(value, other[1][name])
    graphs = [step.count("graph") for step in count.launched]
    assert graphs == [1] * STEPS
    assert all(waited == ["get"] for waited in count.waited[2:5])
    assert set(count.launched[3]) <= {"graph", "setitem", "sgd", "__imul__"}
    assert len(count.launched[3]) <= (4 if clip is None else 4 + len(captured[1]))


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


class Looks:
    """A monitor with a hook of its own, which might do anything."""

    def __init__(self, model):
        model.layers[0].register_forward_hook(lambda *looked: None)


class Scale(md.nn.Module):
    def forward(self, x):
        return x * float(abs(x.data).max())


REASONS = {
    "a hook of one's own": (article, {"monitors": [Looks]}, "hooks look at the outputs of layers"),
    "the CPU": (article, {"device": "cpu"}, "on the CPU"),
    "a layer that reads": (lambda: md.nn.Sequential(Scale(), *article()), {}, "capturing"),
}


@pytest.mark.parametrize("name", REASONS)
def test_what_cannot_be_recorded_goes_on_after_one_line(gpu, name):
    model, options, why = REASONS[name]
    with pytest.warns(UserWarning, match=rf"^Trainer\(capture=True\): .*({why})") as told:
        captured = trained(model, capture=True, **options)
    lines = [str(warning.message) for warning in told]
    assert sum("launches are started one by one" in line for line in lines) == 1
    plain = trained(model, **options)
    for step_name in plain[0].step_names:
        np.testing.assert_array_equal(
            captured[0].column(step_name, STEPS), plain[0].column(step_name, STEPS)
        )
    for name, value in plain[1].items():
        np.testing.assert_array_equal(captured[1][name], value)


def test_a_monitor_sees_in_a_graph_what_it_sees_without(gpu):
    """With two sizes of batches, and so two graphs, which take turns."""
    count, seen = Count(), []
    for capture, others in ((True, [count]), (False, [])):
        md.manual_seed(0)
        model = article()
        seen.append(md.health.GradientMonitor(model))
        trained(lambda made=model: made, capture=capture, monitors=[seen[-1], *others])
    assert [step.count("graph") for step in count.launched] == [1] * STEPS
    for name in md.health.monitor.FIELDS:
        if name != "layer":
            close(seen[0].column(name), seen[1].column(name))
    assert np.isfinite(seen[0].column("gradient")).all()


def test_a_monitor_within_a_monitor_sees_all_steps(gpu):
    class Wrapper:
        def __init__(self, model):
            self.inner = md.health.GradientMonitor(model)
            self.before_update = self.inner.before_update
            self.after_update = self.inner.after_update

    md.manual_seed(0)
    model = article()
    wrapper = Wrapper(model)
    trained(lambda: model, capture=True, monitors=[wrapper])
    for name in ("activation", "gradient", "dead"):
        assert np.isfinite(wrapper.inner.column(name)).all()


def test_a_hook_that_comes_later_is_called(gpu):
    calls = []

    class Later:
        def before_step(self, trainer, step):
            if step == 3:
                trainer.model.layers[0].register_forward_hook(lambda *looked: calls.append(step))

    with pytest.warns(UserWarning, match="hooks look at the outputs of layers"):
        trained(article, capture=True, monitors=[md.health.GradientMonitor, Later()])
    assert len(calls) >= STEPS - 3


def test_dropout_draws_new_masks_for_each_launch(gpu):
    def model():
        *first, last = article().layers
        return md.nn.Sequential(*first, md.nn.Dropout(0.5), last)

    count = Count()
    captured, plain = trained(model, capture=True, monitors=[count]), trained(model)
    assert [step.count("graph") for step in count.launched] == [1] * STEPS
    for name in plain[0].step_names:
        close(captured[0].column(name, STEPS), plain[0].column(name, STEPS))


def test_without_kernels_cublas_is_named(gpu, monkeypatch):
    monkeypatch.setattr(md.kernels.gpu.launch, "usable", lambda: False)
    with pytest.warns(UserWarning, match="cuBLAS"):
        trained(article, capture=True)


def test_other_arrays_in_the_parameters_are_recorded_anew(gpu):
    class Swap(Count):
        def after_update(self, trainer, step):
            super().after_update(trainer, step)
            if step == 2:
                for p in trainer.parameters:
                    p.data = p.data.copy()

    count = Swap()
    captured = trained(article, capture=True, monitors=[count])
    assert [step.count("graph") for step in count.launched[:6]] == [1, 1, 1, 0, 1, 1]
    plain = trained(article)
    for name in captured[0].step_names:
        close(captured[0].column(name, STEPS), plain[0].column(name, STEPS))


def answering(model=article, **options):
    md.manual_seed(0)
    model = model()
    optimizer = md.optim.SGD(model.parameters(), 0.1)
    return md.Trainer(model, optimizer=optimizer, device="cuda", seed=0, **options)


def predicted(trainer, **options):
    """The outputs, and what was launched for them."""
    standin.counter.clear()
    return trainer.predict(DATA[0], batch_size=8, **options), list(standin.counter.launched)


@pytest.mark.parametrize("model", [article, normalised])
def test_outputs_are_recorded_for_the_second_batch_of_a_shape(gpu, model):
    trainer, plain = answering(model), answering(model, capture=False)
    first, launched = predicted(trainer)
    right, without = predicted(plain)
    assert launched.count("graph") == 4  # of 5 full batches; that of 4 images has another shape
    assert "graph" not in without
    np.testing.assert_array_equal(first, right)
    again, launched = predicted(trainer)
    assert launched.count("graph") == 6
    np.testing.assert_array_equal(again, right)
    again, launched = predicted(trainer)
    assert set(launched) == {"setitem", "graph"}
    np.testing.assert_array_equal(again, right)


def test_recorded_outputs_follow_the_weights(gpu):
    trainer, plain = answering(normalised), answering(normalised, capture=False)
    options = {"validation": DATA, "epochs": 3, "batch_size": 8, "progress": False}
    history, right = trainer.fit(DATA, **options), plain.fit(DATA, **options)
    for name in right.epoch_names:
        if name != "seconds":
            close(history.epochs[name], right.epochs[name])
    before, _ = predicted(trainer)
    trainer.model.load_state_dict(answering(normalised).model.state_dict())
    after, _ = predicted(trainer)
    assert np.abs(after - before).max() > 1e-3
    fresh, _ = predicted(answering(normalised, capture=False))
    np.testing.assert_allclose(after, fresh, rtol=1e-5, atol=1e-6)


def test_outputs_that_hooks_look_at_are_not_recorded(gpu):
    trainer, seen = answering(), []
    trainer.model.layers[0].register_forward_hook(lambda *looked: seen.append(len(looked)))
    _, launched = predicted(trainer)
    assert "graph" not in launched
    assert len(seen) == 6


def test_layers_of_others_are_recorded_if_asked(gpu):
    class Twice(md.nn.Module):
        def forward(self, x):
            return x * 2.0

    def model():
        return md.nn.Sequential(Twice(), *article())

    assert "graph" not in predicted(answering(model))[1]
    found, launched = predicted(answering(model, capture=True))
    assert launched.count("graph") == 4
    np.testing.assert_array_equal(found, predicted(answering(model, capture=False))[0])
    with pytest.warns(UserWarning, match=r"^Trainer\(capture=True\): outputs are .* capturing"):
        reads, _ = predicted(answering(lambda: md.nn.Sequential(Scale(), *article()), capture=True))
    plain, _ = predicted(answering(lambda: md.nn.Sequential(Scale(), *article()), capture=False))
    np.testing.assert_array_equal(reads, plain)
