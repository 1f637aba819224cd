"""Small faults: the source of a module with one node of its syntax tree changed."""

import ast
import hashlib
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]

SWAPS: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.MatMult: ast.Mult,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn,
    ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And, ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}  # fmt: skip


class Mutant(NamedTuple):
    """One planted fault: where it is, the line as it was and as it is now, the whole source."""

    path: str
    key: str
    line: int
    function: str
    old: str
    new: str
    source: str

    @property
    def name(self):
        return f"{self.path}:{self.line} {self.function}: `{self.old}` -> `{self.new}`"


def mutants(path):
    """Every mutant of a file.

    The key changes with the function or class that the fault is in, and with nothing else.
    """
    statements = ast.parse((ROOT / path).read_text(encoding="utf-8")).body
    texts = [ast.unparse(statement) for statement in statements]
    for place, statement in enumerate(statements):
        function = getattr(statement, "name", "(module)")
        for node, plant in list(_changes(statement)):
            fields = {k: v[:] if isinstance(v, list) else v for k, v in vars(node).items()}
            kept = node.__class__, fields
            plant(node)
            changed = ast.unparse(statement)
            node.__class__, node.__dict__ = kept
            if changed == texts[place]:
                continue
            lines = zip(texts[place].splitlines(), changed.splitlines(), strict=True)
            old, new = next((a.strip(), b.strip()) for a, b in lines if a != b)
            key = hashlib.sha256(f"{path}\n{changed}".encode()).hexdigest()[:16]
            source = "\n".join([*texts[:place], changed, *texts[place + 1 :]])
            yield Mutant(path, key, node.lineno, function, old, new, source)


def _changes(tree):
    """(node, function that changes it in place) for every fault that could be planted."""
    skipped = set()
    for node in ast.walk(tree):
        text_only = isinstance(node, ast.Raise | ast.Assert | ast.AnnAssign) or (
            isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        )
        if isinstance(node, ast.AnnAssign):
            skipped.update(ast.walk(node.annotation))
        elif text_only:  # words for people, and what only the type checker reads
            skipped.update(ast.walk(node))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            skipped.update(filter(_is_number, [node.operand]))  # -1 is one number, not -(1)
        for field in ("returns", "annotation"):
            if getattr(node, field, None) is not None:
                skipped.update(ast.walk(getattr(node, field)))
    for node in ast.walk(tree):
        if node not in skipped:
            yield from _faults(node)


def _faults(node):
    if isinstance(node, ast.BinOp | ast.BoolOp | ast.AugAssign) and type(node.op) in SWAPS:
        yield node, lambda n: setattr(n, "op", SWAPS[type(n.op)]())
    elif isinstance(node, ast.Compare):
        yield node, lambda n: n.ops.__setitem__(0, SWAPS[type(n.ops[0])]())
    elif isinstance(node, ast.UnaryOp) and type(node.op) in (ast.USub, ast.Not, ast.Invert):
        plus = ast.parse("bool" if isinstance(node.op, ast.Not) else "(lambda x: x)", mode="eval")
        yield node, lambda n: _become(n, ast.Call(plus.body, [n.operand], []))
        if _is_number(node.operand) and isinstance(node.op, ast.USub):
            yield node, lambda n: _become(n, ast.Constant(1 - n.operand.value))
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield node, lambda n: setattr(n, "value", not n.value)
    elif _is_number(node):
        yield node, lambda n: setattr(n, "value", n.value + 1)
    elif isinstance(node, ast.Lambda) and [a.arg for a in node.args.args][:1] == ["g"]:
        zero = ast.parse("g * 0", mode="eval").body
        yield node, lambda n: setattr(n, "body", zero)
    elif isinstance(node, ast.If | ast.IfExp) and not _turned_around(node.test):
        yield node, lambda n: setattr(n, "test", ast.UnaryOp(ast.Not(), n.test))


def _turned_around(test):
    """Whether a fault of the test itself already is its opposite."""
    if isinstance(test, ast.UnaryOp):
        return isinstance(test.op, ast.Not)
    opposite = ast.Eq | ast.NotEq | ast.Is | ast.IsNot | ast.In | ast.NotIn
    return (
        isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], opposite)
    )


def _is_number(node):
    return isinstance(node, ast.Constant) and type(node.value) in (int, float)


def _become(node, other):
    """Turn the node into another, in place."""
    node.__class__, node.__dict__ = other.__class__, node.__dict__ | other.__dict__
