"""Expect: let it wait once"""

import minidl as md
from minidl import Tensor


def derivative(y: Tensor, x: Tensor) -> float:
    gradients = {id(y): md.tensor(1.0, dtype="float64")}
    waiting = [y]
    while waiting:
        waiting.sort(key=lambda t: t.node.order)
        t = waiting.pop()
        for source, pullback in t.node.inputs:
            part = pullback(gradients[id(t)], t)
            known = gradients.get(id(source))
            gradients[id(source)] = part if known is None else known + part
            if source.node is not None:
                waiting.append(source)
    return gradients[id(x)].item()
