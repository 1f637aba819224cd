"""`python tests/benchmarks`: measure, keep the measurements, write docs/benchmarks.md."""

import argparse
import json
from pathlib import Path

import busy
import folders
import products
import report
import scaling
from cases import CASES
from driver import measure

ROOT = Path(__file__).parents[2]
EVERYTHING = [*CASES, "busy", "folders", "products", "scaling"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="names separated by commas; default: all of them")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.3, help="of an engine in a round")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="where the page goes")
    chosen = parser.parse_args()
    names = chosen.only.split(",") if chosen.only else EVERYTHING
    unknown = set(names) - set(EVERYTHING)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(EVERYTHING)}")
    (chosen.docs / "figures").mkdir(parents=True, exist_ok=True)
    kept = chosen.docs / "benchmarks.json"
    disagree = []
    for name in names:
        results = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
        if name == "scaling":
            run = scaling.curves(chosen.rounds, chosen.seconds)
            scaling.draw(run, chosen.docs / "figures" / "benchmarks-scaling.png")
        elif name == "busy":
            run = busy.measure(min(chosen.rounds, 3), chosen.seconds)
            print("\n".join(report.busy_machine(run)), flush=True)
        elif name == "folders":
            run = folders.measure(min(chosen.rounds, 3))
            print("\n".join(report.folders(run)), flush=True)
        elif name == "products":
            run = products.measure(chosen.rounds)
        else:
            run = measure(CASES[name], chosen.rounds, chosen.seconds)
            print("\n".join(report.section(name, run)), flush=True)
            disagree += [f"{name}: {e}" for e, f in run["engines"].items() if not f["agrees"]]
        results[name] = [*results.get(name, []), run][-report.KEPT :]
        kept.write_text(json.dumps(results) + "\n", encoding="utf-8")
        (chosen.docs / "benchmarks.md").write_text(report.page(results), encoding="utf-8")
    if disagree:
        print("other losses than minidl's:", *disagree, sep="\n  ")
    return 1 if disagree else 0


if __name__ == "__main__":
    raise SystemExit(main())
