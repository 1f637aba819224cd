"""A run from its options: the data, model and optimizer they name, and the folder it fills."""

from .config import Config
from .data import NAMED, Splits, load_data
from .run import Outcome, Run, train, train_seeds

__all__ = ["NAMED", "Config", "Outcome", "Run", "Splits", "load_data", "train", "train_seeds"]
