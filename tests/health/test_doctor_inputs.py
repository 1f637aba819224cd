"""The doctor on models, losses and batches that are out of the ordinary."""

import copy
import json
import pickle
import threading

import numpy as np
import pytest

import minidl as md
from minidl.health import doctor

RANDOM = np.random.default_rng(0)
X, Y = RANDOM.standard_normal((64, 1, 8, 8)).astype(np.float32), RANDOM.integers(0, 10, 64)


def small(**options):
    md.manual_seed(0)
    return md.models.mlp(64, [32], 10, **options)


def asked(model, rate=0.1, batch=(X, Y), **options):
    return doctor(model, batch, md.optim.SGD(model.parameters(), rate), **options)


def test_a_loss_may_look_at_the_weights():
    model = small()
    md.ops.cross_entropy(model(X), Y).backward()
    before = [p.grad.data.copy() for p in model.parameters()]

    def penalised(logits, labels):
        squares = [(p * p).sum() for p in model.parameters()]
        return md.ops.cross_entropy(logits, labels) + 50 * sum(squares, md.tensor(0.0))

    report = asked(model, loss=penalised, trial_steps=2)
    for p, gradient in zip(model.parameters(), before, strict=True):
        np.testing.assert_array_equal(p.grad.data, gradient)
    weights = np.sqrt(sum((p.data**2).sum() for p in model.parameters()))
    assert report.numbers["gradient"] == pytest.approx(100 * weights, rel=0.05)


@pytest.mark.parametrize("trial_steps", [0, 3])
@pytest.mark.parametrize("optimizer", [md.optim.SGD, md.optim.Adam])
def test_weights_that_start_at_zero_are_no_explosion(optimizer, trial_steps):
    for model in (small(), md.nn.Sequential(md.nn.Flatten(), md.nn.Dense(64, 10))):
        model.layers[-1].weight.data[...] = 0
        rate = 0.1 if optimizer is md.optim.SGD else 1e-3
        steps = optimizer(model.parameters(), rate)
        assert doctor(model, (X, Y), steps, trial_steps=trial_steps).verdict == "healthy"


def test_a_normalisation_excuses_only_what_it_is_given():
    md.manual_seed(0)

    def block():
        return md.nn.Residual(md.nn.Sequential(md.nn.LayerNorm(64), md.nn.Dense(64, 64)))

    model = md.nn.Sequential(md.nn.Flatten(), *(block() for _ in range(8)), md.nn.Dense(64, 10))
    report = asked(model, 0.4)
    ratios = [row["update_ratio"] for row in report.layers if row["weighted"]]
    assert report.numbers["change"] == pytest.approx(sum(ratios))
    assert report.verdict == "will diverge"
    optimizer = md.optim.SGD(model.parameters(), 0.4)
    with np.errstate(all="ignore"):
        for _ in range(60):
            optimizer.zero_grad()
            loss = md.ops.cross_entropy(model(X), Y)
            loss.backward()
            optimizer.step()
    assert not loss.item() < 100


def test_dead_units_of_a_dense_layer_are_on_its_last_axis():
    md.manual_seed(0)
    model = md.nn.Sequential(
        *(md.nn.Dense(8, 10), md.nn.ReLU(), md.nn.Flatten(), md.nn.Dense(80, 10))
    )
    model[0].bias.data[:9] = -100
    (found,) = doctor(model, (X[:, 0], Y)).findings
    assert (found.code, found.layer, found.measured) == ("dead-units", "1", 0.9)


def test_half_of_the_units_are_0_for_a_single_image():
    assert asked(small(), batch=(X[:1], Y[:1])).verdict == "healthy"


def test_other_losses_are_not_measured_by_the_logarithm_of_k():
    model = md.models.mlp(64, [32, 32], 2)
    targets = np.repeat((Y % 2)[:, None], 2, 1) * 20.0
    assert asked(model, 1e-3, (X, targets), loss=md.ops.mse_loss).verdict == "healthy"


def test_hooks_that_change_the_network_are_part_of_it():
    model = small()
    model[1].register_forward_hook(lambda layer, inputs, y: y * 1e4)
    report = asked(model)
    assert report.numbers["loss"] == pytest.approx(md.ops.cross_entropy(model(X), Y).item())
    assert report.verdict == "will diverge" and model[1].is_watched


@pytest.mark.parametrize(("stride", "size"), [(2, 2), (2, 4), (3, 3)])
def test_a_transposed_convolution_sums_fewer_products_where_it_strides(stride, size):
    md.manual_seed(0)
    model = md.nn.Sequential(
        *(md.nn.Conv2d(1, 16, 3, padding=1), md.nn.ConvTranspose2d(16, 16, size, stride=stride)),
        *(md.nn.GlobalAvgPool2d(), md.nn.Dense(16, 10)),
    )
    row = doctor(model, (RANDOM.standard_normal((64, 1, 16, 16)), Y)).layers[1]
    assert row["signal"] == pytest.approx(row["predicted"], rel=0.1)


def test_growth_is_found_where_it_is():
    md.manual_seed(0)
    hidden = [md.nn.Dense(64, 64), md.nn.ReLU(), md.nn.Dense(64, 64), md.nn.ReLU()]
    model = md.nn.Sequential(
        *(md.nn.Flatten(), md.nn.Dense(64, 64), md.nn.LayerNorm(64), md.nn.ReLU()),
        *(*hidden, md.nn.Dense(64, 10)),
    )
    model[1].weight.data *= 1e-4
    model[6].weight.data *= 10
    (found,) = doctor(model, (X, Y)).findings
    assert (found.code, found.layer) == ("forward-growth", "6")


class Odd(md.nn.Module):
    """Its own matrix and tanh, a lock, what it saw, a function that holds a layer."""

    def __init__(self):
        self.w = md.nn.Parameter(RANDOM.standard_normal((64, 10)))
        self.tanh, self.lock, self.seen = md.nn.Tanh(), threading.Lock(), None
        self.head = md.nn.Dense(10, 10)
        self.then = lambda x, scale: self.head(x.numpy()) * scale

    def forward(self, x):
        self.seen = x
        return self.tanh(x.reshape(len(x), -1) @ self.w) + self.then(
            x.reshape(-1, 64) @ self.w, 0.1
        )


def test_models_that_cannot_be_copied():
    model = Odd()
    assert "head" in {row["layer"] for row in asked(model, trial_steps=2).layers}
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("kind", ["infinite weights", "one class", "float64"])
def test_numbers_at_the_edge(kind):
    model = small(activation=md.nn.Tanh)
    labels = Y
    if kind == "infinite weights":
        model[1].weight.data[...] = np.inf
    elif kind == "one class":
        model, labels = md.models.mlp(64, [32], 1, activation=md.nn.Tanh), Y * 0
    else:
        model = md.models.mlp(64, [64] * 10, 10, md.nn.init.normal(std=1e15))
        for p in model.parameters():
            p.data = p.data.astype(np.float64)
    verdict = "will not learn" if kind == "one class" else "will diverge"
    assert asked(model, batch=(X, labels), trial_steps=2).verdict == verdict


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda m: doctor(None, (X, Y)), "NoneType"),
        (lambda m: doctor(m, X[:2]), "expected a batch .* got ndarray"),
        (lambda m: doctor(m, {"images": X, "labels": Y}), "got dict"),
        (lambda m: doctor(m, (X * np.float32(np.nan), Y)), "finite images"),
        (lambda m: doctor(m, (X.astype(float) * 1e300, Y)), "within float32"),
        (lambda m: doctor(m, (X, Y), loss=lambda logits, labels: 3.0), "got float"),
        (lambda m: doctor(m, (X, Y)).to_json("nowhere/report.json"), "cannot write"),
    ],
)
def test_wrong_calls_are_named(mistake, words):
    model = small()
    forward = dict(vars(model[1]))
    with pytest.raises(md.errors.MinidlError, match=words):
        mistake(model)
    assert vars(model[1]).keys() == forward.keys()


def test_numpy_numbers_reach_the_file(tmp_path):
    model = small()
    optimizer = md.optim.SGD(model.parameters(), 0.1, momentum=np.float32(0.9))
    doctor(model, (X, Y), optimizer).to_json(tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text())["verdict"]


def test_numpy_integers_and_lists_are_taken():
    model = small()
    optimizer = md.optim.SGD(model.parameters(), 0.1)
    plain = doctor(model, (X, Y), optimizer, trial_steps=2)
    listed = doctor(model, [X.tolist(), Y.tolist()], optimizer, trial_steps=np.int64(2))
    assert listed.numbers == plain.numbers
    with pytest.raises(md.errors.DataError, match="got tuple of 3"):
        doctor(model, (X, Y, Y), optimizer)


def test_frozen_layers_are_no_fault():
    model = small()
    for p in model[1].parameters():
        p.requires_grad = False
    free = [p for p in model.parameters() if p.requires_grad]
    report = doctor(model, (X, Y), md.optim.SGD(free, 0.1), trial_steps=1)
    assert report.verdict == "healthy"
    assert [row["update_ratio"] == 0 for row in report.layers if row["weighted"]] == [True, False]
    for p in free:
        p.requires_grad = False
    with pytest.raises(md.errors.ConfigError, match="only frozen parameters: set requires_grad"):
        doctor(model, (X, Y))


def test_parameters_that_the_optimizer_lacks_are_named():
    model = small()
    some = md.optim.SGD(model.layers[-1].parameters(), 0.1)
    (found,) = doctor(model, (X, Y), some).findings
    assert (found.code, found.layer, found.measured) == ("not-in-optimizer", "1", 2)
    assert "1.weight" in found.evidence and found.severity == "amber"


def test_what_was_computed_before_can_still_be_differentiated():
    model = small()
    loss = md.ops.cross_entropy(model(X), Y)
    asked(model, trial_steps=2)
    loss.backward()
    assert model[1].weight.grad is not None


def test_a_report_can_be_copied_printed_and_shown():
    report = asked(small(init=md.nn.init.normal(3.0)), 1.0)
    assert report.findings
    for copied in (copy.deepcopy(report), pickle.loads(pickle.dumps(report))):
        assert copied == report and copied.table() == report.table() == str(report)
    assert eval(repr(report), vars(md.health) | {"inf": np.inf, "nan": np.nan}) == report
    assert len({*report.findings, *copy.deepcopy(report.findings)}) == len(report.findings)
    page = report._repr_html_()
    assert page.count("<tr>") == len(report.layers) + 1 and "update/weight" in page
    report.layers[0]["layer"] = "<b>"
    assert "<b>" not in report._repr_html_()


def test_a_figure_of_a_report_needs_no_path():
    pytest.importorskip("matplotlib", reason="figures need matplotlib")
    assert len(asked(small()).plot().axes) == 3


def test_weights_of_one_axis_alone_have_no_ratio_and_no_error():
    class Line(md.nn.Module):
        def __init__(self):
            self.w, self.b = md.nn.Parameter([0.1, -0.2, 0.3, 0.1]), md.nn.Parameter(0.0)

        def forward(self, x):
            return x @ self.w + self.b

    x = np.random.default_rng(0).normal(size=(64, 4))
    model = Line()
    found = doctor(
        model, (x, x @ [1.0, 2, 3, 4]), md.optim.SGD(model, 5.0), loss=md.ops.mse_loss,
        trial_steps=20,
    )  # fmt: skip
    assert found.verdict == "will diverge"
