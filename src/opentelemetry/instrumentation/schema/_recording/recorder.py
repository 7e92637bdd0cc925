"""Everything that one `instrument()` records. Binds schemas to probes, and empties all buffers at each collection."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from opentelemetry.metrics import Meter, Observation, get_meter_provider
from opentelemetry.trace import Tracer, get_tracer_provider

from .. import faults, semconv
from ..text import clean
from . import app_caches, inside, request, spans, stack
from .bounded import Bounded
from .cells import OVERFLOW, Cell
from .endpoints import Endpoint
from .instruments import Instruments
from .ownership import Ownership
from .probe import Probe
from .schema_cells import SchemaCells
from .unread_schemas import UnreadSchemas

if TYPE_CHECKING:
    from ..settings import Settings
    from .revisions import Revisions
    from .workers import Workers

_log = logging.getLogger(__name__)
_UNREAD = (
    "this process was forked from the process whose Prometheus exporter serves /metrics, so nothing exports what this "
    "process measures: export by OTLP (OTEL_METRICS_EXPORTER=otlp), or set up an SDK in each worker after the fork"
)
_FLUSH_TIMEOUT = 5.0  # s that the end of a process may wait for its last export


class Recorder:
    """Everything one `instrument()` records, with the providers it was given.

    Args:
        settings: Checked settings.
        meter: Of the scope `opentelemetry.instrumentation.schema`.
        tracer: Likewise.

    Attributes:
        binding: A lock. Whoever binds a validator holds it, so that only one thread binds each.
        instruments: The counters and histograms.
        tracer: For spans that are not a validation's.
        providers: The tracer provider and meter provider that `flush` asks; None stands for the global one.
        observers: Name of a gauge → function that returns its points at a collection. Other gauges have no points.
        unread_schemas: Schemas in use whose fields nobody has read yet.
        after_fork: Functions to call in a forked child.
        revisions: Watches the revisions of databases (`_live.revisions`); None if nobody watches them.
        tables: Function that returns the models' tables for each kind of database in use; None without SQLAlchemy.
        workers: What this process shares with its children; None before `multiprocessing` or billiard is imported.
    """

    providers: tuple[Any, Any] = None, None
    settings: Settings
    closed: bool
    binding: Any
    owned: Ownership
    instruments: Instruments
    unread_schemas: UnreadSchemas
    spans: spans.Spans

    def __init__(self, settings: Settings, meter: Meter, tracer: Tracer) -> None:
        self.settings, self.closed = settings, False
        self.tracer: Tracer = tracer
        self.binding = threading.RLock()
        self.owned = Ownership(settings)
        self.instruments = Instruments(meter, settings.cardinality_limit, settings.aggregation == "fold")
        self._schemas: Bounded[tuple[str, str, str | None], SchemaCells] = Bounded(
            lambda: SchemaCells(self.instruments, OVERFLOW)
        )
        # Those of no schema, by their instrument's name.
        self._cells: dict[str, Bounded[Any, Cell]] = {
            instrument.spec.name: Bounded(instrument.overflow) for instrument in self.instruments
        }
        self.unread_schemas = UnreadSchemas()
        self.spans = spans.Spans(settings, tracer)
        _recorders.add(self)
        global active
        active = self
        # In every collection the SDK runs this callback before it reads the data points. It drops the callback of a
        # second instrument of the same name, so there is one for all recorders.
        meter.create_observable_gauge("schema.telemetry.fold", callbacks=[_collect])
        self.observers: dict[str, Callable[[], Iterable[Observation]]] = {semconv.LEFT_OUT.name: self._observe_left_out}
        self.after_fork: list[Callable[[], None]] = []
        self._unread = False
        self.revisions: Revisions | None = None
        self.tables: Callable[[Iterable[str]], Iterable[Any]] | None = None
        self.workers: Workers | None = None
        for name, callback in _GAUGES.items():
            spec = callback.args[0]
            meter.create_observable_gauge(name, [callback], spec.unit, spec.description)

    def bind(self, library: str, name: str, module: str | None, cached: bool = True) -> Probe:
        """Return a probe for one built validator of the schema `name`.

        Args:
            library: `pydantic`, `jsonschema`, `marshmallow`, or the library given to `validation()`.
            name: `schema.name`, which depends on the schema alone.
            module: The Python module that holds the schema; None if there is none.
            cached: Whether the library builds validators. Then each validation is a hit or a miss of their cache.
        """
        key = clean(library), clean(name), None if module is None else clean(module)
        return Probe(self._schemas.get(key, lambda: self._new_schema_cells(key, cached)), self.spans)

    def _new_schema_cells(self, key: tuple[str, str, str | None], cached: bool) -> SchemaCells | None:
        if len(self._schemas.values) >= self.settings.cardinality_limit:
            return None
        library, name, module = key
        attributes = {semconv.SCHEMA_NAME: name, semconv.SCHEMA_LIBRARY: library}
        if module is not None:
            attributes[semconv.SCHEMA_MODULE] = module
        return SchemaCells(self.instruments, attributes, cached)

    def count(self, spec: semconv.Instrument, key: Any, attributes: dict[str, Any], amount: float = 1) -> None:
        """Add to a counter. Amount 0 makes its series exist.

        Args:
            spec: The counter's row in `semconv`.
            key: Stands for `attributes`.
            attributes: The attribute set.
            amount: What to add, in the counter's unit.
        """
        cell = self.cell(spec, key, attributes)
        if amount:
            cell.add(amount)

    def cell(self, spec: semconv.Instrument, key: Any, attributes: dict[str, Any]) -> Cell:
        """Return the cell of an attribute set that belongs to no schema; `key` stands for `attributes`."""
        return self._cells[spec.name].get(key, lambda: self.instruments[spec].cell(attributes))

    def count_request(self, endpoint: Endpoint, amount: int = 1) -> None:
        """Count a handled request. Amount 0 makes the series of a route that the framework lists start at 0."""
        self.count(semconv.API_REQUESTS, endpoint.key, endpoint.attributes, amount)
        if self._unread and amount and not self.instruments.held:
            self._unread = False
            _log.warning(_UNREAD)

    def collect(self) -> None:
        """Move all buffered measurements into the SDK. Called at the start of each collection of each reader."""
        for name, hits, misses in app_caches.take():
            attributes = {semconv.CACHE_NAME: name}
            self.count(semconv.CACHE_HITS, name, attributes, hits)
            self.count(semconv.CACHE_MISSES, name, attributes, misses)
        for (component, error_type), number in faults.take().items():
            attributes = {semconv.TELEMETRY_COMPONENT: component, semconv.ERROR_TYPE: error_type}
            self.count(semconv.TELEMETRY_ERRORS, (component, error_type), attributes, number)
        self._take_from_children()
        self.owned.left_out.report()
        request.sum_up_all()
        for instrument in self.instruments:
            instrument.fold()
        self.instruments[semconv.VALIDATION_DURATION].dropped += self.spans.take_dropped()
        for instrument in self.instruments:
            number, instrument.dropped = instrument.dropped, 0
            if number:
                name = instrument.spec.name
                self.count(semconv.TELEMETRY_DROPPED, name, {semconv.TELEMETRY_INSTRUMENT: name}, number)
        self.instruments[semconv.TELEMETRY_DROPPED].fold()

    def _take_from_children(self) -> None:
        """Record the measurements of forked children that have ended."""
        specs = {spec.name: spec for spec in semconv.INSTRUMENTS}
        for name, attributes, values in self.workers.take() if self.workers is not None else ():
            cell = self.cell(specs[name], ("child", *sorted(attributes.items())), attributes)
            for value in values:
                cell.add(value)

    def _observe_left_out(self) -> Iterable[Observation]:
        counts = self.owned.left_out.count()
        return [Observation(number, {semconv.DISTRIBUTION: name}) for name, number in counts.items()]

    def watch_workers(self, util: str) -> None:
        """Watch the children of `multiprocessing` or billiard. Called when the app imports one of them.

        Args:
            util: The name of its module of hooks.
        """
        if hasattr(os, "fork"):
            from .workers import Workers

            try:
                self.workers = self.workers or Workers(self.instruments, self.flush)
            except OSError:  # no place for a file: children cannot hand anything over
                return
            self.workers.watch(util)

    @faults.guarded("recorder", False)
    def flush(self, limit: float = _FLUSH_TIMEOUT) -> bool:
        """Have the providers export all buffered telemetry, because the process is about to end.

        Args:
            limit: Seconds to wait at most.

        Returns:
            Whether the export ended in time.
        """

        @faults.guarded("recorder", None)
        def export() -> None:
            tracers, meters = self.providers
            for provider in (meters or get_meter_provider(), tracers or get_tracer_provider()):
                getattr(provider, "force_flush", bool)()  # the API's own providers have no such method

        # Exporters may retry for minutes, so another thread waits for them.
        thread = threading.Thread(target=export, name="schema-flush", daemon=True)
        thread.start()
        thread.join(limit)
        return not thread.is_alive()

    def close(self) -> None:
        """Fold all buffered values, then record nothing more, even if somebody kept a patched method."""
        self.collect()
        self.closed = True
        _recorders.discard(self)
        global active
        if active is self:
            active = None
        for instrument in self.instruments:
            instrument.closed = True
        self.spans.closed = True
        workers, self.workers = self.workers, None
        if workers is not None:
            workers.close()

    def reset_after_fork(self) -> None:
        """In a forked child: start from zero."""
        self.owned.left_out.reset_after_fork()
        self.binding = threading.RLock()
        self.unread_schemas.reset_after_fork()
        for reset in self.after_fork:
            reset()
        for each in (self._schemas, *self._cells.values(), *self._schemas.all()):
            each.reset_after_fork()
        for instrument in self.instruments:
            instrument.reset_after_fork()
        self._unread = self.instruments[semconv.API_REQUESTS].read_by_the_parent_only()
        self.spans.reset_after_fork()


_recorders: weakref.WeakSet[Recorder] = weakref.WeakSet()

active: Recorder | None = None
"""The recorder of the running `instrument()`, for the functions that an app calls itself."""


def _collect(_options: Any = None) -> Iterable[Any]:
    for recorder in list(_recorders):
        try:
            recorder.collect()
        except Exception as error:
            faults.swallow("recorder", error)
    return ()


def _observe(spec: semconv.Instrument, _options: Any = None) -> Iterable[Observation]:
    """The points of a gauge, of the running `instrument()`."""
    observer = active.observers.get(spec.name) if active is not None else None
    try:
        return [] if observer is None else list(observer())
    except Exception as error:
        faults.swallow("recorder", error)
        return []


# One callback a gauge for all recorders, for the same reason as `_collect`.
_GAUGES = {spec.name: partial(_observe, spec) for spec in semconv.INSTRUMENTS if spec.kind == "gauge"}


def _reset_after_fork() -> None:
    faults.reset_after_fork()
    inside.reset_after_fork()
    stack.reset_after_fork()
    app_caches.reset_after_fork()
    request.reset_after_fork()
    for recorder in list(_recorders):
        recorder.reset_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)
