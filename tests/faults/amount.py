"""How much the fault tests try: a little every day, all of it with FAULTS=full (make faults)."""

import os

FULL = os.environ.get("FAULTS") == "full"


def amount(everyday: int, full: int) -> int:
    """A number of trials."""
    return full if FULL else everyday
