"""All that one `instrument()` records: it binds schemas to probes, and empties all buffers at each collection."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from opentelemetry.metrics import Meter, Observation, get_meter_provider
from opentelemetry.trace import Tracer, get_tracer_provider

from .. import faults, semconv
from . import app_caches, request, spans, stack
from .cells import OVERFLOW, BufferedInstrument, Cell
from .ownership import Ownership
from .probe import Probe
from .schema_cells import SchemaCells
from .sources import Sources

if TYPE_CHECKING:
    from ..settings import Settings

_FLUSH = 5.0  # s that the end of a process may wait for its last export


class Recorder:
    """Everything one `instrument()` records, with the providers it was given.

    Args:
        settings: Checked settings.
        meter: Of the scope `opentelemetry.instrumentation.schema`.
        tracer: Likewise.

    Attributes:
        providers: Whom `flush` asks; None stands for the global tracer provider and meter provider.
        observers: Name of a gauge → gives its points at a collection; a gauge that nobody observes has none.
        sources: Schemas whose versions are still to be told.
    """

    providers: tuple[Any, Any] = None, None

    def __init__(self, settings: Settings, meter: Meter, tracer: Tracer) -> None:
        self.settings, self.slow, self.closed = settings, settings.slow, False
        self.owned = Ownership(settings)
        self._lock = threading.RLock()
        self._schemas: dict[tuple[str, str, str | None], SchemaCells] = {}
        self._keyed: dict[tuple[BufferedInstrument, Any], Cell] = {}
        fold, limit = settings.aggregation == "fold", settings.cardinality_limit

        def buffered(spec: semconv.Instrument) -> BufferedInstrument:
            if spec.kind == "counter":
                made: Any = meter.create_counter(spec.name, spec.unit, spec.description)
            else:
                made = meter.create_histogram(
                    spec.name, spec.unit, spec.description, explicit_bucket_boundaries_advisory=spec.buckets
                )
            return BufferedInstrument(spec, made, limit, fold)

        self._instruments = {spec.name: buffered(spec) for spec in semconv.INSTRUMENTS if spec.kind != "gauge"}
        self.sources = Sources()
        self.spans = spans.Spans(settings, tracer)
        self._overflow: SchemaCells | None = None
        _recorders.add(self)
        global active
        active = self
        # In every collection the SDK runs this callback before it reads the data points. It drops the callback of a
        # second instrument of the same name, so there is one for all recorders.
        meter.create_observable_gauge("schema.telemetry.fold", callbacks=[_collect])
        self.observers: dict[str, Callable[[], Iterable[Observation]]] = {}
        for name, callback in _GAUGES.items():
            spec = callback.args[0]
            meter.create_observable_gauge(name, [callback], spec.unit, spec.description)

    def bind(self, library: str, name: str, module: str | None, cached: bool = True) -> Probe:
        """A probe for one built validator of the schema `name`.

        Args:
            library: `pydantic`, `jsonschema`, `marshmallow`, or what `validation()` was told.
            name: `schema.name`: depends on the schema alone.
            module: The Python module that holds it, None where there is none.
            cached: Whether the library builds validators, so that a validation hits or misses one.
        """
        key = library, name, module
        schema_cells = self._schemas.get(key)
        if schema_cells is None:
            with self._lock:
                schema_cells = self._schemas.get(key)
                if schema_cells is None:
                    schema_cells = self._new_schema_cells(key, cached)
        return Probe(schema_cells)

    def _new_schema_cells(self, key: tuple[str, str, str | None], cached: bool) -> SchemaCells:
        library, name, module = key
        if len(self._schemas) >= self.settings.cardinality_limit:
            if self._overflow is None:
                self._overflow = SchemaCells(self, OVERFLOW)
            return self._overflow
        attributes = {semconv.SCHEMA_NAME: name, semconv.SCHEMA_LIBRARY: library}
        if module is not None:
            attributes[semconv.SCHEMA_MODULE] = module
        schema_cells = self._schemas[key] = SchemaCells(self, attributes, cached)
        return schema_cells

    def instrument(self, spec: semconv.Instrument) -> BufferedInstrument:
        """The instrument of a row of `semconv`."""
        return self._instruments[spec.name]

    def count(self, instrument: BufferedInstrument, key: Any, attributes: dict[str, Any], amount: float = 1) -> None:
        """Add to a counter; 0 makes its series exist."""
        cell = self.cell(instrument, key, attributes)
        if amount:
            cell.add(amount)

    def cell(self, instrument: BufferedInstrument, key: Any, attributes: dict[str, Any]) -> Cell:
        """The cell of a key that stands for `attributes`, made if there is none; it belongs to no schema."""
        cell = self._keyed.get((instrument, key))
        if cell is None:
            with self._lock:
                cell = self._keyed.get((instrument, key))
                if cell is None:
                    made = instrument.cell(attributes)
                    if made is None:
                        key = None
                        made = self._keyed.get((instrument, None)) or instrument.overflow()
                    cell = self._keyed[instrument, key] = made
        return cell

    def count_request(self, endpoint: request.Endpoint | request.Request, amount: int = 1) -> None:
        """A request for an endpoint was handled; with `amount` 0, one may come (a route that the framework lists)."""
        self.count(self.instrument(semconv.API_REQUESTS), endpoint.key, endpoint.attributes, amount)

    def collect(self) -> None:
        """Move everything that waits into the SDK; called before each collection of each reader."""
        for name, hits, misses in app_caches.take():
            attributes = {semconv.CACHE_NAME: name}
            self.count(self.instrument(semconv.CACHE_HITS), name, attributes, hits)
            self.count(self.instrument(semconv.CACHE_MISSES), name, attributes, misses)
        for (component, error_type), number in faults.take().items():
            attributes = {semconv.TELEMETRY_COMPONENT: component, semconv.ERROR_TYPE: error_type}
            self.count(self.instrument(semconv.TELEMETRY_ERRORS), (component, error_type), attributes, number)
        self.owned.report()
        for instrument in self._instruments.values():
            instrument.fold()
        self.instrument(semconv.VALIDATION_DURATION).dropped += self.spans.take_dropped()
        for instrument in self._instruments.values():
            number, instrument.dropped = instrument.dropped, 0
            if number:
                name = instrument.spec.name
                self.count(
                    self.instrument(semconv.TELEMETRY_DROPPED), name, {semconv.TELEMETRY_INSTRUMENT: name}, number
                )
        self.instrument(semconv.TELEMETRY_DROPPED).fold()

    @faults.guarded("recorder", None)
    def flush(self) -> None:
        """Have the providers export what waits, for at most 5 s: the process is about to end."""

        @faults.guarded("recorder", None)
        def export() -> None:
            tracers, meters = self.providers
            for provider in (meters or get_meter_provider(), tracers or get_tracer_provider()):
                getattr(provider, "force_flush", bool)()  # the API's own providers have no such method

        # Exporters retry for as long as they like, so somebody else waits for them.
        thread = threading.Thread(target=export, name="schema-flush", daemon=True)
        thread.start()
        thread.join(_FLUSH)

    def close(self) -> None:
        """Fold what waits, then record nothing more: bound methods of ours that somebody kept become inert."""
        self.collect()
        self.closed = True
        _recorders.discard(self)
        global active
        if active is self:
            active = None
        for instrument in self._instruments.values():
            instrument.closed = True
        self.spans.closed = True

    def forked(self) -> None:
        """In a forked child: start from zero."""
        self._lock = threading.RLock()
        self.owned.forked()
        self.sources.forked()
        for schema_cells in (*self._schemas.values(), *((self._overflow,) if self._overflow else ())):
            schema_cells.lock = threading.RLock()
        for instrument in self._instruments.values():
            instrument.forked()
        self.spans.forked()


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


def _forked() -> None:
    faults.forked()
    stack.forked()
    app_caches.forked()
    for recorder in list(_recorders):
        recorder.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
