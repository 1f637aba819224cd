"""The gradient of a sum, as lists."""

import minidl as md


def gradient(f, *xs, dtype="float64"):
    """df/dx of the sum of f, for each x."""
    leaves = [md.tensor(x, dtype=dtype, requires_grad=True) for x in xs]
    f(*leaves).sum().backward()
    found = [leaf.grad.numpy().tolist() for leaf in leaves]
    return found[0] if len(found) == 1 else found
