"""Types are shipped: a user's program is checked, and sees no `Any` where a tensor comes back."""

import re
import subprocess
import sys
from pathlib import Path

import minidl as md

EXPRESSIONS = (
    *(
        "x + 1",
        "2 * x",
        "x @ x",
        "-x",
        "x[0]",
        "x < 1",
        "x.T",
        "x.sum()",
        "x.mean(0, keepdims=True)",
    ),
    *("x.exp()", "x.relu()", "x.reshape(1, 1)", "x.argmax()", "x.detach()", "x.softmax(0)"),
    *("md.ops.conv2d(x, x)", "md.ops.cross_entropy(x, x)", "md.zeros(2)", "md.ops.where(x, x, x)"),
)


def test_the_types_are_shipped():
    assert (Path(md.__file__).parent / "py.typed").exists()


def test_a_users_program_sees_tensors_not_any(tmp_path):
    program = tmp_path / "program.py"
    lines = ["import minidl as md", "x = md.tensor([1.0], requires_grad=True)"]
    lines += [f"reveal_type({expression})" for expression in EXPRESSIONS]
    lines += ["model = md.nn.Sequential(md.nn.Dense(2, 3), md.nn.ReLU())", "bad: int = x.sum()"]
    program.write_text("\n".join(lines) + "\n")
    found = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-incremental", "--follow-imports=silent", program],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"MYPYPATH": str(Path(md.__file__).parents[1]), "PATH": "/usr/bin"},
    ).stdout
    revealed = re.findall(r'Revealed type is "(.+)"', found)
    assert len(revealed) == len(EXPRESSIONS), found
    others = [e for e, t in zip(EXPRESSIONS, revealed, strict=True) if t != "minidl.tensor.Tensor"]
    assert not others
    assert 'expression has type "Tensor", variable has type "int"' in found
