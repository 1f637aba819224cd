"""Which neighbours run as one or in another order, and that nothing else changes."""

import numpy as np
import pytest

import minidl as md
from minidl import nn, ops
from minidl.testing import gradcheck
from tests.nn.drawn import normal


def kinky(shape, seed):
    """Images with ties, zeros of both signs, windows without a positive value, NaN and inf."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-3, 3, shape).astype(np.float32)
    x[0, 0, :4, :4] = -np.abs(x[0, 0, :4, :4])
    x[x == 0] = rng.choice(np.array([0.0, -0.0], np.float32), (x == 0).sum())
    x[1, 0, 0, :3] = np.nan, np.inf, -np.inf
    return x


@pytest.mark.parametrize(
    ("size", "stride", "padding"), [(2, 2, 0), (3, 1, 1), (3, 2, 0), (2, 3, 1)]
)
def test_pooling_before_relu_is_the_same(size, stride, padding):
    shape = (3, 2, 7, 8)
    for seed in range(20):
        x = md.tensor(kinky(shape, seed), requires_grad=True)
        y = nn.Sequential(nn.ReLU(), nn.MaxPool2d(size, stride, padding))(x)
        x2 = md.tensor(x, requires_grad=True)
        y2 = ops.max_pool2d(ops.relu(x2), size, stride=stride, padding=padding)
        assert np.array_equal(y.numpy(), y2.numpy(), equal_nan=True)
        g = normal(*y.shape, seed=seed).astype(np.float32)
        y.backward(g)
        y2.backward(g)
        assert np.array_equal(x.grad.numpy(), x2.grad.numpy())


AS_ONE = "conv2d + max_pool2d"


def order_of(net, x):
    order = []

    def visit(y):
        if y.node is not None:
            for parent, _ in y.node.inputs:
                visit(parent)
            order.append(y.node.name)

    visit(net(x))
    return order


def test_relu_is_taken_after_pooling_only_where_nobody_looks():
    x = md.tensor(normal(1, 1, 4, 4), requires_grad=True)
    net = nn.Sequential(nn.ReLU(), nn.MaxPool2d(2))
    assert order_of(net, x) == ["max_pool2d + relu"]
    for watch in (nn.Module.register_forward_hook, nn.Module.register_forward_pre_hook):
        for layer in net:
            hook = watch(layer, lambda *seen: None)
            assert order_of(net, x) == ["relu", "max_pool2d"]
            hook.remove()
            assert order_of(net, x) == ["max_pool2d + relu"]
    net[0].forward = ops.relu
    assert order_of(net, x) == ["relu", "max_pool2d"]
    for others in ((nn.ReLU(), nn.AvgPool2d(2)), (nn.Tanh(), nn.MaxPool2d(2))):
        assert order_of(nn.Sequential(*others), x)[-1] in ("avg_pool2d", "max_pool2d")
    twice = nn.Sequential(nn.ReLU(), nn.ReLU(), nn.MaxPool2d(2))
    assert order_of(twice, x) == ["relu", "max_pool2d + relu"]
    assert [type(m) for m in net.layers] == [nn.ReLU, nn.MaxPool2d]


@pytest.mark.host
def test_convolution_and_pooling_run_as_one_only_where_nobody_looks_in_between():
    x = md.tensor(normal(2, 1, 6, 6), requires_grad=True)
    net = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    in_turn = ["conv2d", "max_pool2d + relu"]
    assert order_of(net, x) == [AS_ONE + " + relu"]
    assert order_of(nn.Sequential(net[0], net[2], net[1], net[1]), x) == [
        AS_ONE + " + relu",
        "relu",
    ]
    assert order_of(nn.Sequential(net[0], net[2], nn.Tanh()), x) == [AS_ONE, "tanh"]
    for layer in net:
        hook = layer.register_forward_hook(lambda *seen: None)
        assert "".join(order_of(net, x)).count("relu") == 1 and AS_ONE not in order_of(net, x)[0]
        hook.remove()
    net[0].forward = net[0].forward
    assert order_of(net, x) == in_turn

    class Own(nn.Conv2d):
        def forward(self, x):
            return super().forward(x) * 2

    conv = {"in_channels": 1, "out_channels": 3, "kernel_size": 3, "padding": 1}
    for first, then in (
        (Own(**conv), nn.MaxPool2d(2)),
        (nn.ConvTranspose2d(**conv), nn.MaxPool2d(2)),
        (nn.Conv2d(**conv), nn.AvgPool2d(2)),
        (nn.Conv2d(**conv), nn.MaxPool2d(2, stride=1)),
        (nn.Conv2d(**conv), nn.MaxPool2d(2, padding=1)),
    ):
        assert order_of(nn.Sequential(first, then), x)[-1] in ("max_pool2d", "avg_pool2d")
    assert order_of(nn.Sequential(nn.weight_norm(nn.Conv2d(**conv)), nn.MaxPool2d(2)), x)[-1] == (
        AS_ONE
    )


@pytest.mark.parametrize("rectify", [False, True])
@pytest.mark.parametrize("bias", [True, False])
def test_convolution_and_pooling_as_one_have_the_derivatives_of_the_two(bias, rectify):
    conv, pool = nn.Conv2d(2, 3, 3, stride=(1, 2), padding=1, bias=bias), nn.MaxPool2d((2, 1))
    x, w = normal(2, 2, 4, 5), normal(3, 2, 3, 3, seed=1)
    values = (x, w, normal(3, seed=2)) if bias else (x, w)

    def f(x, w, b=None):
        vars(conv).update(weight=w, bias=b)
        return nn.Sequential(conv, pool, *[nn.ReLU()] * rectify)(x)

    def in_turn(x, w, b=None):
        y = ops.max_pool2d(ops.conv2d(x, w, b, stride=(1, 2), padding=1), (2, 1))
        return ops.relu(y) if rectify else y

    assert f(*map(md.as_tensor, values)).node is None
    np.testing.assert_allclose(f(*values).numpy(), in_turn(*values).numpy(), rtol=1e-12)
    gradcheck(f, *values, order=2)
    u = normal(2, 3, 2, 3, seed=3)
    for one, two in zip(md.vjp(f, *values)[1](u), md.vjp(in_turn, *values)[1](u), strict=True):
        np.testing.assert_allclose(one.numpy(), two.numpy(), rtol=1e-10, atol=1e-12)


def test_the_bias_of_a_convolution_and_pooling_in_one_gets_its_own_gradient():
    conv = nn.Conv2d(1, 2, 3, padding=1)
    y = nn.Sequential(conv, nn.ReLU(), nn.MaxPool2d(2))(normal(3, 1, 4, 4).astype(np.float32))
    for g in (np.ones(y.shape, np.float32), normal(*y.shape).astype(np.float32)):
        g *= (y.numpy() > 0) + 1  # twice where relu passes it
        expected = (g * (y.numpy() > 0)).sum((0, 2, 3))
        for again in (False, True):  # the same array with new numbers in it
            conv.zero_grad()
            y.backward(g, retain_graph=True, create_graph=again)
            np.testing.assert_allclose(conv.bias.grad.numpy(), expected, rtol=1e-5)
            g *= 2
            expected = 2 * expected
    conv.weight.requires_grad = False
    conv.bias.grad = None
    y = nn.Sequential(conv, nn.MaxPool2d(2), nn.ReLU())(normal(3, 1, 4, 4).astype(np.float32))
    y.sum().backward()
    np.testing.assert_array_equal(conv.bias.grad.numpy(), (y.numpy() > 0).sum((0, 2, 3)))


def test_a_subclass_runs_by_itself_whatever_it_changes():
    class Negative(nn.ReLU):
        operation = staticmethod(lambda x: -ops.relu(x))

    class Smallest(nn.MaxPool2d):
        operation = staticmethod(lambda x, **options: -ops.max_pool2d(-x, 2))

    class Tenfold(nn.Conv2d):
        def __call__(self, x):
            return super().__call__(x) * 10

    x = md.tensor(normal(2, 1, 6, 6))
    conv, pool, relu = nn.Conv2d(1, 2, 3), nn.MaxPool2d(2), nn.ReLU()
    for layers in (
        (conv, pool, Negative()),
        (conv, Smallest(2), relu),
        (Tenfold(1, 2, 3), pool, relu),
        (Negative(), pool),
    ):
        y = x
        for layer in layers:
            y = layer(y)
        np.testing.assert_array_equal(nn.Sequential(*layers)(x).numpy(), y.numpy())


def layers_with_relu():
    """A layer that relu can join, its images, and its name."""
    return {
        "batch_norm": (nn.BatchNorm2d(3), (2, 3, 4, 5)),
        "linear": (nn.Dense(6, 4), (5, 6)),
        "linear without bias": (nn.Dense(6, 4, bias=False), (2, 3, 6)),
        "max_pool2d": (nn.MaxPool2d(2), (2, 3, 6, 5)),
        "max_pool2d, large": (nn.MaxPool2d(16), (2, 1, 16, 33)),
    }


@pytest.mark.parametrize("name", layers_with_relu())
@pytest.mark.parametrize("dtype", ["f", "d"])
def test_a_layer_and_its_relu_in_one_give_what_the_two_give(name, dtype):
    found = []
    for joined in (True, False):
        layer, shape = layers_with_relu()[name]
        x = md.tensor(normal(*shape), dtype=dtype, requires_grad=True)
        for i, p in enumerate(layer.parameters()):
            p.data = md.tensor(normal(*p.shape, seed=i), dtype=dtype).data
        y = layer(x, rectify=True) if joined else ops.relu(layer(x))
        assert (
            (y.node.name == name.split(",")[0].split()[0] + " + relu")
            or not joined
            or (name == "linear without bias")
        )
        g = normal(*y.shape, seed=3).astype(dtype)
        g.flat[np.flatnonzero(y.numpy() <= 0)[:2]] = np.inf, np.nan  # where relu gave 0
        y.backward(g)
        found.append([y, x.grad, *(p.grad for p in layer.parameters()), *layer._state().values()])
    for ours, right in zip(*found, strict=True):
        tolerance = {"f": 1e-5, "d": 1e-12}[dtype]
        np.testing.assert_allclose(ours.numpy(), right.numpy(), rtol=tolerance, atol=tolerance)
    assert any((y.numpy() == 0).any() for y in found[0])


@pytest.mark.parametrize("name", layers_with_relu())
def test_a_layer_and_its_relu_in_one_have_derivatives_of_second_order(name):
    layer, shape = layers_with_relu()[name]
    names = [name for name, _ in layer.named_parameters()]
    values = normal(*shape), *(normal(*p.shape, seed=i) for i, p in enumerate(layer.parameters()))

    def f(x, *parameters):
        vars(layer).update(zip(names, parameters, strict=True))
        return layer(x, rectify=True)

    gradcheck(f, *values, order=2)


@pytest.mark.parametrize("name", ["batch_norm", "linear", "max_pool2d"])
def test_relu_joins_a_layer_only_where_nobody_looks(name):
    layer, shape = layers_with_relu()[name]
    x, net = md.tensor(normal(*shape), requires_grad=True), nn.Sequential(layer, nn.ReLU())
    apart = name == "linear" and layer.weight.device == "cpu"
    assert order_of(net, x) == ([name, "relu"] if apart else [name + " + relu"])
    for part in net:
        hook = part.register_forward_hook(lambda *seen: None)
        assert order_of(net, x) == [name, "relu"]
        hook.remove()
    layer.forward = layer.forward
    assert order_of(net, x) == [name, "relu"]
    del vars(layer)["forward"]
    own = type("Own", (type(layer),), {})
    layer.__class__ = own
    assert order_of(net, x) == [name, "relu"]


def test_relu_goes_with_the_pooling_rather_than_with_the_normalisation():
    net = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2))
    x = md.tensor(normal(2, 3, 4, 4), requires_grad=True)
    assert order_of(net, x) == ["batch_norm", "max_pool2d + relu"]


def test_relu_after_a_normalisation_by_running_moments():
    net = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU())
    net(normal(2, 3, 4, 4))
    net.eval()
    x = normal(2, 3, 4, 4, seed=1)
    np.testing.assert_array_equal(net(x).numpy(), ops.relu(net[0](x)).numpy())
    assert net[0].num_batches_tracked.item() == 1


def test_relu_of_nan_is_nan_in_every_layer():
    for name, (layer, shape) in layers_with_relu().items():
        x = normal(*shape)
        x.flat[0] = np.nan
        both = nn.Sequential(layer, nn.ReLU())(x).numpy(), ops.relu(layer(x)).numpy()
        assert np.isnan(both[0]).any(), name
        np.testing.assert_allclose(*both, rtol=1e-6)
