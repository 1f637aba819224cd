"""Cases of operations in which a window slides."""

import numpy as np

from tests.ops import draws as d
from tests.ops import references as r
from tests.ops.case import Case, filled, given
from tests.ops.draws import normal

IMAGE = filled((1, 1, 1, 1))
NO_IMAGES, KERNEL = np.zeros((0, 1, 3, 3)), filled((1, 1, 1, 1))

CASES: dict[str, Case] = {
    "conv2d": Case(
        d.convolution, r.conv2d, given(([IMAGE, KERNEL], {}), ([NO_IMAGES, KERNEL], {}))
    ),
    "conv_transpose2d": Case(
        d.transposed_convolution,
        r.conv_transpose2d,
        given(([IMAGE, KERNEL], {}), ([NO_IMAGES, KERNEL], {})),
    ),
    "max_pool2d": Case(
        d.pooling(d.spaced),
        r.pooled(lambda xs, n: max(xs)),
        given(([IMAGE], {"size": 1}), ([NO_IMAGES], {"size": 2})),
    ),
    "avg_pool2d": Case(
        d.pooling(normal),
        r.pooled(lambda xs, n: sum(xs) / n),
        given(([IMAGE], {"size": 1}), ([NO_IMAGES], {"size": 2})),
        linear=True,
    ),
    "global_avg_pool2d": Case(
        lambda rng: ([normal(rng, (2, 3, *d.pixels(rng, 1)))], {}),
        lambda x: r.reduced(r.mean)(x, (2, 3)),
        given(([IMAGE], {}), ([NO_IMAGES], {})),
        linear=True,
    ),
}
