"""The documentation pages of the lab, filled from its own output: `python -m minidl.lab.pages`.

A page holds text and, for each experiment, an empty place between two markers:

    <!-- lab C2 -->
    <!-- end -->

`fill` writes verdict, table, figure and command there, and leaves all other text alone.
"""

import itertools
import json
import math
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .. import plot
from ..errors import DataError
from .registry import Experiment, Result

Record = dict[str, Any]  # one experiment as the lab wrote it: number, name, verdict, rows, ...
_PLACE = re.compile(r"(<!-- lab (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_CHINESE = (
    *(("true", "成立"), ("conditional", "有条件成立"), ("false", "不成立"), ("refuted", "被推翻")),
    *(("setup", "设置"), ("trained", "训练成功"), ("stuck", "停滞"), ("dead", "死亡")),
    *(("diverged", "发散"), ("loss at start", "初始损失"), ("test accuracy", "测试准确率")),
    *(("NaN or death at step", "NaN 或死亡的步数"), ("verdict", "结论"), ("command", "命令")),
    *(("weights", "权重"), ("predicted", "预测"), ("output", "输出"), ("gradient", "梯度")),
    *(("over 10 layers", "10 层累计"), ("parameters", "参数个数"), ("‖gradient‖", "‖梯度‖")),
    *(("gradient's growth per layer", "每层梯度增长"), ("claim", "说法"), ("measured", "实测")),
    *(("He: spread of ln ‖g‖", "He：ln ‖g‖ 的离散度"), ("σ = 0.12: ‖g‖", "σ = 0.12：‖g‖")),
    *(("what the claim promises", "说法的承诺"), ("kept", "是否兑现"), ("yes", "是"), ("no", "否")),
)
_CHINESE_PHRASES = (  # within names of setups and checks; the longer before what they contain
    *((": runs trained of 10", "：10 次中训练成功"), (", beside", "，对比"), ("beside", "对比")),
    *(("equal counts: largest ‖gradient‖ over smallest", "个数相同：最大 ‖梯度‖ 比最小"),),
    *(("times the parameters: ‖gradient‖ over that before", "倍参数：‖梯度‖ 之比"),),
    *(("spread of ln ‖gradient‖", "ln ‖梯度‖ 的离散度"), ("‖gradient‖", "‖梯度‖")),
    *(
        ("output's growth per layer", "每层输出增长"),
        ("gradient's growth per layer", "每层梯度增长"),
    ),
    *((" over C = 4", " 与 C = 4 之比"), ("loss at the start", "初始损失"), ("plain", "普通")),
    *(
        ("adaptive clip", "自适应裁剪"),
        ("clipped", "裁剪"),
        ("decay", "衰减"),
        ("rate/", "学习率/"),
    ),
    *(("warm-up", "预热"), ("BatchNorm", "批归一化"), ("standardised", "标准化")),
)
_CHINESE_TITLES = {
    "C1": "权重归一化能防止梯度爆炸",
    "C2": "梯度裁剪能防止梯度爆炸",
    "C3": "学习率衰减能防止梯度爆炸",
    "C4": "更深的网络不容易梯度爆炸",
    "C5": "更宽的网络不容易梯度爆炸",
    "C6": "Xavier/He 初始化能防止梯度爆炸",
    "C7": "输入归一化能防止梯度爆炸",
    "C8": "权重在各层之间累积",
    "C9": "参数越多，梯度爆炸越严重",
    "C10": "文章之外：批归一化",
    "C11": "文章之外：更小或更聪明的步长",
    "C12": "文章之外：残差分支",
}


def record(experiment: Experiment, result: Result, **extra: Any) -> Record:
    """One experiment's result as plain values for JSON; NaN and infinity become null.

    extra: what else to keep, such as seed, quick and seconds.
    """
    made = {key: getattr(experiment, key) for key in ("number", "name", "title", "setup")}
    made |= {key: getattr(result, key) for key in ("verdict", "conclusion", "rows", "counts")}
    made["series"] = result.series
    made["checks"] = [asdict(c) | {"ok": c.ok, "allowed": c.allowed()} for c in result.checks]
    return _plain(made | extra)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(v) for key, v in value.items()}
    if hasattr(value, "tolist"):  # arrays and NumPy's scalars
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read(folder: Path) -> dict[str, Record]:
    """The lab's records by number. Raises: DataError where the folder holds none."""
    found: dict[str, Record] = {}
    for path in sorted(folder.glob("**/*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        for record in content if isinstance(content, list) else [content]:
            if isinstance(record, dict) and "number" in record and "verdict" in record:
                found[record["number"]] = record
    if not found:
        raise DataError(
            f"pages: expected the lab's results (*.json) in {str(folder)!r}, found none; run "
            f"`minidl lab --all --out {folder}` first"
        )
    return found


def fill(page: str, records: Mapping[str, Record], chinese: bool = False) -> str:
    """The page with every place filled. Raises: DataError for a place without a record."""

    def block(match: re.Match[str]) -> str:
        number = match[2]
        if number == "summary":
            return f"{match[1]}\n{summary(records, chinese)}\n\n{match[3]}"
        if number not in records:
            raise DataError(f"pages: the page has a place for {number}, the lab did not run it")
        return f"{match[1]}\n{section(records[number], chinese)}\n\n{match[3]}"

    return _PLACE.sub(block, page)


def summary(records: Mapping[str, Record], chinese: bool) -> str:
    """A line for each claim with its verdict."""
    claims = [r for number, r in records.items() if number.startswith("C")]
    claims.sort(key=lambda r: int(r["number"][1:]))
    rows = [
        {"": r["number"], "claim": _title(r, chinese), "verdict": f"**{r['verdict']}**"}
        for r in claims
    ]
    return table(rows, chinese)


def _title(record: Record, chinese: bool) -> str:
    title = record["title"]
    return str(_CHINESE_TITLES.get(record["number"], title) if chinese else title)


def section(record: Record, chinese: bool) -> str:
    """Verdict, what was measured, figure and command of one experiment."""
    word = {"verdict": "verdict", "command": "command", record["verdict"]: record["verdict"]}
    if chinese:
        word = {key: dict(_CHINESE).get(key, key) for key in word}
    colon = "：" if chinese else ": "
    parts = [f"**{word['verdict'].capitalize()}{colon}{word[record['verdict']]}**"]
    if not chinese:
        parts[0] += f". {record['conclusion']}"
    parts += [table(rows, chinese) for rows in _alike(record["rows"])]
    parts.append(table([_kept(check) for check in record["checks"]], chinese))
    parts.append(f"![{_title(record, chinese)}](figures/{record['name']}.png)")
    parts.append(f"{word['command'].capitalize()}{colon}`minidl lab {record['name']}`")
    return "\n\n".join(parts)


def _kept(check: Mapping[str, Any]) -> Record:
    return {
        "what the claim promises": check["what"],
        "predicted": check["predicted"],
        "measured": check["measured"],
        "kept": "yes" if check["ok"] else "no",
    }


def _alike(rows: Sequence[Record]) -> list[list[Record]]:
    """The rows in groups of the same columns, each a table of its own."""
    groups: dict[tuple[str, ...], list[Record]] = {}
    for row in rows:
        groups.setdefault(tuple(row), []).append(row)
    return list(groups.values())


def table(rows: Sequence[Record], chinese: bool = False) -> str:
    """Rows as a Markdown table."""
    if not rows:
        return ""
    words = dict(_CHINESE) if chinese else {}
    lines = ["| " + " | ".join(words.get(name, name) for name in rows[0]) + " |"]
    lines.append("|" + "---|" * len(rows[0]))
    for row in rows:
        cells = (_cell(value) for value in row.values())
        bare = ((cell, cell.strip("*")) for cell in cells)
        shown = [cell.replace(text, words.get(text, text)) for cell, text in bare]
        for phrase, other in _CHINESE_PHRASES if chinese else ():
            shown = [cell.replace(phrase, other) for cell in shown]
        lines.append("| " + " | ".join(shown) + " |")
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None or value != value:
        return "–"
    if isinstance(value, float):
        return f"{value:.0f}" if value == int(value) and abs(value) < 1e4 else f"{value:.3g}"
    return str(value)


def draw(series: Mapping[str, Any], path: Path) -> None:
    """The figure of one experiment from its numbers."""
    bars = series.get("bars")
    if bars:
        figure, axis = plot.new_figure(6.4, 0.9 + 0.36 * len(bars))
        names = list(bars)[::-1]
        shares = [float(bars[name]) for name in names]
        colors = [plot.COLORS[2] if share >= 0.8 else plot.COLORS[1] for share in shares]
        axis.barh(names, shares, color=colors)
        for at, share in enumerate(shares):
            axis.text(share + 0.01, at, f"{share:.0%}", va="center", fontsize=9)
        axis.set_xlim(0, 1.1)
        axis.set_xlabel(series["y"])
        axis.grid(False, axis="y")
    else:
        figure, axis = plot.new_figure(6.4, 3.8)
        palette = itertools.cycle(plot.COLORS)
        for color, (name, (x, y)) in zip(palette, series.get("lines", {}).items(), strict=False):
            style = "o-" if len(x) <= 30 else "-"
            axis.plot(x, y, style, color=color, label=name, markersize=4)
        palette = itertools.cycle(plot.COLORS)
        for color, (name, (x, y)) in zip(
            palette, series.get("predicted", {}).items(), strict=False
        ):
            axis.plot(x, y, "--", color=color, label=name, linewidth=1)
        axis.set(xlabel=series["x"], ylabel=series["y"])
        axis.set(xscale="log" if series.get("log_x") else "linear")
        axis.set(yscale="log" if series.get("log_y") else "linear")
        if series.get("log_x"):
            ticks = _apart(x for xs, _ in series["lines"].values() for x in xs)
            axis.set_xticks(ticks, [f"{x:,g}" for x in ticks])
            axis.minorticks_off()
        axis.legend(frameon=False, fontsize=8)
    axis.set_title(series["title"], loc="left", fontsize=11, fontweight="bold")
    figure.set_dpi(100)
    plot.write_figure(figure, path)


def _apart(values: Iterable[float]) -> list[float]:
    """Values far enough apart on a log scale for their labels not to touch."""
    kept: list[float] = []
    for value in sorted(values):
        if not kept or value > 1.3 * kept[-1]:
            kept.append(value)
    return kept


def main(lab: str = "runs/lab", docs: str = "docs") -> None:
    """Fill every page of `docs` that has places, and draw the figures it shows."""
    records, folder = read(Path(lab)), Path(docs)
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    for page in sorted(folder.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        numbers = [match[2] for match in _PLACE.finditer(text)]
        if not numbers:
            continue
        page.write_text(fill(text, records, page.stem.endswith(".zh")), encoding="utf-8")
        for number in numbers:
            if number != "summary":
                name = records[number]["name"]
                draw(records[number]["series"], folder / "figures" / f"{name}.png")
        print(f"{page}: {len(numbers)} places filled")


if __name__ == "__main__":
    main(*sys.argv[1:3])
