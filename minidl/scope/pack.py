"""Arrays and numbers in JSON, which has no arrays, no infinity and no NaN."""

import base64
from typing import Any

import numpy as np

from ..device import Array, to_host
from ..norms import rms

LARGEST = 1 << 16  # values of one array that are sent; a larger one is cut to its first rows
FULL, SHORT = 4, 3  # bytes of a value: float32, or float32 without its last 8 bits


def pack(array: Array, width: int = FULL) -> dict[str, Any]:
    """An array as base64: the page turns it back into numbers, infinities and NaN among them.

    width: bytes for each value. SHORT leaves 16 bits of the mantissa: 4 to 5 decimal digits.
    An array of float64 may lie outside the range of float32. Its values are divided by 2ᵏ, and k is
    sent as `power`. An array with more than LARGEST values is cut along its first axis; `shape` is
    the shape after the cut.
    """
    values, power = to_host(array), 0
    if values.size > LARGEST and values.ndim:
        values = values[: max(1, LARGEST // max(1, values[0].size))]
    if values.dtype == np.float64:
        finite = np.abs(values[np.isfinite(values)])
        if finite.size and finite.max() > 0:
            power = int(np.frexp(finite.max())[1])
            values = np.ldexp(values, -power)
    with np.errstate(all="ignore"):
        plain = np.ascontiguousarray(values, dtype="<f4")
    raw = plain.view(np.uint8).reshape(-1, 4)[:, 4 - width :]  # little-endian: the last bits first
    return {
        "shape": list(plain.shape),
        "bytes": width,
        "power": power,
        "base64": base64.b64encode(raw.tobytes()).decode("ascii"),
    }


def statistics(array: Array) -> dict[str, Any]:
    """Root mean square, range, share of zeros, and the counts of infinities and NaN."""
    values = to_host(array)
    finite = values[np.isfinite(values)]
    return {
        "rms": rms(values),
        "min": float(finite.min()) if finite.size else None,
        "max": float(finite.max()) if finite.size else None,
        "zero": float((values == 0).mean()) if values.size else 0.0,
        "infinite": int(np.isinf(values).sum()),
        "nan": int(np.isnan(values).sum()),
    }
