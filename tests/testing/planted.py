"""Operations with a mistake planted in their gradient. Every one of them must be found."""

import numpy as np

import minidl as md
from minidl import ops
from minidl.graph import no_grad, record
from minidl.tensor import as_tensor


def with_gradient(value, *pulls):
    """An operation from its value and one wrong or right (g, y, *inputs) -> gradient per input."""

    def op(*inputs):
        xs = [as_tensor(x) for x in inputs]
        pairs = [(x, lambda g, y, p=p: p(g, y, *xs)) for x, p in zip(xs, pulls, strict=True)]
        return record(value(*(x.data for x in xs)), *pairs)

    return op


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def relu(x):
    return np.maximum(x, 0)


def mask(x):
    return md.Tensor((x.data > 0).astype(float))


def overwritten(x):
    """x used twice; the second use's gradient replaces the first instead of adding to it."""
    inner = x * 1.0
    lost = inner.detach() * 3.0
    return lost + inner * inner


def mutating(x):
    x.data *= 2.0
    return x * 1.0


def mutating_on_the_way_back(x):
    def pull(g, y):
        x.data[...] = 0.0
        return g

    return record(x.data * 1.0, (x, pull))


def overwriting_the_cotangent(x):
    def pull(g, y):
        g.data[...] *= 2.0
        return g

    return record(x.data * 2.0, (x, pull)) * 1.0


def forgetful(x):
    with no_grad():
        return ops.exp(x)


def bias_without_sum(x, b):
    """Σ over the batch is taken over one axis of two: the other entries get their neighbours'."""
    return record(
        x.data + b.data,
        (x, lambda g, y: g),
        (b, lambda g, y: ops.broadcast_to(g.sum(0)[:1], b.shape)),
    )


def first_of_group(x, w):
    """A grouped convolution whose weight gradient forgets the groups: block 0 for all."""
    y = ops.conv2d(x, w, groups=2)
    half = ops.conv2d(x[:, :1], w[:1])

    def by_w(g, y):
        block = md.vjp(lambda k: ops.conv2d(x[:, :1], k), w[:1])[1](g[:, :1])
        return ops.concatenate([block, block])

    assert half.shape[2:] == y.shape[2:]
    return record(y.data, (w, by_w))


def unflipped(x, w):
    """A convolution whose input gradient correlates with w instead of convolving."""

    def by_x(g, y):
        turned = ops.swapaxes(w, 0, 1)
        return ops.conv2d(g, turned, padding=(w.shape[2] - 1, w.shape[3] - 1))

    return record(ops.conv2d(x.data, w.data).data, (x, by_x))


def unpooled_to_every_tie(x):
    """Max-pooling that gives the gradient to every pixel above the mean: not to the maximum."""
    y = ops.max_pool2d(x.data, 2).data
    spread = np.repeat(np.repeat(y, 2, 2), 2, 3)
    near = md.Tensor((x.data >= spread - 0.5).astype(float))

    def pull(g, y):
        wide = ops.broadcast_to(g.reshape(*g.shape[:3], 1, g.shape[3], 1), 1, 1, 2, 2, 2, 2)
        return wide.reshape(1, 1, 4, 4) * near

    return record(y, (x, pull))


RNG = np.random.default_rng(0)
M, N, SQUARE = RNG.normal(size=(3, 4)), RNG.normal(size=(4, 2)), RNG.normal(size=(3, 3))
LINE = np.array([-1.3, 0.4, 2.1, -0.2])
IMAGE, KERNEL = RNG.normal(size=(1, 2, 5, 5)), RNG.normal(size=(2, 1, 3, 3))
FULL = RNG.normal(size=(2, 2, 3, 3))

# name: (operation, inputs, arguments of gradcheck, words of the message)
GRADIENTS = {
    "softmax ×7": (
        with_gradient(softmax, lambda g, y, x: 7 * y * (g - (g * y).sum(-1, keepdims=True))),
        *((M,), {}, r"a wrong factor \(analytic = 7 × numeric"),
    ),
    "softmax without its second term": (
        *(with_gradient(softmax, lambda g, y, x: y * g), (M,), {}, "12 of 12 elements are wrong"),
    ),
    "softmax summed over the wrong axis": (
        with_gradient(softmax, lambda g, y, x: y * (g - (g * y).sum(0, keepdims=True))),
        *((M,), {}, "elements are wrong"),
    ),
    "wrong sign": (with_gradient(np.exp, lambda g, y, x: -g * y), (LINE,), {}, "a wrong sign"),
    "a missing 1/N": (
        with_gradient(lambda x: x.mean(), lambda g, y, x: ops.broadcast_to(g, x.shape)),
        *((M,), {}, r"a wrong factor \(analytic = 12 × numeric"),
    ),
    "1/N of the wrong axis": (
        with_gradient(lambda x: x.mean(0), lambda g, y, x: ops.broadcast_to(g / 4.0, x.shape)),
        *((M,), {}, r"analytic = 0.75 × numeric"),
    ),
    "a transposed weight": (
        with_gradient(lambda a, b: a @ b, lambda g, y, a, b: g @ b, lambda g, y, a, b: a.mT @ g),
        *((SQUARE, SQUARE.T @ SQUARE + M[:, :3]), {}, "input 0 of shape"),
    ),
    "a transposed gradient": (
        with_gradient(lambda x: np.sin(x), lambda g, y, x: (g * ops.cos(x)).T),
        *((SQUARE,), {}, r"a transposed gradient \(right for the axes in the order \(1, 0\)\)"),
    ),
    "a gradient of the transposed shape": (
        with_gradient(lambda x: np.sin(x), lambda g, y, x: (g * ops.cos(x)).T),
        *((M,), {}, r"gives a gradient of shape \(4, 3\) for an input of shape \(3, 4\)"),
    ),
    "swapped operands": (
        with_gradient(lambda a, b: a * b, lambda g, y, a, b: g * a, lambda g, y, a, b: g * b),
        *((LINE, LINE[::-1] + 0.3), {}, "input 0 .*\n.*\n?.*"),
    ),
    "swapped slopes of a division": (
        with_gradient(lambda a, b: a / b, lambda g, y, a, b: g / b, lambda g, y, a, b: -g * y / a),
        *((LINE, LINE + 4.0), {}, "input 1 of shape"),
    ),
    "a reversed scan": (
        with_gradient(np.cumsum, lambda g, y, x: ops.cumsum(g, 0)),
        *((LINE,), {}, r"elements are wrong"),
    ),
    "a flip that is not undone": (
        *(with_gradient(np.flip, lambda g, y, x: g), (LINE,), {}, "a gradient reversed along ax"),
    ),
    "a roll the wrong way": (
        with_gradient(lambda x: np.roll(x, 1), lambda g, y, x: ops.roll(g, 1, 0)),
        *((LINE,), {}, "the right values at the wrong places"),
    ),
    "a dropped broadcast sum": (*(bias_without_sum, (M, LINE), {}, "input 1 of shape"),),
    "overwritten instead of accumulated": (overwritten, (LINE,), {}, "elements are wrong"),
    "the square without its 2": (
        *(with_gradient(np.square, lambda g, y, x: g * x), (LINE,), {}, "analytic = 0.5 × numeric"),
    ),
    "the cube with the square's gradient": (
        with_gradient(lambda x: x**3, lambda g, y, x: 2 * g * x),
        *((LINE,), {}, "worst at"),
    ),
    "relu'(x) = 1 below 0": (
        *(with_gradient(relu, lambda g, y, x: g), (LINE,), {}, "2 of 4 elements are wrong"),
    ),
    "relu that passes where it is off": (
        with_gradient(relu, lambda g, y, x: g * (1 - mask(x))),
        *((LINE,), {}, "4 of 4 elements are wrong"),
    ),
    "a constant added": (
        with_gradient(np.sin, lambda g, y, x: g * ops.cos(x) + 0.01),
        *((LINE,), {}, r"a constant added \(analytic = numeric \+ 0.01\)"),
    ),
    "a gradient lost at one element": (
        with_gradient(np.sin, lambda g, y, x: g * ops.cos(x) * np.array([1.0, 1.0, 0.0, 1.0])),
        *((LINE,), {}, "a gradient that is lost at some elements"),
    ),
    "a graph that is cut": (forgetful, (LINE,), {}, "a gradient that never arrives"),
    "a gradient where there is none": (
        *(with_gradient(np.zeros_like, lambda g, y, x: g), (LINE,), {}, "function is constant"),
    ),
    "an error of one part in a million": (
        with_gradient(np.exp, lambda g, y, x: g * y * (1 + 1e-6)),
        *((LINE,), {}, "wrong gradient"),
    ),
    "a gradient that is not a number": (
        *(with_gradient(np.sqrt, lambda g, y, x: g / (x * 0)), (LINE**2,), {}, "is (-?inf|nan) at"),
    ),
    "correlation instead of convolution": (unflipped, (IMAGE, FULL), {}, "input 0 of shape"),
    "groups forgotten in the weight gradient": (
        *(first_of_group, (IMAGE, KERNEL), {}, "input 1 of shape"),
    ),
    "pooling that gives to losers too": (
        *(unpooled_to_every_tie, (RNG.normal(size=(1, 1, 4, 4)) * 0.3,), {}, "elements are wrong"),
    ),
    "an input changed": (mutating, (LINE,), {}, "f changes its input 0"),
    "an input changed on the way back": (
        *(mutating_on_the_way_back, (LINE,), {}, "backward pass changes input 0"),
    ),
    "a cotangent changed on the way back": (
        *(
            overwriting_the_cotangent,
            (LINE,),
            {},
            "pullback of .* changes the gradient or the output",
        ),
    ),
    "a second derivative that is cut": (
        with_gradient(np.exp, lambda g, y, x: md.Tensor(g.data * y.data)),
        *((LINE,), {"order": 2}, "second derivative"),
    ),
    "a second derivative through y alone": (
        with_gradient(np.tanh, lambda g, y, x: g * (1 - (y * y).detach())),
        *((LINE,), {"order": 2}, r"second derivative.*wrong gradient"),
    ),
    "a cotangent cut out of the second derivative": (
        with_gradient(np.sin, lambda g, y, x: g.detach() * ops.cos(x)),
        *((LINE,), {"order": 2}, "second derivative"),
    ),
    "float64 in a float32 computation": (
        with_gradient(lambda x: x * np.ones_like(x), lambda g, y, x: g * np.ones(4)),
        *((LINE,), {"check": ("dtype",)}, "a gradient of dtype float64 from float32"),
    ),
    "a value in float64 from float32": (
        with_gradient(lambda x: x * np.float64(2), lambda g, y, x: g * 2.0),
        *((LINE,), {"check": ("dtype",)}, "expected a float32 result from float32 inputs"),
    ),
    "float32 inside": (
        with_gradient(
            lambda x: np.sin(x.astype("f")).astype(float), lambda g, y, x: g * ops.cos(x)
        ),
        *((LINE,), {}, "computed in float64 throughout"),
    ),
    "contiguous memory taken for granted": (
        with_gradient(
            lambda x: np.sin(x.ravel(order="K")).reshape(x.shape), lambda g, y, x: g * ops.cos(x)
        ),
        *((M,), {"check": ("layout",)}, "with (strided|reversed|Fortran)"),
    ),
    "a gradient that is not linear in the cotangent": (
        with_gradient(np.exp, lambda g, y, x: g * abs(g) * y),
        *((LINE,), {"check": ("graph",)}, "linear in the cotangent|used twice"),
    ),
}
