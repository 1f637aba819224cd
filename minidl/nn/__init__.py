"""What owns parameters: modules, layers, initializers, weight normalisation."""

from . import init
from .layers import ELU, GELU, SELU, AvgPool2d, BatchNorm2d, Dropout, Flatten, GlobalAvgPool2d
from .layers import LayerNorm, LeakyReLU, MaxPool2d, ReLU, Residual, Sequential
from .layers import Sigmoid, Softmax, Tanh
from .linear import Conv2d, ConvTranspose2d, Dense, weight_norm
from .module import Module, Parameter
