"""Search in Chinese: text without spaces is found by its pairs of characters.

链式法则 is kept as 链式, 式法, 法则. What a reader types is cut in the same way, and a page is
found if it has all the pairs. English words are kept as the English search keeps them.
"""

import re
from typing import Any

from sphinx.application import Sphinx
from sphinx.search import languages
from sphinx.search.en import SearchEnglish

HAN = r"\u4e00-\u9fff"
PART = re.compile(rf"[{HAN}]+|\w+")
PIECE = re.compile(rf"[{HAN}]+|[^{HAN}]+")
IN_THE_PAGE = """
function splitQuery(query) {
  const parts = query.match(/[\\u4e00-\\u9fff]+|[^\\u4e00-\\u9fff\\s\\p{P}\\p{S}]+/gu) ?? [];
  return parts.flatMap((part) => {
    if (!/[\\u4e00-\\u9fff]/.test(part) || part.length < 2) return [part];
    return Array.from({ length: part.length - 1 }, (_, i) => part.slice(i, i + 2));
  });
}
"""


class SearchChinese(SearchEnglish):
    """Pairs of Chinese characters, beside English words with the English stemmer."""

    lang = "zh"
    js_splitter_code = IN_THE_PAGE

    def split(self, text: str) -> list[str]:
        pieces = [p for part in PART.findall(text) for p in PIECE.findall(part)]
        return [pair for piece in pieces for pair in pairs(piece)]


def pairs(piece: str) -> list[str]:
    """The pairs of neighbours in a run of Chinese characters; anything else as it is."""
    if len(piece) < 2 or not re.fullmatch(f"[{HAN}]+", piece):
        return [piece]
    return [piece[i : i + 2] for i in range(len(piece) - 1)]


def setup(app: Sphinx) -> dict[str, Any]:
    languages["zh"] = SearchChinese
    return {"parallel_read_safe": True, "parallel_write_safe": True}
