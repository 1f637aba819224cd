"""The pages are filled from the lab's records, and from nothing else."""

import json
import re
from pathlib import Path

import pytest

from minidl.errors import DataError
from tools import lab_pages as pages

DOCS = Path(__file__).parents[2] / "docs"
RECORD = {
    "number": "C2",
    "name": "claim-clipping",
    "title": "Clipping cures",
    "setup": "A and B.",
    "section": "3.2, remedy 2",
    "says": "Clipping is a remedy.",
    "verdict": "conditional",
    "conclusion": "B 10/10, A 0/10.",
    "rows": [
        {
            "setup": "A",
            "trained": 0,
            "NaN or death at step": 3.0,
            "loss at start": 1234.5,
            "test accuracy": float("nan"),
        }
    ],
    "checks": [
        {"what": "A", "predicted": None, "measured": 0, "allowed": "at least 8", "ok": False},
        {"what": "gain", "predicted": 0.949, "measured": 0.924, "allowed": "± 0.047", "ok": True},
    ],
    "series": {"x": "", "y": "share", "bars": {"A": 0.0, "B": 1.0}},
}
PAGE = "before\n<!-- lab C2 -->\nold\n<!-- end -->\nafter <!-- lab summary -->\n<!-- end -->\n"


def test_a_place_is_filled_and_the_rest_is_left():
    page = pages.fill(PAGE, {"C2": RECORD})
    assert page.startswith("before\n<!-- lab C2 -->") and "old" not in page
    assert "**Verdict: conditional**. B 10/10, A 0/10." in page
    assert "| A | 0 | 3 | 1.23e+03 | – |" in page
    assert "> The article says (3.2, remedy 2): Clipping is a remedy." in page
    assert "| counted | the article promises | measured | kept |" in page
    assert "| A | at least 8 | 0 | no |" in page
    assert "| counted | theory predicts | measured | kept |" in page
    assert "| gain | 0.949 ± 0.047 | 0.924 | yes |" in page
    assert "![Clipping cures](figures/claim-clipping.png)" in page
    assert "| C2 | Clipping cures | 3.2, remedy 2 | **conditional** |" in page
    assert pages.fill(page, {"C2": RECORD}) == page


def test_a_chinese_page_speaks_chinese():
    page = pages.fill(PAGE, {"C2": RECORD}, chinese=True)
    assert "有条件成立" in page and "训练成功" in page and "NaN 或死亡的步数" in page
    assert "conditional" not in page
    assert "B 10/10" not in page
    assert "> 文章说 (3.2，方法 2)：梯度裁剪是一种解决方法。" in page
    assert "| A | 至少 8 | 0 | 否 |" in page
    assert "| C2 | 梯度裁剪能防止梯度爆炸 | 3.2，方法 2 | **有条件成立** |" in page


def test_what_the_article_does_not_say_is_promised_by_the_claim():
    beyond = RECORD | {"says": "", "section": ""}
    page = pages.fill(PAGE, {"C2": beyond})
    assert "the claim promises" in page and "the article" not in page.lower()
    assert "| C2 | Clipping cures | – | **conditional** |" in page


def test_a_place_without_a_record_is_an_error():
    with pytest.raises(DataError, match="minidl lab C2"):
        pages.fill(PAGE, {"C3": RECORD})


def test_one_command_fills_pages_and_draws(tmp_path, capsys):
    lab, docs = tmp_path / "lab", tmp_path / "docs"
    lab.mkdir(), docs.mkdir()
    lines = {"x": "x", "y": "y", "lines": {"a": ([1, 2], [3, 4])}, "log_y": True}
    lines["predicted"] = {"theory": ([1, 2], [3, 4])}
    other = RECORD | {"number": "C8", "name": "claim-x", "series": lines}
    with pytest.raises(DataError, match="run `minidl lab"):
        pages.main(str(lab), str(docs))
    (lab / "lab.json").write_text(json.dumps([RECORD, other]))
    (docs / "a.zh.md").write_text(PAGE + "<!-- lab C8 -->\n<!-- end -->\n", encoding="utf-8")
    (docs / "plain.md").write_text("nothing to fill")
    pages.main(str(lab), str(docs))
    assert "有条件成立" in (docs / "a.zh.md").read_text(encoding="utf-8")
    assert (docs / "plain.md").read_text() == "nothing to fill"
    for name in ("claim-clipping", "claim-x"):
        assert (docs / "figures" / f"{name}.png").stat().st_size > 5_000
    assert "3 places" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["exploding-gradients.md", "exploding-gradients.zh.md"])
def test_both_pages_have_a_filled_place_for_every_claim(name):
    text = (DOCS / name).read_text(encoding="utf-8")
    places = re.findall(r"<!-- lab (\w+) -->\n(.*?)<!-- end -->", text, re.DOTALL)
    assert [n for n, _ in places] == [
        "summary",
        *(f"C{i}" for i in (*range(1, 10), 13, 14, 10, 11, 12, 15)),
    ]
    assert all(content.strip() for _, content in places), "run python tools/lab_pages.py"
    for figure in re.findall(r"\]\((figures/[^)]+)\)", text):
        assert (DOCS / figure).is_file()
