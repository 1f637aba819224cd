"""The models: their layers, shapes and sizes, beside PyTorch, and what they refuse."""

import numpy as np
import pytest

import minidl as md
from minidl import models, nn
from minidl.errors import ConfigError, ShapeError
from tests.device import fetch

MODELS = {
    "article_cnn": (lambda **o: models.article_cnn(**o), (1, 28, 28), 63_050),
    "mlp": (lambda **o: models.mlp(784, **o), (1, 28, 28), 669_706),
    "vgg_small": (lambda **o: models.vgg_small(**o), (3, 32, 32), None),
    "resnet_small": (lambda **o: models.resnet_small(**o), (3, 32, 32), 78_042),
    "deep_plain_cnn": (lambda **o: models.deep_plain_cnn(4, 8, **o), (1, 28, 28), 5_762),
}
each = pytest.mark.parametrize("name", MODELS)


def batch(shape, n=2):
    return np.random.default_rng(0).normal(size=(n, *shape)).astype(np.float32)


def layers(model):
    return [type(m).__name__ for m in model]


@each
def test_a_model_ends_in_one_logit_per_class(name):
    make, shape, size = MODELS[name]
    model = make(classes=7)
    assert isinstance(model, nn.Module)
    logits = model(batch(shape))
    assert logits.shape == (2, 7) and logits.dtype == np.float32
    assert isinstance(model[-1], nn.Dense)
    md.ops.cross_entropy(logits, np.array([0, 6])).backward()
    assert all(np.isfinite(p.grad.numpy()).all() for p in model.parameters())
    assert all(np.abs(p.grad.numpy()).max() > 0 for p in model.parameters() if p.ndim > 1)
    if size:
        assert sum(p.size for p in make().parameters()) == size


@each
def test_init_reaches_every_weight(name):
    make, _, _ = MODELS[name]
    model = make(init=nn.init.constant(0.25))
    weights = [p for n, p in model.named_parameters() if p.ndim > 1]
    assert weights and all((p.numpy() == 0.25).all() for p in weights)
    with pytest.raises(ConfigError, match="expected init"):
        make(init="he")
    md.manual_seed(4)
    one = fetch(make().state_dict())
    md.manual_seed(4)
    two = fetch(make().state_dict())
    assert all(np.array_equal(one[n], two[n]) for n in one)


def test_the_articles_cnn():
    model = models.article_cnn()
    assert layers(model) == ["Conv2d", "ReLU", "MaxPool2d", "Flatten", "Dense"]
    assert [(n, p.shape) for n, p in model.named_parameters()] == [
        ("0.weight", (32, 1, 3, 3)),
        ("0.bias", (32,)),
        ("4.weight", (10, 14 * 14 * 32)),
        ("4.bias", (10,)),
    ]
    conv, pool = model[0], model[2]
    assert (conv.stride, conv.padding, conv.dilation, conv.groups) == (1, "same", 1, 1)
    assert (pool.size, pool.stride, pool.padding) == (2, 2, 0)
    other = models.article_cnn("xavier_normal", in_channels=3, size=33, classes=4)
    assert other(batch((3, 33, 33))).shape == (2, 4)


def test_mlp():
    assert layers(models.mlp(4)) == ["Flatten", *["Dense", "ReLU"] * 2, "Dense"]
    model = models.mlp(12, (5,), 3, activation=nn.Tanh)
    assert layers(model) == ["Flatten", "Dense", "Tanh", "Dense"]
    assert model(batch((3, 2, 2))).shape == (2, 3)
    assert layers(models.mlp(12, ())) == ["Flatten", "Dense"]
    assert models.mlp(12)(batch((12,))).shape == (2, 10)


@pytest.mark.parametrize("make", [models.vgg_small, models.resnet_small])
@pytest.mark.parametrize("size", [4, 7, 28, 32])
def test_image_models_take_images_of_other_sizes(make, size):
    assert make(1, size, 5)(batch((1, size, size))).shape == (2, 5)


@pytest.mark.parametrize(("depth", "side"), [(1, 14), (2, 7), (5, 7)])
def test_the_labs_cnn(depth, side):
    model = models.deep_plain_cnn(depth, 6)
    assert layers(model) == ["Conv2d", "ReLU"] * depth + ["Flatten", "Dense"]
    convs = [m for m in model if isinstance(m, nn.Conv2d)]
    assert [m.stride for m in convs] == [2, 2, 1, 1, 1][:depth]
    assert all(m.padding == 1 and m.kernel_size == (3, 3) and m.out_channels == 6 for m in convs)
    assert model[-1].in_features == 6 * side**2
    assert all((m.bias.numpy() == 0).all() for m in (*convs, model[-1]))
    odd = models.deep_plain_cnn(3, 2, "orthogonal", in_channels=2, size=9, classes=3)
    assert odd(batch((2, 9, 9))).shape == (2, 3)


@pytest.mark.parametrize(
    "make",
    [
        lambda: models.article_cnn(size=1),
        lambda: models.article_cnn(size=28.0),
        lambda: models.article_cnn(size="28"),
        lambda: models.article_cnn(in_channels=0),
        lambda: models.article_cnn(classes=0),
        lambda: models.mlp(0),
        lambda: models.mlp(4, (3, 0)),
        lambda: models.vgg_small(size=3),
        lambda: models.resnet_small(size=0),
        lambda: models.deep_plain_cnn(0, 8),
        lambda: models.deep_plain_cnn(2, 0),
        lambda: models.deep_plain_cnn(2.0, 8),
        lambda: models.deep_plain_cnn(2, 8, size=0),
    ],
)
def test_impossible_sizes(make):
    with pytest.raises(ConfigError, match="expected"):
        make()


@each
def test_images_that_do_not_fit_are_explained(name):
    make, (channels, side, _), _ = MODELS[name]
    with pytest.raises(ShapeError, match="expected x with"):
        make()(batch((channels + 1, side, side)))
    if name != "resnet_small":  # whose global average takes images of every size
        with pytest.raises(ShapeError, match="Dense: expected x with"):
            make()(batch((channels, side + 8, side + 8)))


def twin(model):
    """The same layers in PyTorch."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: nothing to compare with")
    tnn = torch.nn

    class Residual(tnn.Module):
        def __init__(self, ours):
            super().__init__()
            self.branch = twin(ours.branch)
            self.shortcut = twin(ours.shortcut) if ours.shortcut else None

        def forward(self, x):
            return self.branch(x) + (x if self.shortcut is None else self.shortcut(x))

    def one(m):
        if isinstance(m, nn.Sequential):
            return tnn.Sequential(*map(one, m))
        if isinstance(m, nn.Residual):
            return Residual(m)
        if isinstance(m, nn.Conv2d):
            options = m.kernel_size, m.stride, m.padding, m.dilation, m.groups
            return tnn.Conv2d(m.in_channels, m.out_channels, *options, m.bias is not None)
        if isinstance(m, nn.Dense):
            return tnn.Linear(m.in_features, m.out_features)
        if isinstance(m, nn.BatchNorm2d):
            return tnn.BatchNorm2d(m.features)
        if isinstance(m, nn.MaxPool2d):
            return tnn.MaxPool2d(m.size, m.stride)
        if isinstance(m, nn.GlobalAvgPool2d):
            return tnn.Sequential(tnn.AdaptiveAvgPool2d(1), tnn.Flatten())
        return getattr(tnn, type(m).__name__)()

    return one(model)


@each
def test_a_model_is_its_pytorch_twin(name):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: nothing to compare with")
    torch.set_num_threads(1)
    md.manual_seed(0)
    make, shape, _ = MODELS[name]
    model = make()
    peer = twin(model)
    assert list(model.state_dict()) == list(peer.state_dict())
    peer.load_state_dict({n: torch.tensor(a) for n, a in fetch(model.state_dict()).items()})
    x, labels = batch(shape, 4), np.array([0, 1, 2, 3])
    loss = md.ops.cross_entropy(model(x), labels)
    loss.backward()
    loss2 = tnn_loss = torch.nn.functional.cross_entropy(
        peer(torch.tensor(x)), torch.tensor(labels)
    )
    tnn_loss.backward()
    assert loss.item() == pytest.approx(loss2.item(), rel=1e-4)
    for p, p2 in zip(model.parameters(), peer.parameters(), strict=True):
        g, g2 = p.grad.numpy(), p2.grad.numpy()
        assert np.linalg.norm(g - g2) <= 2e-3 * np.linalg.norm(g2) + 1e-6
    for a, t in zip(fetch(model.state_dict()).values(), peer.state_dict().values(), strict=True):
        np.testing.assert_allclose(a, t.numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        model.eval()(x).numpy(), peer.eval()(torch.tensor(x)).detach().numpy(), rtol=1e-2, atol=1e-2
    )
