"""The doctor's error rates: from the study's logs to docs/doctor.md and the microscope's page.

    python tools/doctor_study.py --runs 300 --seed 4001 > doctor-4001.log    # and so on
    python tools/doctor_rates.py doctor-4001.log doctor-4002.log ...
    python tools/doctor_rates.py

With logs, the table of docs/doctor.md is written from them: recall / precision / false warnings of
each draw, and of all draws together. Then, and without logs, what the bold rows say about a doctor
who saw one pass is written to the file that the microscope's page reads. A test holds the file to
the table.
"""

import json
import re
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGE, FILE = ROOT / "docs/doctor.md", ROOT / "minidl/scope/doctor_rates.json"
_ROW = re.compile(
    r"^\| \*\*(?P<kind>\w+)\*\* \| all \| \*\*(?P<recall>[\d.]+) / (?P<precision>[\d.]+) / "
    r"(?P<false>[\d.]+) %\*\*",
    re.MULTILINE,
)
_HEAD = """| networks | seed | one pass | three trial steps | a second training |
|---|---|---|---|---|
"""
_JUDGES = ("0 trial steps", "3 trial steps", "a second training of the same networks")
_MATRIX = re.compile(
    r"^(?P<kind>\w+), \d+ networks, (?P<judge>.+)\n.*\n"
    + r"".join(
        rf"{o} +(?P<{o}>\d+) +(?P<not_{o}>\d+)\n" for o in ("diverged", "learned", "neither")
    ),
    re.MULTILINE,
)


def table(logs: list[str]) -> str:
    """The rows of the page's table, from what the study printed for each seed."""
    counts: dict[str, dict[str, dict[str, Counter[str]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(Counter))
    )
    for log in logs:
        seed = re.findall(r"^seed (\d+)$", log, re.MULTILINE)[0]
        for found in _MATRIX.finditer(log):
            matrix = {n: int(v) for n, v in found.groupdict().items() if n not in ("kind", "judge")}
            for draw in (seed, "all"):
                counts[found["kind"]][draw][found["judge"]].update(matrix)
    lines = []
    for kind, draws in counts.items():
        for draw in [*sorted(set(draws) - {"all"}), "all"]:
            bold = "**" if draw == "all" else ""
            cells = " | ".join(f"{bold}{_rates(draws[draw][judge])}{bold}" for judge in _JUDGES)
            lines.append(f"| {bold}{kind}{bold} | {draw} | {cells} |\n")
    return "".join(lines)


def _rates(count: Counter[str]) -> str:
    warned = count["diverged"] + count["learned"] + count["neither"]
    recall = count["diverged"] / (count["diverged"] + count["not_diverged"])
    false = count["learned"] / (count["learned"] + count["not_learned"])
    return f"{recall:.3f} / {count['diverged'] / warned:.3f} / {100 * false:.1f} %"


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
    """Write the table, where there are logs, and the file."""
    if paths := sys.argv[1:]:
        before, head, after = PAGE.read_text(encoding="utf-8").partition(_HEAD)
        rows = table([Path(path).read_text(encoding="utf-8") for path in paths])
        PAGE.write_text(before + head + rows + after[after.index("\n\n") + 1 :], encoding="utf-8")
    FILE.write_text(json.dumps(rates(PAGE.read_text(encoding="utf-8")), indent=2) + "\n")


if __name__ == "__main__":
    main()
