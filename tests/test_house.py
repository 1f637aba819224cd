"""The plan of the house, held by tests: who imports whom, how long things are, what loads what."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "minidl"
# Top to bottom: a part imports only from parts that stand after it.
FLOORS = (
    *("__main__", "cli", "lab", "runs", "health", "export", "train", "plot", "models", "data"),
    *(
        "optim",
        "nn",
        "testing",
        "functional",
        "ops",
        "kernels",
        "graph",
        "tensor",
        "backward",
        "memory",
        "rng",
        "device",
    ),
    "errors",
)
SOURCES = sorted(PACKAGE.rglob("*.py"))


def part(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """The parts of minidl that a file imports, wherever in the file; type-only imports aside."""
    found = set()
    here = ["minidl", *path.relative_to(PACKAGE).parent.parts]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    type_only = {
        child
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node not in type_only:
            base = here[: len(here) - node.level + 1] if node.level else []
            module = [*base, *(node.module.split(".") if node.module else [])]
            if module[:1] == ["minidl"]:
                names = [module[1]] if len(module) > 1 else [a.name for a in node.names]
                found.update(n for n in names if n in FLOORS)
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path):
    here = part(path)
    if here in ("__init__", "lab"):  # these two are written in the public names
        return
    upward = {n for n in imports(path) if FLOORS.index(n) < FLOORS.index(here)}
    assert not upward, f"{path.name} imports {upward} from above"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_file_holds_two_ideas(path):
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= 300, f"{path.name} has {lines} lines"


def test_the_engine_can_be_read_in_an_afternoon():
    engine = {"tensor", "graph", "functional", "backward", "ops", "nn", "optim"}
    texts = [p.read_text(encoding="utf-8") for p in SOURCES if part(p) in engine]
    lines = sum(bool(line.strip()) for text in texts for line in text.splitlines())
    assert lines <= 2500, f"the engine has {lines} lines of code and docstrings"


def test_import_loads_numpy_alone():
    code = "import sys, minidl; print(' '.join(sorted({m.partition('.')[0] for m in sys.modules})))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    third_party = {
        *("cv2", "cupy", "matplotlib", "hypothesis", "rich", "click", "sklearn", "safetensors"),
        *("scipy", "pytest", "torch", "pooch", "onnx"),
    }
    assert "numpy" in loaded
    assert not third_party & set(loaded)


@pytest.mark.parametrize(
    ("library", "home"),
    [
        ("cv2", "data/"),
        ("matplotlib", "plot.py"),
        ("cupy", "device.py"),
        ("hypothesis", "testing/"),
        ("onnx", "export.py"),
    ],
)
def test_a_library_is_imported_in_one_place(library, home):
    users = {
        str(p.relative_to(PACKAGE))
        for p in SOURCES
        for node in ast.walk(ast.parse(p.read_text(encoding="utf-8")))
        if (
            isinstance(node, ast.Import)
            and any(a.name.split(".")[0] == library for a in node.names)
        )
        or (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == library)
    }
    assert users
    assert all(u.startswith(home) for u in users), users
