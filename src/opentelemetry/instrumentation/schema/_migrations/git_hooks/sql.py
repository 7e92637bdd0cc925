"""Splits SQL text into statements without comments and literals, and finds what they destroy.

We use regular expressions, since importing a parser for every dialect takes longer than the whole hook.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

_TOKEN: Final = re.compile(
    r"""
      (?P<comment> --[^\n]* | /\*.*?(?:\*/|\Z) )
    | (?P<literal> '(?:[^'\\]|\\.|'')*(?:'|\Z) )
    | (?P<dollar> \$(?P<tag>[A-Za-z_]*)\$ (?P<body>.*?) (?:\$(?P=tag)\$|\Z) )
    | (?P<name> "(?:[^"]|"")*(?:"|\Z) | `[^`]*(?:`|\Z) )
    | (?P<end> ; )
    """,
    re.DOTALL | re.VERBOSE,
)
_NAME: Final = r"(?P<name>(?:[\w{}$%:.\[\]()]|\"[^\"]*\"|`[^`]*`)+)"
_IF: Final = r"(?:IF\s+EXISTS\s+)?"
_DROP: Final = re.compile(rf"DROP\s+(?P<kind>TABLE|SCHEMA|DATABASE|OWNED)\s+{_IF}(?:BY\s+|ONLY\s+)?{_NAME}", re.I)
_CASCADE: Final = re.compile(rf"DROP\s+(?P<kind>TYPE|DOMAIN|EXTENSION)\s+{_IF}{_NAME}.*\bCASCADE\b", re.I | re.S)
_TRUNCATE: Final = re.compile(rf"TRUNCATE\s+(?:TABLE\s+)?(?:ONLY\s+)?{_NAME}", re.I)
_DELETE: Final = re.compile(rf"\bDELETE\s+(?:FROM\s+(?:ONLY\s+)?{_NAME}|\S+\s+FROM\s+(?P<joined>\S+))", re.I)
_ALTER: Final = re.compile(rf"ALTER\s+(?:FOREIGN\s+)?TABLE\s+{_IF}(?:ONLY\s+)?{_NAME}\s+(?P<actions>.*)", re.I | re.S)
_DROPS: Final = re.compile(rf"DROP\s+(?P<column>COLUMN\s+)?{_IF}{_NAME}", re.I)
_NO_COLUMN: Final = re.compile(
    r"(CONSTRAINT|INDEX|KEY|PRIMARY|FOREIGN|CHECK|PARTITION|DEFAULT|IDENTITY|PERIOD)\b", re.I
)
_CREATE_TABLE: Final = re.compile(
    rf"CREATE\s+(?:(?:GLOBAL|LOCAL|TEMP|TEMPORARY|UNLOGGED)\s+)*TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?{_NAME}", re.I
)
_RUNS_LATER: Final = re.compile(r"CREATE\b(?!.*\bTABLE\b)", re.I)
"""Functions, triggers and rules contain statements that the migration itself does not run."""


class Statement(NamedTuple):
    """One statement.

    Attributes:
        text: Its text without comments, and with `''` for each literal.
        line: Line of its first word, from 0.
    """

    text: str
    line: int


def statements(sql: str) -> Iterator[Statement]:
    """Split a text into statements."""
    parts: list[str] = []
    position = start = 0
    for token in _TOKEN.finditer(sql):
        parts.append(sql[position : token.start()])
        position = token.end()
        if token["literal"] is not None:
            parts.append("''")
        elif token["name"] is not None:
            parts.append(token[0])
        elif token["dollar"] is not None:
            if "".join(parts).strip().upper().startswith("DO"):
                yield from (
                    Statement(each.text, each.line + sql.count("\n", 0, token.start("body")))
                    for each in _inside(token["body"])
                )
            parts.append("''")
        elif token["comment"] is not None:
            parts.append(" ")
        else:
            yield from _made(sql, parts, start)
            parts, start = [], position
    parts.append(sql[position:])
    yield from _made(sql, parts, start)


def _made(sql: str, parts: list[str], start: int) -> Iterator[Statement]:
    text = "".join(parts).strip()
    if text:
        first = sql.find(text.split(None, 1)[0], start)
        yield Statement(text, sql.count("\n", 0, max(first, start)))


def _inside(block: str) -> Iterator[Statement]:
    """The statements of a block of PL/pgSQL, without the words that open it."""
    for each in statements(block):
        words = re.sub(r"^(?:.*\b(?:BEGIN|THEN|ELSE|LOOP)\s+)", "", each.text, flags=re.I | re.S)
        yield Statement(words, each.line)


def created_table(statement: Statement) -> str | None:
    """The table that a statement creates; None if it creates none."""
    match = _CREATE_TABLE.match(statement.text)
    return match["name"] if match else None


def find_destroyed(statement: Statement) -> Iterator[tuple[str, str | None]]:
    """Find what a statement destroys: in words, and the table, which does not count if the migration created it."""
    text = statement.text
    if _RUNS_LATER.match(text):
        return
    if match := _DROP.match(text):
        kind = match["kind"].lower()
        what = "everything that a role owns" if kind == "owned" else f"the {kind} {unquote(match['name'])}"
        yield f"drops {what}", match["name"] if kind == "table" else None
    elif match := _CASCADE.match(text):
        yield f"drops the {match['kind'].lower()} {unquote(match['name'])} and every column that uses it", None
    elif match := _TRUNCATE.match(text):
        yield f"empties the table {unquote(match['name'])}", match["name"]
    elif match := _ALTER.match(text):
        for action in _actions(match["actions"]):
            dropped = _DROPS.match(action)
            if dropped and (dropped["column"] or not _NO_COLUMN.match(dropped["name"])):
                yield f"drops the column {unquote(match['name'])}.{unquote(dropped['name'])}", match["name"]
            elif re.match(r"(DROP|TRUNCATE)\s+PARTITION\b", action, re.I):
                yield f"drops a partition of {unquote(match['name'])}", match["name"]
    if match := _DELETE.search(text):
        name = match["name"] or match["joined"]
        yield f"deletes rows of {unquote(name)}", name


def _actions(text: str) -> Iterator[str]:
    """Split the actions of an ALTER TABLE at commas outside brackets."""
    depth = start = 0
    for position, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if char == "," and depth == 0:
            yield text[start:position].strip()
            start = position + 1
    yield text[start:].strip()


def unquote(name: str) -> str:
    """A name without quotes."""
    return name.replace('"', "").replace("`", "").strip()


def normalize(sql: str) -> str:
    """A text without comments, blank lines and the ends of lines: the same for the same statements."""
    kept: list[str] = []
    position = 0
    for token in _TOKEN.finditer(sql):
        if token["comment"] is not None and not re.match(r"--\s*migrate:|/\*[!+]", token[0]):
            kept.append(sql[position : token.start()])
            position = token.end()
    kept.append(sql[position:])
    lines = (line.rstrip() for line in "".join(kept).splitlines())
    return "\n".join(line for line in lines if line)
