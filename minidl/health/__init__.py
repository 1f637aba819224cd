"""Gradient health: what is measured, what it means, and what to do about it."""

from .doctor import doctor
from .report import Finding, Report
