"""The record under its former name: `from minidl.graph import record` works as ever."""

from .backward import sweep
from .modes import Observer, enable_grad, is_recording, no_grad, observe, running
from .tensor import Node, Pullback, cotangent_of, record
