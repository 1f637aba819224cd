"""A run from its options: the data, model and optimizer they name, and the folder it fills."""

from .compare import Comparison, compare
from .config import Config
from .data import NAMED, Splits, load_data
from .run import Run
from .training import Outcome, train, train_seeds

__all__ = [
    *("NAMED", "Comparison", "Config", "Outcome", "Run", "Splits"),
    *("compare", "load_data", "train", "train_seeds"),
]
