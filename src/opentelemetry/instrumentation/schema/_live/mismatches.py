"""`schema.mismatches`: where the API's schemas no longer fit the tables of the application's models.

A thread of its own compares schemas with the models' declarations: without a query, without a connection. It compares
once schemas and tables are known, and again for new schemas and when the revision of a database changes.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.metrics import Observation

from .. import faults, semconv

if TYPE_CHECKING:
    from .._recording.recorder import Recorder
    from .._recording.schema_cells import SchemaCells
    from .._schemas.fields import Document
    from .._schemas.fit_findings import Mismatch

MAX_CEASED: Final = 100
"""Attribute sets without mismatches that we still publish, as 0."""

SETTLE_SECONDS: Final = 10.0
"""Seconds without a new schema before we compare."""

MAX_SCHEMAS: Final = 1000
"""Schemas whose fields we keep; we do not compare further ones."""

Key = tuple[str, str, str]
"""Reference of the schema, kind, severity."""


class Mismatches:
    """The mismatches of the schemas that one recorder saw.

    Args:
        recorder: Whose.
        settled: Seconds without a new schema before schemas are compared.
    """

    def __init__(self, recorder: Recorder, settled: float = SETTLE_SECONDS) -> None:
        self._recorder, self._settled = recorder, settled
        self._documents: dict[str, tuple[Document, dict[str, Any]]] = {}
        self._changed: float | None = None
        self._revisions: object = None
        self._known: set[str] = set()
        self._counts: dict[Key, int] = {}
        self._attributes: dict[Key, dict[str, Any]] = {}
        self._thread: threading.Thread | None = None
        self._fresh: list[tuple[Key, int, dict[str, Any]]] = []
        self._shown = False

    def add(self, cells: SchemaCells, document: Document) -> None:
        """Add a schema that was read; we compare once no further one has come for a while."""
        root = next(iter(document.values()))
        comparable = root.type.kind == "object" and bool(root.fields) and semconv.SCHEMA_NAME in cells.attributes
        if comparable and (root.ref in self._documents or len(self._documents) < MAX_SCHEMAS):
            self._documents[root.ref] = document, cells.attributes
            self._changed = monotonic()

    def observe(self) -> Iterator[Observation]:
        """Observe mismatches by schema, kind and severity; start a comparison if one is due."""
        if self._recorder.closed:
            return
        if self._due():
            self._thread = threading.Thread(target=self._run, name="otel-schema-mismatches", daemon=True)
            self._thread.start()
        self._count_fresh()
        for key, number in list(self._counts.items()):
            yield Observation(number, self._attributes[key])

    def _due(self) -> bool:
        if self._recorder.tables is None or not self._documents:
            return False
        if self._thread is not None and self._thread.is_alive():
            return False
        if self._changed is not None and monotonic() - self._changed >= self._settled:
            return True
        return self._changed is None and self._revision() != self._revisions

    def _revision(self) -> object:
        """The revisions of the databases, as they were published last."""
        revisions = self._recorder.revisions
        return None if revisions is None else revisions.last_published()

    def _run(self) -> None:
        changed, revisions = self._changed, self._revision()
        try:
            found = self._compare()
            if found is None:  # no engine yet: try again later
                return
            self._publish(found)
        except Exception as error:
            faults.swallow("mismatches", error)
        self._revisions = revisions
        if self._changed == changed:  # otherwise a new schema has come meanwhile
            self._changed = None

    def _compare(self) -> dict[str, Mismatch] | None:
        """All mismatches by fingerprint; None if no database is known yet."""
        from .._schemas import fit, fit_pairing  # in this thread, not when the application starts
        from .._schemas.fit_columns import system_of

        documents = dict(self._documents)
        schemas = {ref: next(iter(document.values())) for ref, (document, _) in documents.items()}
        packages = {(each.module or "").partition(".")[0] for each in schemas.values()} - {""}
        read = self._recorder.tables
        kinds = list(read(packages)) if read is not None else []
        if not kinds:
            return None
        found: dict[str, Mismatch] = {}
        declared = fit_pairing.read_declared_tables(Path.cwd())
        for each in kinds:
            system = system_of(each.dialect)
            if system is None:
                continue
            for pair in fit_pairing.pair(schemas, each.document, declared, each.classes, strict=False):
                document, _ = documents[pair.schema]
                table = each.document[pair.table]
                for mismatch in fit.compare(schemas[pair.schema], document, table, system, pair.declared):
                    found[mismatch.fingerprint] = mismatch
        return found

    def _publish(self, found: dict[str, Mismatch]) -> None:
        counts: Counter[Key] = Counter()
        fresh: Counter[Key] = Counter()
        for fingerprint, each in found.items():
            key = each.schema, each.kind, each.severity
            counts[key] += 1
            fresh[key] += fingerprint not in self._known
            self._attributes[key] = {
                **self._documents[each.schema][1],
                semconv.MISMATCH_KIND: each.kind,
                semconv.MISMATCH_SEVERITY: each.severity,
            }
        limit = self._recorder.settings.cardinality_limit
        ceased = [key for key in self._counts if key not in counts][-MAX_CEASED:]
        self._counts = {**dict.fromkeys(ceased, 0), **dict(list(counts.items())[:limit])}
        self._attributes = {key: self._attributes[key] for key in self._counts}
        for key in fresh:
            if key in self._attributes:
                self._recorder.count(semconv.MISMATCH_DETECTIONS, key, self._attributes[key], 0)
        self._shown = False
        self._fresh += [
            (key, number, self._attributes[key]) for key, number in fresh.items() if key in self._attributes
        ]
        self._known = set(found)

    def _count_fresh(self) -> None:
        """Count new mismatches once a collection has published the series as 0: `rate()` misses a first value."""
        if self._shown:
            for key, number, attributes in self._fresh:
                self._recorder.count(semconv.MISMATCH_DETECTIONS, key, attributes, number)
            self._fresh = []
        self._shown = True

    def reset_after_fork(self) -> None:
        """In a forked child: it has no thread, and counts its own detections."""
        self._thread, self._known, self._fresh = None, set(), []
        self._changed = monotonic() if self._documents else None

    def join(self, timeout: float) -> None:
        """Wait for the comparison that runs, at most `timeout` s."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout)
