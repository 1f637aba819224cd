"""The pages are filled from the lab's records, and from nothing else."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from minidl.errors import DataError
from minidl.lab import REGISTRY, Check, Result, pages

DOCS = Path(__file__).parents[2] / "docs"
RECORD = {
    "number": "C2",
    "name": "claim-clipping",
    "title": "Clipping cures",
    "verdict": "conditional",
    "conclusion": "B 10/10, A 0/10.",
    "rows": [{"setup": "A", "trained": 0, "loss at start": 1234.5, "test accuracy": float("nan")}],
    "checks": [{"what": "A", "predicted": 10, "measured": 0, "ok": False}],
    "series": {"title": "Clipping", "x": "", "y": "share", "bars": {"A": 0.0, "B": 1.0}},
}
PAGE = "before\n<!-- lab C2 -->\nold\n<!-- end -->\nafter <!-- lab summary -->\n<!-- end -->\n"


def test_a_place_is_filled_and_the_rest_is_left():
    page = pages.fill(PAGE, {"C2": RECORD})
    assert page.startswith("before\n<!-- lab C2 -->") and "old" not in page
    assert "**Verdict: conditional**. B 10/10, A 0/10." in page
    assert "| A | 0 | 1.23e+03 | – |" in page
    assert "| A | 10 | 0 | no |" in page
    assert "![Clipping cures](figures/claim-clipping.png)" in page
    assert "| C2 | Clipping cures | **conditional** |" in page
    assert pages.fill(page, {"C2": RECORD}) == page


def test_a_chinese_page_speaks_chinese():
    page = pages.fill(PAGE, {"C2": RECORD}, chinese=True)
    assert "有条件成立" in page and "训练成功" in page and "conditional" not in page
    assert "B 10/10" not in page
    assert "| C2 | 梯度裁剪能防止梯度爆炸 | **有条件成立** |" in page


def test_a_place_without_a_record_is_an_error():
    with pytest.raises(DataError, match="place for C2"):
        pages.fill(PAGE, {"C3": RECORD})


def test_reading_finds_records_in_files(tmp_path):
    with pytest.raises(DataError, match="run `minidl lab"):
        pages.read(tmp_path)
    (tmp_path / "other.json").write_text('{"seed": 1}')
    (tmp_path / "claim-clipping.json").write_text(json.dumps(RECORD))
    assert list(pages.read(tmp_path)) == ["C2"]


def test_a_record_is_plain_json():
    result = Result(
        [Check("x", 1.0, np.float64(2.0), low=0.5)],
        "true",
        "all well",
        [{"a": np.float32(0.5), "b": float("nan")}],
        {"lines": {"y": (np.arange(2), [1.0, float("inf")])}},
    )
    experiment = REGISTRY["claim-clipping"]
    made = json.loads(json.dumps(pages.record(experiment, result, seed=3), allow_nan=False))
    assert made["number"] == "C2" and made["seed"] == 3
    assert made["rows"] == [{"a": 0.5, "b": None}]
    assert made["series"]["lines"]["y"] == [[0, 1], [1.0, None]]
    assert made["checks"][0]["ok"] is True


def test_one_command_fills_pages_and_draws(tmp_path, capsys):
    lab, docs = tmp_path / "lab", tmp_path / "docs"
    lab.mkdir(), docs.mkdir()
    lines = {"title": "t", "x": "x", "y": "y", "lines": {"a": ([1, 2], [3, 4])}, "log_y": True}
    lines["predicted"] = {"theory": ([1, 2], [3, 4])}
    other = RECORD | {"number": "C8", "name": "claim-x", "series": lines}
    for record in (RECORD, other):
        (lab / f"{record['name']}.json").write_text(json.dumps(record))
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
    assert [n for n, _ in places] == ["summary", *(f"C{i}" for i in range(1, 13))]
    assert all(content.strip() for _, content in places), "run python -m minidl.lab.pages"
    for figure in re.findall(r"\]\((figures/[^)]+)\)", text):
        assert (DOCS / figure).is_file()
