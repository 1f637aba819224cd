"""The report of a search."""

from pathlib import Path
from typing import Any


def write_report(search: Any) -> Path:
    return search.out / "report.html"
