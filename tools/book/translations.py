"""The Chinese text: `python -m tools.book.translations` takes over what is new in English.

Each page has a .po file under docs/book/locale: every paragraph in English (msgid) with its Chinese
(msgstr). After a change of the English text a paragraph that is new stands there without Chinese,
and one that was changed is marked `fuzzy`. `--check` changes nothing; it fails if a paragraph is
missing, without Chinese, or fuzzy.
"""

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

from babel.messages import Catalog
from babel.messages.pofile import read_po, write_po

from .cells import ROOT

DOCS = ROOT / "docs"
LOCALE = DOCS / "book" / "locale"
CHINESE = LOCALE / "zh_CN" / "LC_MESSAGES"
TEMPLATES = ROOT / "build" / "book" / "gettext"
# What is translated; the reports and the reference speak English in both sites.
PAGES = ("index", "book/*")


def pages() -> list[str]:
    """The pages that have a Chinese text, without their ending."""
    files = sorted(file for pattern in PAGES for file in DOCS.glob(f"{pattern}.md"))
    return [file.relative_to(DOCS).with_suffix("").as_posix() for file in files]


def catalog(path: Path) -> Catalog:
    with path.open("rb") as file:
        return read_po(file)


def unfinished(path: Path) -> list[str]:
    """The paragraphs of a .po file that have no Chinese, or one of another English text."""
    return [str(m.id) for m in catalog(path) if m.id and (m.fuzzy or not m.string)]


def is_formula(text: str) -> bool:
    """Whether a paragraph is a formula that stands by itself."""
    return "\\" in text and "$" not in text and "`" not in text


def is_neutral(text: str) -> bool:
    """Whether a paragraph is code and formulas alone, which are the same in every language."""
    words = re.sub(r"\{src\}`[^`]*`|`[^`]*`|\$[^$]*\$", "", text)
    return (is_formula(text) and "\\text" not in text) or not re.search(r"[A-Za-z]", words)


def fill_in_neutral(path: Path) -> None:
    """Take over the paragraphs that need no Chinese."""
    known = catalog(path)
    for message in known:
        if message.id and not message.string and is_neutral(str(message.id)):
            message.string = message.id
    with path.open("wb") as file:
        write_po(file, known, width=100, omit_header=True)


def extract() -> None:
    """Write what is to be translated, page by page, to build/book/gettext."""
    shutil.rmtree(TEMPLATES, ignore_errors=True)
    command = ["-Q", "-E", "-b", "gettext", str(DOCS), str(TEMPLATES)]
    subprocess.run([sys.executable, "-m", "sphinx", *command], check=True)
    wanted = set(pages())
    for path in TEMPLATES.rglob("*.pot"):
        if path.relative_to(TEMPLATES).with_suffix("").as_posix() not in wanted:
            path.unlink()


def problems() -> list[str]:
    """What keeps the translation from being complete, one line each."""
    found = []
    for page in pages():
        path = CHINESE / f"{page}.po"
        if not path.exists():
            found.append(f"{page}: no Chinese file")
            continue
        known = {str(message.id) for message in catalog(path) if message.id}
        wanted = {str(m.id) for m in catalog(TEMPLATES / f"{page}.pot") if m.id}
        found += [f"{page}: not in the Chinese file: {text[:60]!r}" for text in wanted - known]
        found += [f"{page}: not translated: {text[:60]!r}" for text in unfinished(path)]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing, count what is open")
    options = parser.parse_args()
    extract()
    if not options.check:
        where = ["-p", str(TEMPLATES), "-d", str(LOCALE), "-l", "zh_CN", "-w", "100"]
        subprocess.run([sys.executable, "-m", "sphinx_intl", "update", *where], check=True)
        for page in pages():
            fill_in_neutral(CHINESE / f"{page}.po")
    found = problems()
    print("\n".join([*found, f"{len(found)} paragraphs wait for their Chinese"]))
    sys.exit(bool(found) and options.check)


if __name__ == "__main__":
    main()
