"""minidl's docstrings write formulas as a reader of the source sees them: y = 1/(1 + e⁻ˣ).

`formulas` finds them in a line of text and writes them for KaTeX. What it does not know for certain
to be a formula stays as it is: a formula has an `=` or `←`, and consists of known signs and names.
"""

import re
import unicodedata
from collections.abc import Iterator

SUPER = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ᵃᵇⁱᵏⁿᵗˣʸᵀ", "0123456789+-abikntxyT", strict=True))
SUB = dict(zip("₀₁₂₃₄₅₆₇₈₉ᵢⱼₖₙₜₓ₊₋", "0123456789ijkntx+-", strict=True))
SIGNS = {
    "·": r"\cdot ", "√": r"\sqrt ", "Σ": r"\sum ", "∂": r"\partial ", "∫": r"\int ", "π": r"\pi ",
    "∞": r"\infty ", "±": r"\pm ", "×": r"\times ", "≈": r"\approx ", "←": r"\leftarrow ",
    "≤": r"\le ", "≥": r"\ge ", "‖": r"\Vert ", "−": "-", "@": r"\, ", "…": r"\ldots ",
}  # fmt: skip
GREEK = {
    c: "\\" + unicodedata.name(c).split()[-1].lower().replace("lamda", "lambda") + " "
    for c in "αβγδεηθκλμρστφ"
} | {"Φ": r"\Phi ", "Δ": r"\Delta ", "∇": r"\nabla "}
FUNCTIONS = {
    *(
        "exp",
        "ln",
        "log",
        "sin",
        "cos",
        "tan",
        "sinh",
        "cosh",
        "tanh",
        "arcsin",
        "arccos",
        "arctan",
    ),
    *("max", "min"),
}
NAMES = {
    *("sign", "mean", "var", "softmax", "sigmoid", "softplus", "clip", "onehot", "logits", "elu"),
    *("fan_in", "fan_out", "slope", "label", "inf", "ddof", "conv2d", "keep", "momentum", "lr"),
}
WORDS = {"where", "else", "for", "over", "if", "at", "and", "of", "on"}
TOKEN = re.compile(
    r"(?P<frac>(?:d[A-Za-zθ]+/d[A-Za-zθ]+)|∂[A-Za-zθ]+/∂[A-Za-zθ]+)|(?P<name>[A-Za-z][A-Za-z0-9_]*)|(?P<number>\d+(?:\.\d+)?(?:e-?\d+)?)"
    rf"|(?P<super>[{''.join(SUPER)}]+)|(?P<sub>[{''.join(SUB)}]+)"
    rf"|(?P<sign>[{''.join(SIGNS)}])|(?P<greek>[{''.join(GREEK)}])"
    r"|(?P<plain><=|>=|[-+*/=<>()\[\]|,'^ .:])|(?P<other>.)",
    re.UNICODE,
)
BOUNDARY = re.compile(
    r"(; |\. |: |, (?=d[a-zA-Z]\w*/d|dL|dx |dw |db |y' |y =|[A-Z]\w* = )"
    r"| (?:along|over|as|without|of two) [^;]*| \((?:radians|cross-correlation|0 at)[^;]*"
    r"|, (?:which|infinite|undefined|taken|the|a|so|not|until|and|0) [^;]*)"
)


def formulas(line: str) -> Iterator[tuple[bool, str]]:
    """(whether it is TeX, text) for each piece of a line."""
    for piece in BOUNDARY.split(line):
        bare = piece.rstrip(".")
        tex = _tex(bare) if re.search(r"[=←]", bare) else None
        if tex is None:
            yield False, piece
        else:
            yield True, tex
            yield False, piece[len(bare) :]


def _tex(text: str) -> str | None:
    """A formula in TeX, or None where something in it is not known."""
    out: list[str] = []
    words = 0
    for token in TOKEN.finditer(_roots(text)):
        kind, found = token.lastgroup, token.group()
        if kind == "frac":
            above, below = found.split("/")
            out.append(rf"\frac{{{_differential(above)}}}{{{_differential(below)}}}")
        elif kind == "name":
            written = _name(found)
            if written is None:
                return None
            words += written.startswith(r"\text")
            out.append(written)
        elif kind == "super":
            out.append("^{" + "".join(SUPER[c] for c in found) + "}")
        elif kind == "sub":
            out.append("_{" + "".join(SUB[c] for c in found) + "}")
        elif kind == "sign":
            out.append(SIGNS[found])
        elif kind == "greek":
            out.append(GREEK[found])
        elif kind == "other":
            if found not in "{}":
                return None
            out.append(found)
        else:
            out.append({"<=": r"\le ", ">=": r"\ge ", "<": r"\lt ", ">": r"\gt "}.get(found, found))
    return "".join(out).strip() if words < 6 else None


def _roots(text: str) -> str:
    """√(...) and √x with braces around what stands under the root, and e^(...) around the power."""
    for sign in ("√", "^"):
        place = text.find(sign)
        while place >= 0:
            start = place + 1
            end, inner = _group(text, start)
            text = text[:start] + "{" + inner + "}" + text[end:]
            place = text.find(sign, start)
    return text


def _group(text: str, start: int) -> tuple[int, str]:
    """Where the group that begins at start ends, and what is in it, without its brackets."""
    if text[start : start + 1] != "(":
        match = re.match(r"[A-Za-z0-9_]+|.?", text[start:])
        assert match is not None
        return start + match.end(), match.group()
    depth = 0
    for i in range(start, len(text)):
        depth += (text[i] == "(") - (text[i] == ")")
        if depth == 0:
            return i + 1, text[start + 1 : i]
    return len(text), text[start + 1 :]


def _differential(text: str) -> str:
    sign = r"\partial " if text[0] == "∂" else "d"
    rest = text[1:]
    return sign + (rest if len(rest) == 1 else GREEK.get(rest, rf"\mathrm{{{rest}}}"))


def _name(found: str) -> str | None:
    if found in FUNCTIONS:
        return rf"\{found} "
    if found in WORDS:
        return rf"\text{{ {found} }}"
    if found in NAMES:
        escaped = found.replace("_", r"\_")
        return rf"\operatorname{{{escaped}}} "
    if len(found) == 1:
        return found
    if re.fullmatch(r"d[a-zA-Z]", found):
        return found
    return None
