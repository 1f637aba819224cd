"""Are the tests tested? Plant one small fault after the other, and see whether a test fails.

    python tools/mutation.py                  every mutant of every target (hours on two cores)
    python tools/mutation.py minidl/ops       only files under a path
    python tools/mutation.py --sample 200 --seed 3   so many, drawn at random
    python tools/mutation.py --jobs 1         one at a time, on a busy machine
    python tools/mutation.py --again          the survivors too, after a new test
    python tools/mutation.py --report         write docs/mutation.md from the results so far

A mutant is the source of one module with one node of its syntax tree changed: an operator, a
comparison, a sign, a number, a truth value, a condition, a pullback. Results are kept in
.mutation/results.jsonl, so a run that was stopped goes on where it was; a mutant whose source has
changed counts as new. Each runs in a forked process with the tests of its module, in the quick
profile, until the first failure; and if there is none, on the stand-in for CuPy as well.
"""

import argparse
import importlib.abc
import importlib.util
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
import tomllib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mutants import ROOT, mutants

RESULTS = ROOT / ".mutation" / "results.jsonl"
EQUIVALENT = ROOT / "tools" / "equivalent_mutants.toml"
MODULE = "(module)"  # what a mutant outside of all functions has for a function
LIMIT = 150  # seconds of processor time; who needs more hangs, which is a failure that shows
CHECKS = "tests/test_checks.py"
CUDA = "tests/kernels/gpu/test_launch.py"
KERNELS = [
    *("tests/kernels/test_convolution.py", "tests/kernels/test_pooling.py"),
    *("tests/optim/test_rules.py", "tests/kernels"),
]
OPS = ["tests/ops/test_derivatives.py", "tests/ops/test_properties.py", "tests/ops", CUDA]
GRAPH = [
    *("tests/test_graph.py", "tests/test_graph_values.py", "tests/test_graph_memory.py"),
    *("tests/test_graph_observers.py", "tests/test_tensor_hooks.py", "tests/test_functional.py"),
]
# For each target the tests that must notice, those that notice soonest first. The first is tried
# alone: it finds most faults, and to collect the others takes seconds.
TARGETS = {
    "minidl/tensor.py": ["tests/test_tensor.py", *GRAPH, *OPS],
    "minidl/backward.py": [*GRAPH, "tests/test_tensor.py", *OPS],
    "minidl/functional.py": ["tests/test_functional.py", "tests/test_graph.py"],
    "minidl/checks.py": [
        *("tests/test_checks.py", "tests/ops/test_window.py", "tests/ops/test_contract.py"),
        "tests/test_arrays.py",
        *("tests/ops/test_loss.py", "tests/optim", "tests/nn", *OPS, "tests/test_tensor.py"),
    ],
    **{
        f"minidl/ops/{name}.py": [f"tests/ops/test_{name}.py", *OPS, "tests/test_tensor.py"]
        for name in (
            *("elementwise", "activation", "reduce", "shape", "contract", "normalize", "loss"),
            "window",
        )
    },
    **{
        f"minidl/kernels/{name}.py": [
            *(f"tests/kernels/test_{name}.py", "tests/kernels", "tests/ops/test_window.py"),
            *("tests/ops/test_window_options.py", "tests/ops/test_window_pooling.py"),
        ]
        for name in ("window", "choose")
    },
    "minidl/kernels/portable.py": [
        *(
            "tests/kernels/test_portable.py",
            "tests/ops/test_normalize.py",
            "tests/ops/test_loss.py",
        ),
        *("tests/kernels/cpu/test_batch_norm.py", "tests/kernels", "tests/ops/test_window.py"),
        *("tests/ops/test_reduce.py", "tests/ops/test_window_options.py"),
    ],
    **{
        f"minidl/kernels/cpu/{name}.py": [f"tests/kernels/cpu/test_{name}.py", *KERNELS]
        for name in (
            *("layout", "rows", "columns", "pool", "conv_pool", "batch_norm", "product", "update"),
            "threads",
        )
    },
    "minidl/kernels/cpu/elementwise.py": ["tests/kernels/cpu/test_shared_kernels.py", *OPS],
    "minidl/kernels/masks.py": ["tests/ops/test_activation.py", *OPS],
    "minidl/kernels/ordered.py": ["tests/ops/test_contract.py", *OPS],
    "minidl/kernels/linear.py": ["tests/ops/test_contract.py", *OPS, "tests/nn"],
    "minidl/kernels/philox.py": ["tests/kernels/test_philox.py", "tests/nn/test_dropout.py"],
    "minidl/kernels/gpu/update.py": ["tests/optim/test_rules.py", CUDA],
    **{
        f"minidl/optim/{name}.py": [f"tests/optim/test_{name}.py", "tests/optim", CHECKS, CUDA]
        for name in ("optimizer", "rules", "schedules", "clip")
    },
    "minidl/norms.py": ["tests/test_norms.py", "tests/optim/test_clip.py"],
    "minidl/nn/init.py": ["tests/nn/test_init.py", "tests/nn"],
    "minidl/nn/fuse.py": ["tests/nn/test_fuse.py", "tests/nn"],
}
TARGETS["minidl/ops/normalize.py"].insert(1, "tests/nn/test_norm.py")
for name in ("rows", "columns", "pool", "conv_pool", "batch_norm", "product", "update"):
    TARGETS[f"minidl/kernels/cpu/{name}.py"].append("tests/kernels/cpu/test_shared_kernels.py")
SLOW = [f"tests/{name}/test_torch.py" for name in ("ops", "nn")] + [CUDA]  # to start


class _Planted(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Serves one module from the mutated source, all others as they are."""

    def __init__(self, path, source):
        self.name, self.source = path.removesuffix(".py").replace("/", "."), source

    def find_spec(self, name, path, target=None):
        if name == self.name:
            return importlib.util.spec_from_loader(name, self, origin=str(ROOT / name))
        return None

    def exec_module(self, module):
        exec(compile(self.source, self.name, "exec"), module.__dict__)


class _SoonestFirst:
    """A pytest plugin: first the tests named after the function, last those slow to start."""

    def __init__(self, function):
        self.name = function.strip("_").lower()

    def pytest_collection_modifyitems(self, items):
        items.sort(key=lambda item: self._place(item.nodeid))

    def _place(self, test):
        return "torch" in test, self.name not in test.lower()


def verdict(path, source, function=""):
    """ "killed", "timeout" or "survived"."""
    named = [t for t in dict.fromkeys(TARGETS[path]) if (ROOT / t).exists()]
    quick = [t for t in named if t not in SLOW]
    slow = [t for t in SLOW if t in named or str(Path(t).parent) in named]
    found = "survived"
    for tests, device, profile in (
        *((quick[:1], "cpu", "quick"), (quick[1:], "cpu", "quick"), (slow, "cpu", "quick")),
        (quick, "standin", "device"),
    ):
        if tests and found == "survived":
            # A folder of its own: pytest's clearing of the folders of earlier runs can fail.
            with tempfile.TemporaryDirectory() as folder:
                options = ["--basetemp", f"{folder}/tests", "--device", device]
                options += [f"--ignore={t}" for t in SLOW if t not in tests]
                found = _verdict(path, source, function, [*options, *tests], profile)
    return found


def _verdict(path, source, function, arguments, profile):
    child = os.fork()
    if child == 0:
        os.setsid()
        # Some tests send Ctrl-C, which a command that runs in the background ignores.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        resource.setrlimit(resource.RLIMIT_CPU, (LIMIT, LIMIT))
        void = os.open(os.devnull, os.O_WRONLY)
        os.dup2(void, 1)
        os.dup2(void, 2)
        sys.meta_path.insert(0, _Planted(path, source))
        os.environ["HYPOTHESIS_PROFILE"] = profile
        code = 1
        try:
            import pytest

            options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
            options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # hypothesis is loaded
            code = int(pytest.main([*options, *arguments], plugins=[_SoonestFirst(function)]))
        finally:
            sys.stdout.flush()
            os._exit(code)
    end = time.monotonic() + 10 * LIMIT  # waiting for a lock takes no processor time
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            if code in (-signal.SIGKILL, -signal.SIGXCPU):
                return "timeout"
            return "survived" if code in (0, 5) else "killed"  # 5: nothing to run, all skipped
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "timeout"


def known():
    """The results so far, by key."""
    if not RESULTS.exists():
        return {}
    rows = map(json.loads, RESULTS.read_text(encoding="utf-8").splitlines())
    return {row["key"]: row for row in rows}


def reviewed():
    """The equivalent mutants: (file, function, mutated line) -> reason.

    A constant of a module that decides about speed alone is named once, for all of its mutants.
    """
    rows = tomllib.loads(EQUIVALENT.read_text(encoding="utf-8"))["equivalent"]
    return {
        (row["file"], row.get("function", MODULE), name): row["reason"]
        for row in rows
        for name in (*row.get("mutants", ()), *row.get("constants", ()))
    }


def places(mutant):
    """What `reviewed` may name a mutant by: its line, or the constant that the line sets."""
    names = [mutant.new]
    if mutant.function == MODULE:
        names += mutant.new.partition(" = ")[0].split(", ")
    return [(mutant.path, mutant.function, name) for name in names]


def report(found):
    """docs/mutation.md: a row per file, and what survived."""
    equal = reviewed()
    lines = [
        "# Mutation testing",
        "",
        "Written by `python tools/mutation.py --report`. Each mutant is one small fault planted in",
        "a source file; it is killed when a test fails (or hangs). It is equivalent where no test",
        "could tell it from the original: `tools/equivalent_mutants.toml` says why.",
        "",
        "| file | mutants | judged | killed | equivalent | survived |",
        "|---|---|---|---|---|---|",
    ]
    total, left, named = Counter(), [], set()
    for path in TARGETS:
        count = Counter()
        for mutant in mutants(path):
            named.update(places(mutant))
            row = found.get(mutant.key)
            reason = next((equal[place] for place in places(mutant) if place in equal), None)
            count["mutants"] += 1
            count["judged"] += bool(row or reason)
            if row["verdict"] == "survived" if row else reason:
                count["equivalent" if reason else "survived"] += 1
                left.append(f"- {mutant.name}" + (f": {reason}" if reason else ""))
        count["killed"] = count["judged"] - count["equivalent"] - count["survived"]
        total += count
        lines.append(_row(f"`{path}`", count))
    if unknown := set(equal) - named:
        sys.exit(f"{EQUIVALENT.name} names mutants that do not exist: {sorted(unknown)}")
    lines.append(_row("**all**", total))
    share = total["killed"] / max(total["judged"], 1)
    lines += ["", f"Killed as it comes: {share:.1%} of those judged.", ""]
    lines += ["## What survived, and why where no test could tell", ""]
    (ROOT / "docs" / "mutation.md").write_text("\n".join([*lines, *left]) + "\n", encoding="utf-8")
    return share


def _row(name, count):
    columns = ("mutants", "judged", "killed", "equivalent", "survived")
    return f"| {name} | " + " | ".join(str(count[k]) for k in columns) + " |"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="*", default=["minidl"])
    parser.add_argument("--sample", type=int, help="try so many, drawn at random")
    parser.add_argument("--seed", type=int, nargs="+", default=[0], help="a sample for each")
    parser.add_argument("--again", action="store_true", help="try the survivors again as well")
    parser.add_argument("--report", action="store_true", help="only write docs/mutation.md")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="so many at a time")
    options = parser.parse_args()
    os.chdir(ROOT)
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    RESULTS.parent.mkdir(exist_ok=True)
    found = known()
    if not options.report:
        chosen = [p for p in TARGETS if any(p.startswith(o.rstrip("/")) for o in options.paths)]
        equal = reviewed() if options.again else {}
        settled = {k for k, r in found.items() if not options.again or r["verdict"] != "survived"}
        todo = [
            m
            for path in chosen
            for m in mutants(path)
            if m.key not in settled and not equal.keys() & set(places(m))
        ]
        samples = {seed: drawn(todo, options.sample, seed) for seed in options.seed}
        run(list({m.key: m for s in samples.values() for m in s}.values()), found, options.jobs)
        for seed, sample in samples.items():
            left = sum(found[m.key]["verdict"] == "survived" for m in sample)
            print(f"sample of seed {seed}: {len(sample)} mutants, {left} survived")
    share = report(found)
    print(f"killed {share:.1%}; the table is in docs/mutation.md")


def drawn(mutants, count, seed):
    """So many mutants, drawn at random; all of them without a count."""
    return random.Random(seed).sample(mutants, min(count or len(mutants), len(mutants)))


def run(todo, found, jobs):
    """Try the mutants, and add each verdict to the results and to `found`."""
    import hypothesis  # noqa: F401  # loaded once here, inherited by every fork
    import numpy  # noqa: F401
    import pytest  # noqa: F401

    def healthy(path):
        return verdict(path, (ROOT / path).read_text(encoding="utf-8")) == "survived"

    def suite(path):
        return frozenset(t for t in TARGETS[path] if str(Path(t).parent) not in TARGETS[path])

    with ThreadPoolExecutor(jobs) as pool, RESULTS.open("a", encoding="utf-8") as out:
        # The control: without a fault every suite passes.
        paths = sorted({suite(mutant.path): mutant.path for mutant in todo}.values())
        sick = [p for p, fine in zip(paths, pool.map(healthy, paths), strict=True) if not fine]
        if sick:
            sys.exit(f"the tests of {', '.join(sick)} fail without any fault; mend that first")
        judged = pool.map(lambda m: verdict(m.path, m.source, m.function), todo)
        for i, (mutant, judgement) in enumerate(zip(todo, judged, strict=True), 1):
            row = {"key": mutant.key, "mutant": mutant.name, "verdict": judgement}
            found[mutant.key] = row
            out.write(json.dumps(row) + "\n")
            out.flush()
            if judgement == "survived" or i % 50 == 0:
                print(f"{i}/{len(todo)} {judgement}: {mutant.name}", flush=True)


if __name__ == "__main__":
    main()
