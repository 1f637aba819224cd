"""Training: the Trainer, its record, and files from which a run continues."""

from .checkpoint import Checkpoints, load, save
from .history import History
from .metrics import gradient_norms
from .results import Results
from .score import accuracy
from .trainer import Trainer

__all__ = [
    *("Checkpoints", "History", "Results", "Trainer"),
    *("accuracy", "gradient_norms", "load", "save"),
]
