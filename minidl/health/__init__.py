"""Gradient health: what is measured, what it means, and what to do about it."""

from .doctor import doctor
from .monitor import GradientMonitor
from .report import Finding, Report
