"""The page of a benchmark: tables from the measurements, nothing else."""

import os
import platform
from pathlib import Path
from typing import Any

import numpy as np
from busy import NEIGHBOURS, QUIET
from cases import CASES, FROM_SCRATCH, OURS
from folders import BATCH_LARGE, FOLDERS, WORKERS

KEPT = 3  # runs of a case that the page looks at

# The faster of these is the one to compare with, and the ratio aimed at.
KERAS_TORCH = ("keras fit", "torch", "torch channels_last")
TORCH = ("torch", "torch channels_last")
ANSWERS = ("torch", "torch channels_last", "keras predict_on_batch", "jax")
AIMS = {
    "article-32": [(KERAS_TORCH, 1.5), (FROM_SCRATCH, 10)],
    "article-64": [(KERAS_TORCH, 1.8), (FROM_SCRATCH, 10)],
    "article-256": [(KERAS_TORCH, 1.8)],
    "mlp-64": [(TORCH, 1.0), (("jax",), 0.8)],
    "vgg-64": [(TORCH, 0.85)],
    "resnet-64": [(TORCH, 0.8)],
    "answer-1": [(ANSWERS, 1.0)],
    "answer-256": [(ANSWERS, 1.0)],
}

# What a variant may add to another one, in percent, and what it does there.
ADDED = {
    "minidl fit": (
        *("minidl", 3),
        "It gathers the images of each batch, which the bare step has at hand.",
    ),
    "minidl monitor": (
        *("minidl unfused", 10),
        "It makes some fifteen small NumPy calls for each layer.",
    ),
}


def page(results: dict[str, Any]) -> str:
    """docs/benchmarks.md of what `make bench` has measured."""
    cases = [name for name in CASES if results.get(name)]
    parts = [INTRODUCTION.format(machine=machine()), *summary(results, cases)]
    for name in cases:
        parts += section(name, results[name][-1])
    if results.get("busy"):
        parts += busy_machine(results["busy"][-1])
    if results.get("folders"):
        parts += folders(results["folders"][-1])
    if results.get("products"):
        parts += products(results["products"][-1], results)
    if results.get("scaling"):
        parts += scaling(results["scaling"][-1])
    return "\n".join(parts)


def summary(results: dict[str, Any], cases: list[str]) -> list[str]:
    """Each aim beside what the last runs gave."""
    lines = [
        "## What was aimed at, and what came out\n",
        "Each a median over the rounds of the ratio of the times in one round, in the last runs "
        f"(up to {KEPT}).\n",
        "| step | compared with | aim | runs | reached |",
        "|---|---|---|---|---|",
    ]
    for name in cases:
        runs = results[name][-KEPT:]
        for rivals, aim in AIMS.get(name, []):
            found = [_least(run, rivals) for run in runs]
            ratios = [ratio for ratio, _ in found if ratio is not None]
            lines.append(_aim(name, found[-1][1], f"≥ {aim:g}", ratios, ratios, aim))
        if CASES[name].train:
            memory = [_memory(run) for run in runs]
            shares = [share for share in memory if share is not None]
            lines.append(_aim(name, "PyTorch's peak memory", "≥ 1", shares, shares, 1))
        for variant, (base, most, _) in ADDED.items():
            more = _added(runs, variant, base)
            if more:
                reached = "yes" if max(more) <= most else "no"
                shown = " / ".join(f"{m:+.1f} %" for m in more)
                lines.append(
                    f"| {name} | {variant}: added to {base} | ≤ {most} % | {shown} | {reached} |"
                )
    return [*lines, "", *stops(results, cases)]


def stops(results: dict[str, Any], cases: list[str]) -> list[str]:
    """For each ratio that was not reached: what it asks for, and what of that the machine needs."""
    lines = []
    alone = results["products"][-1]["steps"] if results.get("products") else {}
    for name in cases:
        run = results[name][-1]
        for rivals, aim in AIMS.get(name, []):
            ratio, rival = _least(run, rivals)
            least = min(_least(past, rivals)[0] or aim for past in results[name][-KEPT:])
            if ratio is None or least >= aim:
                continue
            ours, (products, traffic) = _of(run, "minidl"), _at_the_limits(run)
            asked = ratio * ours / aim
            line = (
                f"- `{name}`, {rival.partition(' (')[0]}: the aim is a step of {1e3 * asked:.3g} "
                f"ms, minidl's takes {1e3 * ours:.3g}. At the machine's limits its products take "
                f"{1e3 * products:.2g} ms and its memory {1e3 * traffic:.2g}, "
                f"{100 * (products + traffic) / asked:.0f} % of what is aimed at"
            )
            if name in alone:
                thin = sum(row["often"] * row["seconds"] for row in alone[name])
                line += (
                    f"; but at the rate that BLAS reaches for these shapes the products alone take "
                    f"{1e3 * thin:.3g} ms, which leaves {1e3 * (asked - thin):.3g} for all the rest"
                    f", where minidl takes {1e3 * (ours - thin):.3g}"
                )
            lines.append(line + ".")
        for variant, (base, most, why) in ADDED.items():
            more = _added(results[name][-KEPT:], variant, base)
            if more and max(more) > most:
                step = 10 * _of(results[name][-1], base)  # ms in a percent of it
                lines.append(
                    f"- `{name}`, {variant}: the aim is {most * step:.2g} ms in a step, it took up "
                    f"to {max(more) * step:.2g}. {why}"
                )
    return ["### What stops those that were not reached\n", *lines, ""] if lines else []


def _at_the_limits(run: dict[str, Any]) -> tuple[float, float]:
    """Seconds of the step's products and of its memory traffic, at the rates of these rounds."""
    return (
        run["operations"] / run["limits"]["operations"],
        run["bytes"] / run["limits"]["bytes"],
    )


def _aim(
    name: str, rival: str, aim: str, ratios: list[float], shown: list[float], least: float
) -> str:
    reached = "not measured" if not ratios else "yes" if min(ratios) >= least else "no"
    return f"| {name} | {rival} | {aim} | {' / '.join(f'{r:.2f}' for r in shown)} | {reached} |"


def _of(run: dict[str, Any], engine: str) -> float:
    return float(np.median(run["engines"][engine]["seconds"]))


def _ratio(run: dict[str, Any], engine: str, other: str) -> float:
    """The ratio of their times, by rounds: what slows the machine for a while slows both."""
    first, second = (np.array(run["engines"][e]["seconds"]) for e in (engine, other))
    return float(np.median(first / second))


def _added(runs: list[dict[str, Any]], variant: str, base: str) -> list[float]:
    """Percent that a variant of minidl adds to another, for each run; empty if not measured."""
    if not all({variant, base} <= run["engines"].keys() for run in runs):
        return []
    return [100 * (_ratio(run, variant, base) - 1) for run in runs]


def _least(run: dict[str, Any], rivals: tuple[str, ...]) -> tuple[float | None, str]:
    there = {r: _ratio(run, r, "minidl") for r in rivals if r in run["engines"]}
    if not there:
        return None, ", ".join(rivals)
    fastest = min(there, key=there.__getitem__)
    return there[fastest], f"{fastest} (the fastest of {', '.join(rivals)})"


def _memory(run: dict[str, Any]) -> float | None:
    there = [run["engines"][r]["memory"] for r in TORCH if r in run["engines"]]
    return min(there) / run["engines"]["minidl"]["memory"] if there else None


def section(name: str, run: dict[str, Any]) -> list[str]:
    """The table of one case."""
    case, ours = CASES[name], _of(run, "minidl")
    lines = [
        f"## {case.title}, batch {case.batch} (`{name}`)\n",
        "| engine | version | ms per step | from – to | ÷ minidl | peak memory, MB | of process |",
        "|---|---|---|---|---|---|---|",
    ]
    for engine in sorted(run["engines"], key=lambda e: (e not in OURS, _of(run, e))):
        found = run["engines"][engine]
        times = 1e3 * np.array(found["seconds"])
        doubt = "" if found["agrees"] else " **disagrees**"
        lines.append(
            f"| {engine}{doubt} | {found['version']} | {np.median(times):.3g} | "
            f"{times.min():.3g} – {times.max():.3g} | {np.median(times) / 1e3 / ours:.2f} | "
            f"{found['memory'] / 2**20:.0f} | {found['process'] / 2**20:.0f} |"
        )
    limits, operations, moved = run["limits"], run["operations"], run["bytes"]
    products, traffic = _at_the_limits(run)
    lines += [""]
    lines += [f"Missing: {engine} ({why}).\n" for engine, why in run["missing"].items()]
    return [
        *lines,
        f"The machine in these rounds, with {run.get('machine', 'NumPy')}: "
        f"{limits['operations'] / 1e9:.0f} G operations/s in a matrix product, "
        f"{limits['bytes'] / 1e9:.1f} GB/s in a copy. The step multiplies for "
        f"{operations / 1e9:.3g} G operations and moves {moved / 1e6:.3g} MB layer by layer: at "
        f"those limits {1e3 * products:.2g} + {1e3 * traffic:.2g} ms, "
        f"{100 * (products + traffic) / ours:.0f} % of minidl's time "
        f"({100 * products / ours:.0f} % products, {100 * traffic / ours:.0f} % memory).\n",
    ]


def products(run: dict[str, Any], results: dict[str, Any]) -> list[str]:
    """What the products of a step take by themselves, and which of them are slow."""
    best = run["operations"]
    lines = [
        "## What the matrix products alone take (`products`)\n",
        f"NumPy's BLAS makes {best / 1e9:.0f} G operations/s of large square matrices here, and "
        "less of thin ones. Each product of a step alone, with everything in the cache: the "
        "least that a step can take which makes these products with this BLAS.\n",
        "| step | products (m, k, n) | share of the time | of the best rate |",
        "|---|---|---|---|",
    ]
    sums = []
    for name, rows in run["steps"].items():
        seconds = np.array([row["often"] * row["seconds"] for row in rows])
        work = np.array([2 * row["often"] * np.prod(row["shape"]) for row in rows])
        for i in np.argsort(-seconds)[:4]:
            m, k, n = rows[i]["shape"]
            lines.append(
                f"| {name} | {rows[i]['often']:g} × ({m}, {k}, {n}) | "
                f"{100 * seconds[i] / seconds.sum():.0f} % | "
                f"{100 * work[i] / seconds[i] / best:.0f} % |"
            )
        if results.get(name):
            step = results[name][-1]
            rivals = ", ".join(
                f"{rival} {1e3 * _of(step, rival):.3g} ms"
                for rival in TORCH
                if rival in step["engines"]
            )
            sums.append(
                f"- `{name}`: {1e3 * seconds.sum():.3g} ms for the products alone, at "
                f"{100 * work.sum() / seconds.sum() / best:.0f} % of the best rate; minidl's step "
                f"{1e3 * _of(step, 'minidl'):.3g} ms{', ' + rivals if rivals else ''}.\n"
            )
    return [*lines, "", *sums]


def busy_machine(run: dict[str, Any]) -> list[str]:
    """How many times as long a step takes beside other programs, for each engine."""
    lines = [
        "## On a busy machine (`busy`)\n",
        f"The same steps while other programs want the same {run['cores']} cores, one program for "
        "each core: loops that compute in Python, and programs that multiply matrices with as many "
        "BLAS threads as there are cores. The number is a step's time beside them, divided by its "
        "time on the quiet machine. With as many equal programs as cores, each gets half of a "
        "core's time, so 2 would be a fair share.\n",
        "| step | engine | quiet, ms | " + " | ".join(f"beside {n}" for n in NEIGHBOURS) + " |",
        "|---|---|---|" + "---|" * len(NEIGHBOURS),
    ]
    for name, engines in run["steps"].items():
        for engine, times in engines.items():
            quiet = float(np.median(times[QUIET]))
            cells = []
            for kind, (_, most) in NEIGHBOURS.items():
                longer = float(np.median(times[kind])) / quiet
                aim = "" if engine != "minidl" else f" (aim ≤ {most:g})"
                cells.append(f"{longer:.1f} ×{aim}")
            lines.append(f"| {name} | {engine} | {1e3 * quiet:.3g} | {' | '.join(cells)} |")
    return [*lines, ""]


def folders(run: dict[str, Any]) -> list[str]:
    """Memory and speed of folders of images."""
    eager, lazy, large = (run[name] for name in ("eager", "lazy", "lazy, large"))
    slower = np.array(run["train"]["eager"]) / np.array(run["train"]["lazy"])
    rates = {name: float(np.median(found)) for name, found in run["rates"].items()}
    rounds = np.array(run["rates"]["minidl"]) / np.array(run["rates"]["torch"])
    return [
        "## Folders of images (`folders`)\n",
        "JPEG files in ten classes. Memory is what the process held at most in an epoch of "
        "batches, less what it held when the decoders were loaded. A ratio is the median over "
        "rounds that alternate.\n",
        "| what | aim | measured |",
        "|---|---|---|",
        f"| memory of {FOLDERS['small'][0]:,} images 32×32×3, read at once | ≤ 1.3 × their "
        f"{eager['pixels']:.1f} MiB of pixels | {eager['memory']:.1f} MiB, "
        f"{eager['memory'] / eager['pixels']:.2f} × |",
        f"| the same, left in their files | ≤ 64 MiB | {lazy['memory']:.1f} MiB |",
        f"| {FOLDERS['large'][0]:,} images 224×224×3 ({large['pixels']:,.0f} MiB of pixels), left "
        f"in their files, batches of {BATCH_LARGE} | ≤ 64 MiB | {large['memory']:.1f} MiB |",
        f"| training `vgg_small` on {FOLDERS['trained'][0]:,} images 32×32×3: speed from files ÷ "
        f"speed from memory | ≥ 0.97 | {np.median(slower):.3f} ({slower.min():.3f} – "
        f"{slower.max():.3f}) |",
        f"| images 224×224×3 a second, ÷ PyTorch's DataLoader with {WORKERS} workers and Pillow "
        f"| ≥ 1 | {rates['minidl']:,.0f} ÷ {rates['torch']:,.0f}: "
        f"{np.median(rounds):.2f} ({rounds.min():.2f} – {rounds.max():.2f}) |",
        "",
    ]


def scaling(run: dict[str, Any]) -> list[str]:
    """How time follows work, as exponents of a fit of log time by log work."""
    lines = [
        "## How cost grows (`scaling`)\n",
        "A training step of `deep_plain_cnn`, one measure changed at a time. The exponent p of "
        "time ~ workᵖ, fitted over the larger half, is 1 where time grows linearly with the work, "
        "and below 1 where the fixed cost of calls still shows.\n",
        "| grows | from – to | work × | time × | exponent |",
        "|---|---|---|---|---|",
    ]
    for what, points in run["curves"].items():
        values, work, seconds = (
            np.array([p[k] for p in points]) for k in ("value", "operations", "seconds")
        )
        half = slice(len(work) // 2 - 1, None)
        power = np.polyfit(np.log(work[half]), np.log(seconds[half]), 1)[0]
        lines.append(
            f"| {what} | {values[0]} – {values[-1]} | {work[-1] / work[0]:.3g} | "
            f"{seconds[-1] / seconds[0]:.3g} | {power:.2f} |"
        )
    return [*lines, "", "![Time of a step by work](figures/benchmarks-scaling.png)\n"]


def machine() -> str:
    """The processor, its cores and the memory, in words."""
    name = platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text(encoding="utf-8").splitlines()
        names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
        flags = next((line.split() for line in lines if line.startswith("flags")), [])
        vectors = [f for f in ("avx512f", "avx2", "avx") if f in flags][:1]
        name = ", ".join([*names[:1], *vectors])
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{name}, {os.cpu_count()} cores, {memory:.0f} GB, Python {platform.python_version()}"


INTRODUCTION = """# Benchmarks

Written by `make bench`; no number here was typed by hand. Machine: {machine}.

Each engine runs in a process of its own, stopped while another one is timed, in turn, several
rounds in one run, with its own default threads. All get the same weights, data and batches
(float32), and their first losses must agree with minidl's. A step is forward, backward and the
update of plain gradient descent; the time is the median over the rounds, *from – to* their spread.
Peak memory is what the process held at most during the steps, less what it held before the network
was made.
"""
