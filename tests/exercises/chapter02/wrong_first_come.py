"""Expect: highest `node.order` first"""

import minidl as md
from minidl import Tensor


def derivative(y: Tensor, x: Tensor) -> float:
    gradients = {id(y): md.tensor(1.0, dtype="float64")}
    waiting, seen = [y], {id(y)}
    while waiting:
        t = waiting.pop(0)
        if t.node is None:
            continue
        for source, pullback in reversed(t.node.inputs):
            part = pullback(gradients[id(t)], t)
            known = gradients.get(id(source))
            gradients[id(source)] = part if known is None else known + part
            if id(source) not in seen:
                seen.add(id(source))
                waiting.append(source)
    return gradients[id(x)].item()
