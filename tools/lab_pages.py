"""Fills the pages on exploding gradients from the lab's own results. In one line, from the root:

    minidl lab --all --out runs/lab && python tools/lab_pages.py runs/lab docs

The lab takes some minutes on two cores. Later runs may be partial (`minidl lab C2`), since the lab
keeps what is in its folder. The page maker takes seconds. It rewrites docs/exploding-gradients*.md
and the figures they show; of each page it touches only the places between two markers,

    <!-- lab C2 -->
    <!-- end -->

and leaves all other text alone. Run it after every change to a claim.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from minidl.errors import DataError
from minidl.lab.drawing import draw
from minidl.lab.registry import order
from minidl.lab.results import Entry, read, table

_PLACE = re.compile(r"(<!-- lab (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_CLAIMS = {  # number: (title, section, what the article says), in Chinese
    "C1": ("权重归一化能防止梯度爆炸", "3.2，方法 1",
            "权重归一化把权重保持在一定范围内，是一种解决方法。"),
    "C2": ("梯度裁剪能防止梯度爆炸", "3.2，方法 2", "梯度裁剪是一种解决方法。"),
    "C3": ("学习率衰减能防止梯度爆炸", "3.2，方法 3", "学习率衰减是一种解决方法。"),
    "C4": ("更深的网络不容易梯度爆炸", "3.2，方法 4", "更深的网络减少权重的累积，是一种解决方法。"),
    "C5": ("更宽的网络不容易梯度爆炸", "3.2，方法 5",
            "更宽的网络减少参数之间的依赖，是一种解决方法。"),
    "C6": ("Xavier/He 初始化能防止梯度爆炸", "3.3 与 4.3", "用 Xavier 或 He 方法初始化权重。"),
    "C7": ("输入归一化能防止梯度爆炸", "3.3 与 4.1", "对图像做预处理：归一化、标准化。"),
    "C8": ("权重在各层之间累积", "2.1 与 3.1，原因 1", "权重逐层累积时，梯度会爆炸。"),
    "C9": ("参数越多，梯度爆炸越严重", "2.2 与 3.1，原因 3",
            "参数数量的增加是原因之一，而图像网络的参数很多。"),
    "C10": ("文章之外：批归一化", "", ""),
    "C11": ("文章之外：更小或更聪明的步长", "", ""),
    "C12": ("文章之外：残差分支", "", ""),
    "C15": ("文章之外：大批量需要预热", "", ""),
    "C13": ("输入接近零或无穷时梯度爆炸", "2.1 与 3.1，原因 2",
            "输入接近零或无穷时梯度会爆炸；高维输入数值的逼近是原因之一。"),
    "C14": ("高维输入使梯度爆炸更严重", "2.2", "图像输入是高维的，这会使问题更严重。"),
}  # fmt: skip
_WORDS = {  # whole cells and titles of columns
    "true": "成立", "conditional": "有条件成立", "false": "不成立", "refuted": "被推翻",
    "setup": "设置", "trained": "训练成功", "stuck": "停滞", "dead": "死亡", "diverged": "发散",
    "loss at start": "初始损失", "test accuracy": "测试准确率", "pixels": "像素个数",
    "NaN or death at step": "NaN 或死亡的步数", "verdict": "结论", "command": "命令",
    "weights": "权重", "predicted": "预测", "output": "输出", "gradient": "梯度", "claim": "说法",
    "over 10 layers": "10 层累计", "parameters": "参数个数", "‖gradient‖": "‖梯度‖",
    "gradient's growth per layer": "每层梯度增长", "measured": "实测", "inputs times": "输入乘以",
    "He: spread of ln ‖g‖": "He：ln ‖g‖ 的离散度", "σ = 0.12: ‖g‖": "σ = 0.12：‖g‖",
    "largest stable rate": "最大稳定学习率", "counted": "所计", "kept": "是否兑现", "yes": "是",
    "no": "否", "theory predicts": "理论预测", "the article promises": "文章的承诺",
    "the claim promises": "说法的承诺", "the article says": "文章说", "body": "网络",
    "rate": "学习率", "batch 45": "批量 45", "batch 720": "批量 720",
    "batch 720, warm-up": "批量 720，预热", "doctor: will diverge": "医生：“将发散”",
}  # fmt: skip
_PHRASES = {  # within names of setups and checks; the longer before what they contain
    "trained with batch 720 at once, of those with batch 45": "批量 720，不预热：训练成功的比例",
    "trained with batch 720 after a warm-up, of those with batch 45":
        "批量 720，预热：训练成功的比例",
    "'will diverge' of those that did not train at once": "未训练成功者中医生说“将发散”的比例",
    "'will diverge' of those that trained at once": "训练成功者中医生说“将发散”的比例",
    ": trained of 10": "：10 次中训练成功", ", beside": "，对比", "beside": "对比",
    "equal counts: largest ‖gradient‖ over smallest": "个数相同：最大 ‖梯度‖ 比最小",
    "times the parameters: ‖gradient‖ over that before": "倍参数：‖梯度‖ 之比",
    "spread of ln ‖gradient‖": "ln ‖梯度‖ 的离散度", "inputs × ": "输入 × ",
    "gradient's growth per layer": "每层梯度增长", "growth per layer": "每层增长",
    "‖gradient‖": "‖梯度‖", "output's 每层增长": "每层输出增长", " over that at 1": " 与 1 之比",
    "largest stable rate": "最大稳定学习率", ", 64×64 over 8×8": "，64×64 与 8×8 之比",
    " over C = 4": " 与 C = 4 之比", "loss at the start": "初始损失", "loss at start": "初始损失",
    "plain": "普通", "adaptive clip": "自适应裁剪", "clipped": "裁剪", "decay": "衰减",
    "rate/": "学习率/", "warm-up": "预热", "BatchNorm": "批归一化", "standardised": "标准化",
    "raw": "原始像素", "fixed σ": "固定 σ", "at least ": "至少 ", "at most ": "至多 ",
}  # fmt: skip


def fill(page: str, entries: Mapping[str, Entry], chinese: bool = False) -> str:
    """The page with every place filled. Raises: DataError for a place without a result."""

    def block(match: re.Match[str]) -> str:
        number = match[2]
        if number == "summary":
            return f"{match[1]}\n{summary(entries, chinese)}\n\n{match[3]}"
        if number not in entries:
            raise DataError(
                f"lab_pages: the page has a place for {number}, whose result is missing; run "
                f"`minidl lab {number}` into the same folder"
            )
        return f"{match[1]}\n{section(entries[number], chinese)}\n\n{match[3]}"

    return _PLACE.sub(block, page)


def summary(entries: Mapping[str, Entry], chinese: bool) -> str:
    """A line for each claim with its section in the article and its verdict."""
    claims = sorted((n for n in entries if n.startswith("C")), key=order)
    rows = []
    for number in claims:
        title, where, _ = _quoted(entries[number], chinese)
        verdict = _word(entries[number]["verdict"], chinese)
        rows.append({"": number, "claim": title, "§": where or "–", "verdict": f"**{verdict}**"})
    return _table(rows, chinese)


def section(entry: Entry, chinese: bool) -> str:
    """What the article says, the verdict, what was measured, figure and command of one claim."""
    title, where, says = _quoted(entry, chinese)
    colon = "：" if chinese else ": "
    parts = [f"> {_word('The article says', chinese)} ({where}){colon}{says}"] if says else []
    verdict = f"**{_word('Verdict', chinese)}{colon}{_word(entry['verdict'], chinese)}**"
    parts.append(verdict if chinese else f"{verdict}. {entry['conclusion']}")
    kept = [_kept(check, entry) for check in entry["checks"]]
    parts += [_table(rows, chinese) for rows in (*_alike(entry["rows"]), *_alike(kept))]
    parts.append(f"![{title}](figures/{entry['name']}.png)")
    parts.append(f"{_word('Command', chinese)}{colon}`minidl lab {entry['name']}`")
    return "\n\n".join(parts)


def _quoted(entry: Entry, chinese: bool) -> tuple[str, str, str]:
    """(title, section, what the article says)."""
    english = entry["title"], entry.get("section", ""), entry.get("says", "")
    return _CLAIMS.get(entry["number"], english) if chinese else english


def _kept(check: Mapping[str, Any], entry: Entry) -> dict[str, Any]:
    """A row: theory predicts a number, the article (or a claim beyond it) promises a range."""
    if check["predicted"] is not None:
        expected = {"theory predicts": f"{check['predicted']:.3g} {check['allowed']}"}
    else:
        who = "the article promises" if entry.get("says") else "the claim promises"
        expected = {who: check["allowed"]}
    kept = "yes" if check["ok"] else "no"
    return {"counted": check["what"]} | expected | {"measured": check["measured"], "kept": kept}


def _alike(rows: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """The rows in groups of the same columns, each a table of its own."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row), []).append(row)
    return list(groups.values())


def _table(rows: Sequence[dict[str, Any]], chinese: bool) -> str:
    return table([{_word(k, chinese): _word(v, chinese) for k, v in r.items()} for r in rows])


def _word(value: Any, chinese: bool) -> Any:
    """A text in the page's language; numbers stay."""
    if not chinese or not isinstance(value, str):
        return value
    if word := _WORDS.get(value) or _WORDS.get(value.lower()):
        return word
    for phrase, other in _PHRASES.items():
        value = value.replace(phrase, other)
    return value


def main(lab: str = "runs/lab", docs: str = "docs") -> None:
    """Fill every page of `docs` that has places, and draw the figures it shows."""
    entries = {entry["number"]: entry for entry in read(Path(lab)).values()}
    if not entries:
        raise DataError(
            f"lab_pages: expected the lab's results in {lab!r}, found none; run "
            f"`minidl lab --all --out {lab}` first"
        )
    folder = Path(docs)
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    for page in sorted(folder.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        numbers = [match[2] for match in _PLACE.finditer(text)]
        if not numbers:
            continue
        page.write_text(fill(text, entries, page.stem.endswith(".zh")), encoding="utf-8")
        for number in set(numbers) - {"summary"}:
            entry = entries[number]
            draw(entry["title"], entry["series"], folder / "figures" / f"{entry['name']}.png")
        print(f"{page}: {len(numbers)} places filled")


if __name__ == "__main__":
    main(*sys.argv[1:3])
