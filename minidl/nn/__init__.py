"""What owns parameters: modules, layers, initializers. A file for each idea."""

from typing import Any

from ..habits import LAYERS, missing
from . import init
from .activation import ELU, GELU, SELU, LeakyReLU, ReLU, Sigmoid, Softmax, Tanh
from .container import Residual, Sequential
from .conv import Conv2d, ConvTranspose2d
from .dense import Dense
from .dropout import Dropout
from .module import Module, Parameter
from .norm import BatchNorm2d, LayerNorm
from .pool import AvgPool2d, Flatten, GlobalAvgPool2d, MaxPool2d
from .weight_norm import weight_norm


def __getattr__(name: str) -> Any:
    missing("minidl.nn", name, LAYERS)
