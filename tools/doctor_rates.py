"""Take the doctor's error rates from docs/doctor.md to where the microscope's page reads them.

    python tools/doctor_rates.py

The table of docs/doctor.md is the source. Its bold rows hold, for each kind of networks, recall /
precision / false warnings of a doctor who saw one pass. A test holds the file to the table.
"""

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGE, FILE = ROOT / "docs/doctor.md", ROOT / "minidl/scope/doctor_rates.json"
_ROW = re.compile(
    r"^\| \*\*(?P<kind>\w+)\*\* \| all \| \*\*(?P<recall>[\d.]+) / (?P<precision>[\d.]+) / "
    r"(?P<false>[\d.]+) %\*\*",
    re.MULTILINE,
)


def rates(text: str) -> dict[str, Any]:
    """Recall, precision and the share of false warnings, for each kind of networks."""
    found = {
        row["kind"]: {
            "recall": float(row["recall"]),
            "precision": float(row["precision"]),
            "false": round(float(row["false"]) / 100, 4),
            "networks": 300 * len(re.findall(rf"^\| {row['kind']} \|", text, re.MULTILINE)),
        }
        for row in _ROW.finditer(text)
    }
    if "300 networks each" not in text or not found:
        raise SystemExit(f"{PAGE} has no table of rates that this tool can read")
    return found


def main() -> None:
    """Write the file."""
    FILE.write_text(json.dumps(rates(PAGE.read_text(encoding="utf-8")), indent=2) + "\n")


if __name__ == "__main__":
    main()
