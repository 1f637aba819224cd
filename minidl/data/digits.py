"""scikit-learn's handwritten digits: real, small, and there without a download."""

import numpy as np

from ..errors import DataError
from .dataset import Dataset


def digits() -> Dataset:
    """1,797 real handwritten digits of 8x8 pixels, brought to MNIST's 28x28.

    Shapes: images (1797, 1, 28, 28) float32 in [0, 1]; labels (1797,).
    Formula: values 0..16 are divided by 16, each pixel is repeated to 3x3, and two rows and
    columns of zeros go round the 24x24 result.
    Raises: DataError if scikit-learn is not installed.
    Source: Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI (1998).
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise DataError(
            f"digits: expected scikit-learn, which holds these images, but {error}; "
            'pip install "minidl[demos]", or pip install scikit-learn'
        ) from None

    bunch = load_digits()
    small = (bunch.images / 16).astype(np.float32)  # (1797, 8, 8)
    large = small.repeat(3, axis=1).repeat(3, axis=2)  # (1797, 24, 24)
    images = np.pad(large, ((0, 0), (2, 2), (2, 2)))[:, None]  # (1797, 1, 28, 28)
    return Dataset(images, bunch.target, [str(digit) for digit in range(10)], "digits")
