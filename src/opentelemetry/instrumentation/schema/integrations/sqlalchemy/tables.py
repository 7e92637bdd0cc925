"""The tables of an application's models, as they are for each kind of database that it uses."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import mapperlib

from ..._schemas.fields import Document
from .fields import fields


class Tables(NamedTuple):
    """Tables for one kind of database.

    Attributes:
        dialect: SQLAlchemy's name of it.
        document: The tables, by reference.
        classes: Reference → name of the class that is mapped to it.
    """

    dialect: str
    document: Document
    classes: dict[str, str]


def tables(dialects: Iterable[Any], packages: Iterable[str]) -> list[Tables]:
    """Read every table of mapped classes, and of metadata among the variables of packages.

    Mappers are not configured: that is the application's to do.

    Args:
        dialects: Of the engines in use.
        packages: Top-level packages whose modules may hold metadata.
    """
    kinds = {each.name: each for each in dialects}
    if not kinds:
        return []
    found: dict[Any, Any] = {}
    registries: Any = getattr(mapperlib, "_all_registries", list)
    for registry in list(registries()):
        for mapper in list(registry.mappers):
            if isinstance(mapper.local_table, sa.Table):
                found.setdefault(mapper.local_table, mapper.class_)
    for table in _of_metadata(set(packages)):
        found.setdefault(table, None)
    made: list[Tables] = []
    for dialect in kinds.values():
        document: Document = {}
        classes: dict[str, str] = {}
        for table, cls in found.items():
            for ref, spec in fields(cls or table, dialect=dialect).items():
                document[ref] = spec
                classes[ref] = cls.__name__ if cls is not None else ""
        made.append(Tables(dialect.name, document, classes))
    return made


def _of_metadata(packages: set[str]) -> list[Any]:
    found: list[Any] = []
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in packages:
            for value in list(getattr(module, "__dict__", {}).values()):
                # By type: a proxy such as Flask's `current_app` raises when it is asked for its class.
                if issubclass(type(value), sa.MetaData):
                    found += list(value.tables.values())
    return found
