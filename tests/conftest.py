"""Hypothesis profiles, and the tests' own helpers importable as `tests.…`.

HYPOTHESIS_PROFILE=quick|everyday|fresh|thorough: few examples while developing; the same hundred
for every pull request; a hundred new ones each time; thousands of new ones for a release.
"""

import os
import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

COMMON = {"deadline": None, "suppress_health_check": list(HealthCheck), "print_blob": True}
settings.register_profile("quick", max_examples=10, derandomize=True, database=None, **COMMON)
settings.register_profile("everyday", max_examples=100, derandomize=True, database=None, **COMMON)
settings.register_profile("fresh", max_examples=100, derandomize=False, database=None, **COMMON)
settings.register_profile("thorough", max_examples=5000, derandomize=False, **COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "everyday"))
