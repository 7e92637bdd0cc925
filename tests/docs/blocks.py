"""The blocks of code of a page, and how a test is to take each.

A comment right before a block says what it cannot say itself:

- `<!-- test: file shop.py -->` writes the block to that file, for the blocks after it;
- `<!-- test: serves 8000 -->` starts the block, waits until the port answers, and ends it with the page;
- `<!-- test: nightly -->` runs it in `make nightly` alone, in the repository;
- `<!-- test: not run, because … -->` counts it among the few that no test runs.

`<!-- tested by tests/some/test_file.py -->`, anywhere in a page, says that this file runs its blocks of Python and SQL.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"(?:^[ \t]*<!-- test: (.+?) -->[ \t]*\n\s*)?^([ \t]*)```(\w*)[^\n]*\n(.*?)^\2```", re.M | re.S)
_PAGE = re.compile(r"<!-- tested by (\S+) -->")
_INDENTED = re.compile(r"(?:\A|\n[ \t]*\n)((?: {4}[^\n]*\n)+)")


class Block(NamedTuple):
    """One block.

    Attributes:
        page: Its file, below the repository's root.
        line: Where it begins, counted from 1.
        language: After the fence; "" where there is none.
        text: What it holds.
        elsewhere: The file of tests that runs it, None where the tests of this folder do.
        file: Where a test writes it; "" elsewhere.
        serves: The port that it opens; 0 where it ends by itself.
        nightly: Whether it takes too long for each change.
        reason: Why no test runs it; "" where one does.
    """

    page: str
    line: int
    language: str
    text: str
    elsewhere: Path | None
    file: str
    serves: int
    nightly: bool
    reason: str


def pages() -> list[Path]:
    """What people read: the README and the docs, but no runbook, whose blocks are queries with tests of their own."""
    docs = sorted(page for page in (ROOT / "docs").rglob("*.md") if page.parent.name != "runbooks")
    return [ROOT / "README.md", *docs, ROOT / "dashboards/README.md", ROOT / "examples/leads_api/README.md"]


def runner_of(page: Path) -> Path | None:
    """The file of tests that runs a page's programs; None where none is named."""
    named = _PAGE.search(page.read_text())
    return ROOT / named[1] if named else None


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page.

    Raises:
        ValueError: if a block is indented, so that nobody could tell its language, or a note is none of those above.
    """
    text = page.read_text()
    name = str(page.relative_to(ROOT)) if page.is_relative_to(ROOT) else page.name
    bare = _INDENTED.search(re.sub(r"^[ \t]*```.*?^[ \t]*```", "", text, flags=re.M | re.S))
    if bare and not re.match(r"\s*(?:[-*]|\d+\.)\s", bare[1]):
        raise ValueError(f"{name}: a block without a fence: {bare[1].strip().splitlines()[0]!r}")
    elsewhere = runner_of(page)
    for found in _BLOCK.finditer(text):
        note, indent, language, content = found.groups()
        line = text.count("\n", 0, found.start(2)) + 1
        kind, _, rest = (note or "").partition(" ")
        if note and kind not in ("file", "serves", "nightly", "not"):
            raise ValueError(
                f"{name}:{line}: {note!r} is none of `file NAME`, `serves PORT` `nightly` and `not run, because …`"
            )
        yield Block(
            name,
            line,
            language,
            re.sub(f"^{indent}", "", content, flags=re.M),
            elsewhere if language in ("python", "sql") else None,
            rest if kind == "file" else "",
            int(rest) if kind == "serves" else 0,
            kind == "nightly",
            note if kind == "not" else "",
        )
