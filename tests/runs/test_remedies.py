"""Every remedy is an option: it does what its name says, and is refused where it makes no sense."""

import numpy as np
import pytest
from click.testing import CliRunner

import minidl as md
from minidl.cli import cli
from minidl.errors import ConfigError
from minidl.runs import Config


def build(**options):
    options.setdefault("model", "deep_plain_cnn")
    config = Config(depth=5, width=4, **options) if options["model"] == "deep_plain_cnn" else (
        Config(**options)
    )  # fmt: skip
    config.check()
    return config, config.build_model((1, 12, 12), 3)


def kinds(model):
    return [type(layer).__name__ for _, layer in model.named_modules()]


IMAGES = np.random.default_rng(0).normal(size=(6, 1, 12, 12)).astype("f")


def test_adaptive_clipping_limits_each_unit_by_its_weights():
    config, model = build(clip_adaptive=0.1)
    for p in model.parameters():
        p.grad = md.tensor(np.full(p.shape, 3.0))
    config.build_clip()(model.parameters())
    for p in model.parameters():
        axes = tuple(range(1, p.ndim)) or None
        norms = [np.sqrt((a.astype("d") ** 2).sum(axes)) for a in (p.grad.numpy(), p.numpy())]
        np.testing.assert_allclose(norms[0], 0.1 * np.maximum(norms[1], 1e-3), rtol=1e-4)


def test_clips_together():
    config, model = build(clip_value=1.0, clip_adaptive=0.5, clip_norm=0.01)
    for p in model.parameters():
        p.grad = md.tensor(np.full(p.shape, 3.0))
    config.build_clip()(model.parameters())
    total = sum((p.grad.numpy().astype("d") ** 2).sum() for p in model.parameters())
    assert total <= 0.01**2 * 1.0001


def test_batch_normalisation_stands_behind_every_convolution():
    _, model = build(batch_norm=True)
    found = kinds(model)
    assert found.count("BatchNorm2d") == found.count("Conv2d") == 5
    assert all(found[i + 1] == "BatchNorm2d" for i, k in enumerate(found) if k == "Conv2d")
    y = model(IMAGES).numpy()
    scaled = model(IMAGES * 100).numpy()
    np.testing.assert_allclose(scaled, y, rtol=0.05, atol=0.05)  # what it is there for
    assert "BatchNorm2d" in kinds(build(batch_norm=True, model="article")[1])


def test_shortcuts_lead_around_convolutions_that_keep_the_shape():
    _, plain = build()
    _, model = build(residual=True)
    assert kinds(model).count("Residual") == 3  # two of five halve the image, the first of them
    for a, b in zip(plain.parameters(), model.parameters(), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())  # the same weights
    for _, layer in model.named_modules():
        if type(layer).__name__ == "Residual":
            for p in layer.branch.parameters():
                p.data[...] = 0
            x = np.abs(np.random.default_rng(1).normal(size=(2, 4, 3, 3))).astype("f")
            np.testing.assert_array_equal(layer(x).numpy(), x)
    both = kinds(build(residual=True, batch_norm=True)[1])
    assert (both.count("Residual"), both.count("BatchNorm2d")) == (3, 5)


@pytest.mark.parametrize("model", ["article", "mlp", "vgg_small", "resnet_small", "deep_plain_cnn"])
def test_weight_normalisation_begins_with_its_length(model):
    _, network = build(model=model, weight_norm=0.7)
    lengths = [t for name, t in network.named_parameters() if name.endswith("weight_g")]
    assert lengths
    for layer in (layer for _, layer in network.named_modules() if hasattr(layer, "weight_g")):
        w = layer.weight.numpy().astype("d")
        norms = np.sqrt((w**2).sum(tuple(range(1, w.ndim))))
        np.testing.assert_allclose(norms, 0.7, rtol=1e-5)


def test_momentum_and_weight_decay_reach_the_optimizer():
    config, model = build(optimizer="sgd", momentum=0.5, weight_decay=0.25)
    [group] = config.build_optimizer(model).param_groups
    assert (group["momentum"], group["weight_decay"]) == (0.5, 0.25)
    [group] = Config(optimizer="momentum").build_optimizer(model).param_groups
    assert group["momentum"] == 0.9
    [group] = Config(optimizer="momentum", momentum=0).build_optimizer(model).param_groups
    assert group["momentum"] == 0
    [group] = Config(optimizer="adamw").build_optimizer(model).param_groups
    assert group["weight_decay"] == 0.01
    [group] = Config(optimizer="adam", weight_decay=0.1).build_optimizer(model).param_groups
    assert group["weight_decay"] == 0.1


def test_smoothed_labels():
    logits, labels = md.tensor(np.array([[2.0, -1.0, 0.5]])), np.array([0])
    plain, smooth = Config().build_loss(), Config(label_smoothing=0.3).build_loss()
    log_p = md.ops.log_softmax(logits).numpy()[0]
    assert plain(logits, labels).item() == pytest.approx(-log_p[0])
    assert smooth(logits, labels).item() == pytest.approx(-(0.7 * log_p[0] + 0.3 * log_p.mean()))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"model": "vgg_small", "batch_norm": True},
            r"got vgg_small \(it has",
        ),
        ({"model": "mlp", "batch_norm": True}, "expected only with the model article or"),
        ({"model": "article", "residual": True}, "expected only with the model deep_plain_cnn"),
        (
            {"optimizer": "adam", "momentum": 0.9},
            "with the optimizer sgd or momentum, got adam",
        ),
        ({"model": "vgg_small", "momentum": 0.9}, "got adam"),
        ({"momentum": 1.0}, "momentum: expected a number from 0, below 1, got 1.0"),
        ({"weight_decay": -0.1}, "weight-decay: expected a number of at least 0"),
        ({"label_smoothing": 1.0}, "label-smoothing: expected a number from 0, below 1"),
        ({"weight_norm": 0.0}, "weight-norm: expected a number above 0"),
        ({"clip_adaptive": -1.0}, "clip-adaptive: expected a number above 0"),
    ],
)
def test_what_makes_no_sense_is_refused(options, said):
    with pytest.raises(ConfigError, match=said):
        Config(**options).check()


def call(*arguments, code=0):
    result = CliRunner().invoke(cli, [str(a) for a in arguments])
    assert result.exit_code == code, result.output
    return result.output


def test_a_run_with_every_remedy_is_measured_and_goes_on(tmp_path):
    out = tmp_path / "run"
    said = call(
        "train", "--data", "digits", "--model", "deep_plain_cnn", "--depth", 3, "--width", 4,
        "--epochs", 1, "--batch-size", 256, "--optimizer", "momentum", "--momentum", 0.8,
        "--weight-decay", 0.001, "--label-smoothing", 0.1, "--batch-norm", "--residual",
        "--weight-norm", 1.2, "--clip-adaptive", 0.5, "--clip-norm", 5, "--quiet", "--out", out,
    )  # fmt: skip
    loss = said.split("test loss")[1].split()[0]
    assert call("evaluate", out).split("test loss")[1].split()[0] == loss
    again = call("train", "--resume", "--epochs", 2, "--quiet", "--out", out)
    assert "test accuracy" in again
    refused = call("train", "--resume", "--epochs", 3, "--label-smoothing", 0.2, "--quiet",
                   "--out", out, code=2)  # fmt: skip
    assert "label" in refused


def test_help_lists_the_remedies_together():
    said = call("train", "--help")
    sections = [line[:-1] for line in said.splitlines() if line.endswith(":") and line[0] != " "]
    assert sections[:3] == ["Data", "Model", "Descent"]
    assert sections[3].startswith("Remedies") and sections[4].startswith("Several processes")
    assert sections[5:] == ["The run"]
    remedies = said.split("Remedies")[1].split("Several processes")[0]
    for option in ("--clip-norm", "--batch-norm", "--weight-norm", "--label-smoothing"):
        assert option in remedies
    assert said.count("--seed") == said.count("--help") == 1
