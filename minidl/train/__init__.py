"""Training: the Trainer, what it records, and files from which a run goes on."""

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
