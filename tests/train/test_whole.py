"""Whole steps as CUDA graphs, on the stand-in: the same training, with one launch a step."""

import functools

import numpy as np
import pytest

import minidl as md
from minidl.train.nonfinite import NotFiniteError
from tests import standin
from tests.standin.graph import tape
from tests.standin.kernels import COMPILER, ordered

from .test_capture import STEPS, article, close, normalised

pytestmark = [
    pytest.mark.host,
    pytest.mark.skipif(COMPILER is None, reason="no g++ to compile the kernels with"),
]
random = np.random.default_rng(0)
VALIDATED = 1  # the outputs for the second epoch's validation come from a graph too
IMAGES, LABELS = random.random((44, 1, 8, 8), np.float32), random.integers(0, 3, 44)
# Otherwise a gradient that is rounding alone would move a weight as far as any other gradient.
EPS = 1e-4
RULES = {
    "momentum": functools.partial(md.optim.SGD, lr=0.02, momentum=0.9, weight_decay=0.01),
    "nesterov": functools.partial(md.optim.SGD, lr=0.02, momentum=0.9, nesterov=True),
    "RMSProp": functools.partial(md.optim.RMSProp, lr=0.001, eps=EPS),
    "Adam": functools.partial(md.optim.Adam, lr=0.003, eps=EPS),
    "AdamW": functools.partial(md.optim.AdamW, lr=0.003, eps=EPS),
}


def trained(make=article, rule="momentum", images=IMAGES, device="cuda", epochs=2, **options):
    """(history, weights, what was launched) of a training; options of Trainer and of fit."""
    md.manual_seed(0)
    model = make()
    optimizer = RULES[rule](model.parameters())
    fit = {
        name: options.pop(name) for name in ("out", "checkpoint_every", "resume") & options.keys()
    }
    trainer = md.Trainer(model, optimizer=optimizer, device=device, seed=0, **options)
    standin.counter.clear()
    data = images, LABELS
    history = trainer.fit(
        data, validation=(IMAGES, LABELS), epochs=epochs, batch_size=8, progress=False, **fit
    )
    weights = {name: md.device.to_host(t.data) for name, t in model._state().items()}
    return history, weights, list(standin.counter.launched)


def same(one, other, check=close):
    for name in one[0].step_names:
        check(one[0].column(name, STEPS), other[0].column(name, STEPS))
    for name, value in one[1].items():
        check(value, other[1][name])


# Under the other rules a bias before a normalisation, whose gradient is rounding, would wander.
@pytest.mark.parametrize(
    ("make", "rule"), [*((article, rule) for rule in RULES), (normalised, "momentum")]
)
def test_it_trains_as_without_graphs(gpu, make, rule):
    options = {"clip": 0.5 if rule == "Adam" else None, "schedule": md.optim.cosine(0.02, 12)}
    whole = trained(make, rule, **options)
    assert whole[2].count("graph") == STEPS + VALIDATED
    same(whole, trained(make, rule, device="cpu", **options))
    plain = trained(make, rule, capture=False, **options)
    assert "graph" not in plain[2]
    same(whole, plain)


def test_the_host_does_not_wait_for_a_step(gpu, monkeypatch):
    waited = []
    original = md.train.loop.Loop._one_step

    def watched(loop, images, labels):
        standin.counter.clear()
        original(loop, images, labels)
        waited.append((list(standin.counter.waited), list(standin.counter.launched)))

    monkeypatch.setattr(md.train.loop.Loop, "_one_step", watched)
    trained()
    assert all(wait == [] and launched == ["graph"] for wait, launched in waited[7:11])


def test_the_order_of_the_blocks_changes_no_byte(gpu):
    usual = trained(clip=0.5)
    for first, backwards in ((1, False), (5, True)):
        with ordered(first, backwards):
            same(usual, trained(clip=0.5), np.testing.assert_array_equal)


def test_clipping_acts_on_the_gpu(gpu):
    free, clipped = trained(), trained(clip=0.01)
    same(clipped, trained(clip=0.01, device="cpu"))
    assert np.abs(free[1]["0.weight"] - clipped[1]["0.weight"]).max() > 1e-3


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_a_step_that_is_not_finite_changes_no_weight(gpu, batch):
    """Nor do the steps after it, which are under way when the host learns of it."""
    found = []
    for device in ("cuda", "cpu"):
        seen = iter(range(100))

        def spoiled(images, *args, seen=seen):
            return images * np.float32(np.inf) if next(seen) == batch else images

        md.manual_seed(0)
        model = article()
        optimizer = RULES["Adam"](model.parameters())
        trainer = md.Trainer(model, optimizer=optimizer, device=device, seed=0)
        with pytest.raises(NotFiniteError) as told:
            trainer.fit((IMAGES, LABELS), epochs=2, batch_size=8, progress=False, transform=spoiled)
        weights = {n: md.device.to_host(t.data) for n, t in model._state().items()}
        found.append((str(told.value), weights, trainer.history))
    assert found[0][0] == found[1][0]
    assert len(found[0][2]) == len(found[1][2]) == batch + 1
    for name, value in found[0][1].items():
        close(value, found[1][1][name])


def test_a_run_goes_on_from_its_checkpoint_to_the_same_bytes(gpu, tmp_path):
    through = trained(out=tmp_path / "a", checkpoint_every=2)
    trained(out=tmp_path / "b", checkpoint_every=2, epochs=1)
    again = trained(out=tmp_path / "b", checkpoint_every=2, resume=True)
    same(through, again, np.testing.assert_array_equal)
    assert len((tmp_path / "a/history.csv").read_text().splitlines()) == 1 + STEPS


class Own(md.nn.Module):
    def forward(self, x):
        return x * 1.0


def dropping():
    """Two layers that draw; a step's keys are drawn on the host, as without a graph."""
    *first, last = article()
    return md.nn.Sequential(md.nn.Dropout(0.2), *first, md.nn.Dropout(0.5), last)


def test_dropout_draws_what_it_draws_without_graphs(gpu):
    whole = trained(dropping)
    assert whole[2].count("graph") == STEPS + VALIDATED
    same(whole, trained(dropping, device="cpu"))
    same(whole, trained(dropping, capture=False))


def test_dropout_resumes_to_the_same_bytes(gpu, tmp_path):
    through = trained(dropping, out=tmp_path / "a", checkpoint_every=4)
    trained(dropping, out=tmp_path / "b", checkpoint_every=4, epochs=1)
    again = trained(dropping, out=tmp_path / "b", checkpoint_every=4, resume=True)
    same(through, again, np.testing.assert_allclose)


REASONS = {
    "a layer of one's own": (lambda: md.nn.Sequential(Own(), *article()), {}, "Own may do other"),
    "a loss of one's own": (article, {"loss": lambda x, t: md.ops.cross_entropy(x, t)}, "lambda"),
}


@pytest.mark.parametrize("name", REASONS)
def test_what_is_not_recorded_goes_on_and_one_line_says_why(gpu, name, capsys):
    make, options, why = REASONS[name]
    md.manual_seed(0)
    model = make()
    trainer = md.Trainer(
        model, optimizer=RULES["Adam"](model.parameters()), device="cuda", **options
    )
    trainer.fit((IMAGES, LABELS), epochs=1, batch_size=8)
    said = [line for line in capsys.readouterr().err.splitlines() if "CUDA graphs" in line]
    assert len(said) == 1 and why in said[0]


@pytest.mark.parametrize(
    "options",
    [{"clip": functools.partial(md.optim.clip_grad_value, limit=0.1)}, {"monitors": [object()]}],
    ids=["a clip function", "a monitor"],
)
def test_then_only_the_gradients_are_recorded(gpu, options):
    whole = trained(**options)
    assert whole[2].count("graph") == STEPS + VALIDATED and "sgd" in whole[2]
    same(whole, trained(device="cpu", **options))


def test_capture_is_checked(gpu):
    with pytest.raises(md.errors.ConfigError, match="capture as True, False or 'auto', got 'yes'"):
        md.Trainer(article(), optimizer=None, capture="yes")


def test_the_launches_of_a_whole_step(gpu, monkeypatch):
    recorded = []
    end = standin.module.cuda.Stream.end_capture
    monkeypatch.setattr(
        standin.module.cuda.Stream,
        "end_capture",
        lambda stream: (recorded.append(list(tape.names)), end(stream))[1],
    )
    trained()
    assert len(recorded[0]) <= 9, " ".join(recorded[0])
