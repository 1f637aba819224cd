"""The stages of the doctor follow each other as the package says."""

import ast
import re
from pathlib import Path

import pytest

import minidl.health

FOLDER = Path(minidl.health.__file__).parent
STAGES = re.findall(r"^\d\. (\w+):", minidl.health.__doc__, re.MULTILINE)


def test_all_stages_are_told():
    files = {path.stem for path in FOLDER.glob("*.py")}
    assert files == {*STAGES, "__init__", "doctor", "monitor", "rate"}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_imports_only_earlier_ones(stage):
    tree = ast.parse((FOLDER / f"{stage}.py").read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    near = [node for node in imports if node.level == 1]
    used = {name for n in near for name in ([n.module] if n.module else [a.name for a in n.names])}
    assert used <= set(STAGES[: STAGES.index(stage)])
