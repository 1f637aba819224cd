"""Filters, feature maps and saliency are the model's own numbers."""

import numpy as np
import pytest

import minidl as md
from minidl.errors import ConfigError
from minidl.plot import learning

pytest.importorskip("matplotlib", reason="matplotlib is not installed")


@pytest.fixture
def model():
    md.manual_seed(0)
    return md.nn.Sequential(
        md.nn.Conv2d(2, 4, 3, padding="same"), md.nn.BatchNorm2d(4), md.nn.Tanh(),
        md.nn.MaxPool2d(2), md.nn.Conv2d(4, 5, 2), md.nn.Flatten(), md.nn.Dense(45, 3),
    )  # fmt: skip


IMAGE = np.random.default_rng(1).standard_normal((2, 8, 8)).astype("f")


def state(model):
    return {n: np.array(md.tensor(v).numpy()) for n, v in model.state_dict().items()}


def test_saliency_is_the_derivative_by_each_pixel(model):
    before, mode = state(model), model.training
    slope, label = learning._saliency(model, IMAGE, None)
    logits = model.eval()(IMAGE[None]).numpy()[0]
    assert label == logits.argmax() and slope.shape == (8, 8)
    full = md.grad(lambda x: model(x)[0, label])(md.tensor(IMAGE[None])).numpy()[0]
    largest = np.abs(full).argmax(0)
    np.testing.assert_allclose(slope, np.take_along_axis(full, largest[None], 0)[0], rtol=1e-5)
    y, x = np.unravel_index(np.abs(slope).argmax(), slope.shape)
    channel, h = largest[y, x], 1e-2
    moved = [IMAGE.astype("d").copy() for _ in range(2)]
    moved[0][channel, y, x] += h
    moved[1][channel, y, x] -= h
    up, down = (model(image[None].astype("f")).numpy()[0, label] for image in moved)
    assert slope[y, x] == pytest.approx((up - down) / (2 * h), rel=0.02)
    model.train(mode)
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert all((state(model)[n] == v).all() for n, v in before.items())


def test_feature_maps_are_what_the_layers_make(model):
    maps = learning._feature_maps(model, IMAGE)
    assert [*maps] == ["0", "4"] and maps["4"].shape == (5, 3, 3) and model.training
    right = md.ops.conv2d(IMAGE[None], model.layers[0].weight, model.layers[0].bias, padding="same")
    np.testing.assert_allclose(maps["0"], right.numpy()[0], rtol=1e-5, atol=1e-6)
    figure = md.plot.feature_maps(model, IMAGE, most=3)
    assert len(figure.axes) == 6
    np.testing.assert_array_equal(figure.axes[3].images[0].get_array(), maps["4"][0])


def test_filters_are_the_weights(model):
    figure = md.plot.filters(model)
    sheet = figure.axes[0].images[0].get_array()
    np.testing.assert_array_equal(sheet[:3, :3], model.layers[0].weight.numpy()[0, 0])
    assert "of 4×2 kernels 3×3" in figure.axes[0].get_title()
    last = md.plot.filters(model, layer="4").axes[0].images[0].get_array()
    np.testing.assert_array_equal(last[:2, :2], model.layers[4].weight.numpy()[0, 0])
    coloured = md.plot.filters(md.nn.Conv2d(3, 6, 5)).axes[0].images[0].get_array()
    assert coloured.shape == (11, 17, 3) and coloured.min() >= 0 and coloured.max() <= 1


def test_the_figures_are_written(model, tmp_path):
    md.plot.saliency(model, IMAGE, tmp_path / "s.png", label=2)
    moments = {"a": md.plot.take_pictures(model, IMAGE), "b": md.plot.take_pictures(model, IMAGE)}
    figure = md.plot.strip(moments, tmp_path / "p.png")
    assert len(figure.axes) == 6 and figure.axes[1].get_title() == "b"
    assert all((tmp_path / n).read_bytes().startswith(b"\x89PNG") for n in ("s.png", "p.png"))
    many = {f"epoch {i}": moments["a"] for i in range(30)}
    shown = [axis.get_title() for axis in md.plot.strip(many).axes if axis.get_title()]
    assert len(shown) <= 9 and shown[0] == "epoch 0" and shown[-1] == "epoch 29"


def test_what_cannot_be_shown_is_refused(model):
    dense = md.nn.Sequential(md.nn.Flatten(), md.nn.Dense(4, 2))
    with pytest.raises(ConfigError, match="it has none"):
        md.plot.filters(dense)
    with pytest.raises(ConfigError, match="it has 0, 4"):
        md.plot.filters(model, layer="9")
    with pytest.raises(ConfigError, match="model with convolutions"):
        md.plot.feature_maps(dense, IMAGE)
    for label in (3, -1, 1.5, "a"):
        with pytest.raises(ConfigError, match="label from 0 to 2"):
            md.plot.saliency(model, IMAGE, label=label)
    with pytest.raises(ConfigError, match="expected most an int >= 1"):
        md.plot.feature_maps(model, IMAGE, most=0)
    with pytest.raises(ConfigError, match="expected most an int >= 1"):
        md.plot.strip({"a": md.plot.take_pictures(model, IMAGE)}, most=0)
    with pytest.raises(ConfigError, match="one image"):
        md.plot.saliency(model, np.zeros((4, 2, 8, 8), "f"))
    with pytest.raises(ConfigError, match="at least one picture"):
        md.plot.strip({})


class Mean(md.nn.Module):
    """Logits without any parameter: the mean of each channel."""

    def forward(self, x):
        return x.mean((2, 3))


class Deaf(md.nn.Module):
    """Logits that do not depend on the image."""

    def __init__(self):
        super().__init__()
        self.bias = md.nn.Parameter(np.arange(3.0))

    def forward(self, x):
        return self.bias.reshape(1, 3) * 1.0


def test_saliency_of_any_model():
    figure = md.plot.saliency(Deaf(), IMAGE)
    assert not np.asarray(figure.axes[1].images[0].get_array()).any()
    assert figure.axes[1].get_title() == "∂ logit 2 / ∂ pixel"
    slope = md.plot.saliency(Mean(), IMAGE, label=0).axes[1].images[0].get_array()
    np.testing.assert_allclose(slope, 1 / 64)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("channels", [2, 3])
def test_numbers_that_are_not_finite_leave_the_others_to_be_seen(tmp_path, bad, channels):
    md.manual_seed(0)
    model = md.nn.Sequential(md.nn.Conv2d(channels, 4, 3), md.nn.GlobalAvgPool2d())
    image = np.ones((channels, 8, 8), np.float32)
    weights = model[0].weight
    weights.data[0, 0, 0, 0] = bad
    md.plot.filters(model, tmp_path / "f.png")
    image[0, 0, 0] = bad
    figure = md.plot.feature_maps(model, image, tmp_path / "m.png")
    ends = figure.axes[0].images[0].get_clim()
    assert np.isfinite(ends).all()
    md.plot.saliency(model, image, tmp_path / "s.png")
    weights.data[...] = bad
    md.plot.filters(model, tmp_path / "f.png")
    md.plot.strip({"a": md.plot.take_pictures(model, image)}, tmp_path / "p.png")
