"""`schema.lock`: schemas, tables and migration heads as text that reviews well in a diff.

One fact per line: a key and, after `: `, JSON. An indented line belongs to the last line without indent.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, cast

from .fields import Document, SchemaSpec, TypeSpec, as_data, type_from
from .versions import fingerprint

FORMAT: Final = 1
NAME: Final = "schema.lock"
_HEADER: Final = f"# {NAME} {FORMAT}: written by `otel-schema lock`. Review it; do not edit it."


class LockError(Exception):
    """A lock cannot be read; the message names the line."""


@dataclass(frozen=True)
class Origin:
    """Where a schema or table is defined.

    Attributes:
        file: Path relative to the lock, with `/`; None if the file is not part of the project.
        tree: Digest of its syntax tree, see `source`.
        name: Name of its class or variable in that file; None if it is the schema's name.
    """

    file: str | None = None
    tree: str | None = None
    name: str | None = None


@dataclass(frozen=True)
class Lock:
    """The content of a lock.

    Attributes:
        modules: The modules that were imported to write it.
        schemas: The schemas of APIs, and tables, by reference.
        origins: Reference → where it is defined.
        heads: `tool directory` → the heads of the migrations.
    """

    modules: tuple[str, ...] = ()
    schemas: Document = field(default_factory=Document)
    origins: dict[str, Origin] = field(default_factory=dict[str, Origin])
    heads: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])


def dumps(lock: Lock) -> str:
    """The lock as text: the same text for the same schemas."""
    return "\n".join(_lines(lock)) + "\n"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": "))


def _lines(lock: Lock) -> Iterator[str]:
    yield _HEADER
    yield ""
    yield f"modules: {_json(list(lock.modules))}"
    for key, heads in sorted(lock.heads.items()):
        yield f"heads {key}: {_json(sorted(heads))}"
    for ref, schema in sorted(lock.schemas.items(), key=lambda item: (item[1].library == "sqlalchemy", item[0])):
        origin = lock.origins.get(ref, Origin())
        yield ""
        yield f"{'table' if schema.library == 'sqlalchemy' else 'schema'} {ref}"
        named = _named(ref) == (schema.module, schema.name)
        facts: dict[str, Any] = {
            "library": schema.library,
            "name": None if named else schema.name,
            "module": None if named else schema.module,
            "version": schema.version,
            "fingerprint": fingerprint(schema, lock.schemas),
            "file": origin.file,
            "tree": origin.tree,
            "defined": origin.name,
            "from_attributes": schema.from_attributes or None,
            "directions": list(schema.directions) or None,
            "table": schema.table,
        }
        facts |= {key: value for key, value in as_data(schema.type).items() if key != "fields"}
        for key, value in facts.items():
            if value is not None:
                yield f"  {key}: {_json(value)}"
        for each in schema.fields:
            data = as_data(each)
            name = data.pop("name")
            yield f"  field {_json(name)}: {_json({**data.pop('type'), **data})}"
        for text in schema.constraints:
            yield f"  constraint: {_json(text)}"


def _named(ref: str) -> tuple[str | None, str]:
    """Split a reference into module and name."""
    module, colon, name = ref.partition(":")
    return (module, name) if colon else (None, ref)


_OWN: Final = (
    "library",
    "name",
    "module",
    "version",
    "fingerprint",
    "file",
    "tree",
    "defined",
    "from_attributes",
    "directions",
    "table",
)


def loads(text: str, name: str = NAME) -> Lock:
    """Read a lock.

    Args:
        text: Of the lock.
        name: What messages call it.

    Raises:
        LockError: if it is no lock, one of another format, or damaged.
    """
    lines = text.splitlines()
    if not lines or not lines[0].startswith(f"# {NAME} "):
        raise LockError(
            f"{name} is not a lock file: its first line does not start with `# {NAME}`. Write it: otel-schema lock"
        )
    if lines[0] != _HEADER and not lines[0].startswith(f"# {NAME} {FORMAT}:"):
        raise LockError(
            f"this version of otel-schema does not read the format of {name}: {lines[0]!r}. Upgrade "
            "opentelemetry-instrumentation-schema, or write the lock again: otel-schema lock"
        )
    lock = Lock()
    modules: tuple[str, ...] = ()
    current: _Section | None = None
    for number, line in enumerate(lines[1:], 2):
        if not line.strip():
            continue
        try:
            if line.startswith("  "):
                if current is None:
                    raise ValueError("the line belongs to no schema")
                current.add(*_split(line[2:]))
                continue
            if current is not None:
                current.end(lock)
                current = None
            word, _, rest = line.partition(" ")
            if word in ("schema", "table"):
                current = _Section(rest)
            elif word == "heads":
                key, heads = _split(rest)
                lock.heads[key] = tuple(heads)
            elif word == "modules:":
                modules = tuple(json.loads(rest))
            else:
                raise ValueError(f"a lock file has no key {word!r}")
        except (ValueError, TypeError, KeyError) as error:
            raise _damaged(name, number, error, line[:7] in _CONFLICT) from error
    if current is not None:
        try:
            current.end(lock)
        except (ValueError, TypeError, KeyError) as error:
            raise _damaged(name, len(lines), error) from error
    return Lock(modules, lock.schemas, lock.origins, lock.heads)


def _damaged(name: str, line: int, error: Exception, conflict: bool = False) -> LockError:
    what: object = error
    if conflict:
        what = "a merge conflict"
    elif isinstance(error, KeyError):
        what = f"the key {error} is missing"
    elif isinstance(error, TypeError):  # the message names our own functions
        what = "a key is unknown, missing, or has a value of the wrong type"
    return LockError(f"{name} is damaged at line {line}: {what}. Write it again: otel-schema lock")


_CONFLICT: Final = ("<<<<<<<", "=======", ">>>>>>>")


def _split(line: str) -> tuple[str, Any]:
    """Split a line into key and JSON. The key of a field is a JSON text itself, which may contain `: `."""
    if line.startswith("field "):
        name, end = json.JSONDecoder().raw_decode(line, len("field "))
        return f"field {name}", json.loads(line[end:].removeprefix(":"))
    key, colon, value = line.partition(": ")
    if not colon:
        raise ValueError("the line has no `: `")
    return key, json.loads(value)


class _Section:
    """Collects the lines of one schema or table."""

    def __init__(self, ref: str) -> None:
        self.ref = ref
        self.facts: dict[str, Any] = {}
        self.fields: list[dict[str, Any]] = []
        self.constraints: list[str] = []

    def add(self, key: str, value: Any) -> None:
        if key.startswith("field "):
            facts = cast("dict[str, Any]", value)
            type_ = {key: facts.pop(key) for key in list(facts) if key in TypeSpec.__dataclass_fields__}
            self.fields.append({"name": key.removeprefix("field "), "type": type_, **facts})
        elif key == "constraint":
            self.constraints.append(value)
        else:
            self.facts[key] = value

    def end(self, lock: Lock) -> None:
        """Add the schema or table to the lock."""
        data = {key: value for key, value in self.facts.items() if key not in _OWN}
        type_: TypeSpec = type_from({**data, "fields": self.fields} if self.fields else data)
        module, name = _named(self.ref)
        if "name" in self.facts:
            module, name = self.facts.get("module"), self.facts["name"]
        lock.schemas[self.ref] = SchemaSpec(
            name=name,
            module=module,
            library=self.facts["library"],
            type=type_,
            version=self.facts.get("version"),
            from_attributes=bool(self.facts.get("from_attributes")),
            directions=tuple(self.facts.get("directions", ())),
            constraints=tuple(self.constraints),
            table=self.facts.get("table"),
        )
        lock.origins[self.ref] = Origin(self.facts.get("file"), self.facts.get("tree"), self.facts.get("defined"))
