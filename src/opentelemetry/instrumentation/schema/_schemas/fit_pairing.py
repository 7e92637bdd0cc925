"""Pairs schemas with the tables that hold their data: as declared, else by name, else by common fields."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from . import pyproject
from .fields import Document, SchemaSpec
from .fit import column_name

_AFFIXES: Final = frozenset(
    {
        "in", "out", "create", "created", "creation", "update", "updated", "updating", "patch", "put", "post", "read",
        "base", "public", "private", "request", "response", "schema", "model", "dto", "input", "output", "detail",
        "details", "new", "item", "entity", "db", "data", "form", "body", "payload", "optional", "partial", "full",
        "minimal", "short", "summary", "view", "record", "row", "orm", "save", "saved", "me", "with", "extra",
    }
)  # fmt: skip
"""Prefixes and suffixes of schema names, which do not name the table."""
_COMMON: Final = frozenset({"id", "created_at", "updated_at", "deleted_at"})
"""Fields that most tables have, so they do not identify a table."""
_NAMED: Final = 0.5
"""Share of a schema's fields that must be columns of the table, if the names match."""
_ALIKE: Final = 0.8
"""Share of the fields if the names do not match."""
_LEAST: Final = 3
"""Common fields at least, if the names do not match."""


class PairingError(Exception):
    """A declaration names a schema or table that does not exist; the message lists those that do."""


@dataclass(frozen=True)
class Pairing:
    """A schema and its table.

    Attributes:
        schema: Reference of the schema.
        table: Reference of the table.
        how: How they were paired, in a few words.
        declared: Whether somebody said so.
    """

    schema: str
    table: str
    how: str
    declared: bool


def pair(
    schemas: Document,
    tables: Mapping[str, SchemaSpec],
    declared: Mapping[str, str] | None = None,
    classes: Mapping[str, str] | None = None,
    strict: bool = True,
) -> list[Pairing]:
    """Pair schemas with tables.

    Args:
        schemas: Of the API; tables among them are passed over.
        tables: By reference.
        declared: Reference or name of a schema → name of its table, as the project's settings say; empty for none.
        classes: Reference of a table → name of the class that is mapped to it.
        strict: Whether a declaration that names what is not there is an error; else it pairs nothing.

    Raises:
        PairingError: if a declaration names a schema or table that is not there.
    """
    told = _declared(schemas, tables, declared or {}, strict)
    found: list[Pairing] = []
    for ref, schema in sorted(schemas.items()):
        if schema.library == "sqlalchemy" or schema.type.kind != "object" or not schema.fields:
            continue
        if ref in told:
            found += [told[ref]] if told[ref].table else []
            continue
        if schema.table is not None:
            try:
                if schema.table:
                    found.append(Pairing(ref, _table(schema.table, tables, ref), "declared by the schema", True))
            except PairingError:
                if strict:
                    raise
            continue
        guess = _guess(schema, tables, classes or {})
        if guess is not None:
            found.append(guess)
    return found


def read_declared_tables(root: Path) -> dict[str, str]:
    """Read `[tool.otel-schema.tables]` of the project in `root`; empty if it cannot be read."""
    try:
        found = pyproject.read_table(root, "otel-schema").get("tables")
    except OSError:
        return {}
    if not isinstance(found, dict):
        return {}
    lines = cast("dict[str, object]", found).items()
    return {schema: table for schema, table in lines if isinstance(table, str)}


def _declared(
    schemas: Document, tables: Mapping[str, SchemaSpec], declared: Mapping[str, str], strict: bool
) -> dict[str, Pairing]:
    found: dict[str, Pairing] = {}
    for name, table in declared.items():
        refs = [ref for ref, each in schemas.items() if name in (ref, each.name) and each.library != "sqlalchemy"]
        try:
            if not refs:
                raise PairingError(
                    f"[tool.otel-schema.tables] names the schema {name!r}, which is not among the schemas that were "
                    "read: write it as `module:Name`, and name its module"
                )
            for ref in refs:
                named = _table(table, tables, ref) if table else ""
                found[ref] = Pairing(ref, named, "declared in pyproject.toml", True)
        except PairingError:
            if strict:
                raise
    return found


def _table(name: str, tables: Mapping[str, SchemaSpec], schema: str) -> str:
    """The reference of a table by its name, with or without its database schema."""
    found = [ref for ref, each in tables.items() if name in (each.name, each.name.rpartition(".")[2])]
    if len(found) != 1:
        known = ", ".join(sorted(each.name for each in tables.values())[:10]) or "none"
        what = "does not exist" if not found else "exists more than once: write it as `schema.table`"
        raise PairingError(f"{schema} declares the table {name!r}, which {what}. Tables: {known}")
    return found[0]


def _guess(schema: SchemaSpec, tables: Mapping[str, SchemaSpec], classes: Mapping[str, str]) -> Pairing | None:
    mine = {column_name(each) for each in schema.fields}
    subject = _subject(schema.name)
    named: list[tuple[int, str]] = []
    alike: list[tuple[int, str]] = []
    for ref, table in tables.items():
        columns = {each.name for each in table.fields} | {name for name, each in table.attributes.items() if each}
        shared = len(mine & columns)
        names = [_words(table.name.rpartition(".")[2]), _words(classes.get(ref, ""))]
        similar = shared >= _ALIKE * len(mine)
        if shared >= _NAMED * len(mine) and any(_is_named_after(subject, each, similar) for each in names):
            named.append((shared, ref))
        if similar and len((mine & columns) - _COMMON) >= _LEAST:
            alike.append((shared, ref))
    for how, candidates in (("by name", named), ("by fields", alike)):
        best = sorted(candidates, reverse=True)
        if best and (len(best) == 1 or best[0][0] > best[1][0]):
            shared, ref = best[0]
            return Pairing(schema.ref, ref, f"{how}: {shared} of {len(mine)} fields are columns", False)
    return None


def _words(name: str) -> list[str]:
    """Split `LeadsHTTPOut` or `leads_http_out` into words in the singular."""
    spaced = re.sub(r"([a-z0-9])([A-Z])|([A-Z]+)([A-Z][a-z])", r"\1\3 \2\4", name.rpartition(".")[2])
    return [_singular(each) for each in re.split(r"[\W_]+", spaced.lower()) if each]


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "shes", "ches", "xes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 3 else word


def _subject(name: str) -> list[str]:
    """The subject of a schema: its name without `Create`, `Out`, `Schema` and the like at both ends."""
    words = _words(name)
    while len(words) > 1 and words[-1] in _AFFIXES:
        words.pop()
    while len(words) > 1 and words[0] in _AFFIXES:
        words.pop(0)
    return words


def _is_named_after(subject: list[str], table: list[str], prefixed: bool) -> bool:
    """Whether a table has the subject as its name, or, with `prefixed`, after a prefix."""
    while len(table) > 1 and table[-1] in _AFFIXES:
        table = table[:-1]
    return bool(subject) and (table[-len(subject) :] if prefixed else table) == subject
