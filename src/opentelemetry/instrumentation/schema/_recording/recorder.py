"""Recorder → Probe: what a validation calls when it ends.

`Recorder.bind` is called once per validator, off the hot path; everything that depends on the schema alone is decided
there. A `SchemaCells` is what all validators of one schema share.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from opentelemetry.metrics import Meter, get_meter_provider
from opentelemetry.trace import Tracer, get_tracer_provider

from .. import faults, semconv
from ..semconv import Outcome
from . import app_caches, request, spans, stack
from .cells import BUFFER_SIZE, OVERFLOW, BufferedInstrument, Cell
from .ownership import Ownership
from .stack import OpenValidation

if TYPE_CHECKING:
    from ..settings import Settings

Problem = tuple[str, str]
"""One failed field: a path templated against the schema, and the rule's name. Never a value."""

_request = request.current_request.get
_FLUSH = 5.0  # s that the end of a process may wait for its last export


class SchemaCells:
    """The cells of one schema.

    Attributes:
        attributes: SCHEMA.
        hits: The validator cache's hits; None where there is no validator to be built.
        misses: Likewise its misses.
    """

    __slots__ = ("attributes", "cells", "hits", "lock", "misses", "recorder")

    def __init__(self, recorder: Recorder, attributes: dict[str, Any], cached: bool = True) -> None:
        self.recorder, self.attributes = recorder, attributes
        self.cells: dict[Any, Cell] = {}
        self.lock = threading.RLock()  # a finaliser that records may run inside
        self.hits = self.misses = None
        if cached:
            cache = {semconv.CACHE_NAME: semconv.VALIDATOR_CACHE}
            self.hits = self.cell(recorder.hits, "hits", cache)
            self.misses = self.cell(recorder.misses, "misses", cache)

    def cell(
        self, instrument: BufferedInstrument, key: Any, attributes: dict[str, Any], hit_counter: Cell | None = None
    ) -> Cell:
        """The cell of `key`, made if there is none; past the instrument's limit the one that all further keys share."""
        with self.lock:
            cell = self.cells.get(key)
            if cell is None:
                made = (
                    None
                    if self.attributes is OVERFLOW
                    else instrument.cell({**self.attributes, **attributes}, hit_counter)
                )
                if made is None:  # `key` is not remembered: there is no end of keys past the limit
                    key = instrument
                    made = self.cells.get(instrument) or instrument.overflow(hit_counter)
                cell = self.cells[key] = made
        return cell

    def duration(self, req: request.Request, outcome: Outcome) -> Cell:
        """The histogram's cell of an endpoint and outcome; the first makes the endpoint's error counter start at 0."""
        key = req.key, outcome
        cell = self.cells.get(key)
        if cell is None:
            if req.counted:
                self.errors(req, semconv.VALIDATION_ERROR)
            attributes = {semconv.VALIDATION_OUTCOME: outcome, **req.attributes}
            cell = self.cell(self.recorder.durations, key, attributes, self.hits)
        return cell

    def errors(self, req: request.Request, error_type: str) -> Cell:
        """The error counter's cell of an endpoint and error type."""
        key = req.key, "errors", error_type
        cell = self.cells.get(key)
        if cell is None:
            cell = self.cell(self.recorder.errors, key, {semconv.ERROR_TYPE: error_type, **req.attributes})
        return cell

    def problem(self, problem: Problem) -> Cell:
        """The problem counter's cell of a path and rule, made if there is none."""
        path, rule = problem
        attributes = {semconv.PROBLEM_PATH: path, semconv.PROBLEM_RULE: rule}
        return self.cell(self.recorder.problems, problem, attributes)


class Probe:
    """One built validator's way to record. Nothing it does raises, or changes what the validation gives.

    Attributes:
        buffers: Endpoint key → the buffer for durations in s of valid validations. The hot path appends to it; where a
            key is missing it calls `succeeded`, which adds the key as soon as values may wait.
        fresh: Whether this validator has not validated yet: its first validation is the cache miss that built it.
        counted: Whether that miss is counted already, by `count_miss`.
        slow: Seconds above which a validation has a span.
    """

    __slots__ = ("__weakref__", "buffers", "counted", "fresh", "schema_cells", "slow")

    def __init__(self, schema_cells: SchemaCells) -> None:
        self.schema_cells, self.slow = schema_cells, schema_cells.recorder.slow
        self.buffers: dict[str, list[float]] = {}
        self.fresh, self.counted = True, False

    def succeeded(self, took: float, running: Any = None) -> None:
        """A valid validation of `took` seconds ended; `running` is what `stack.running` held when it ended."""
        req = _request()
        req.probe, durations = self, req.took  # as `Request.add_validation` does
        if durations is not None:
            durations.append(took)
        values = self.buffers.get(req.key)
        if values is None or took > self.slow or type(running) is OpenValidation:
            self.record_slow_path(req, took, running)
            return
        values.append(took)
        if len(values) >= BUFFER_SIZE:
            self.flush_buffer(req)

    def record_slow_path(self, req: request.Request, took: float, running: Any = None) -> None:
        """What the hot path does not do itself: a first value, a slow validation, one that ran a query."""
        try:
            cell = self.schema_cells.duration(req, "valid")
            context = None
            if took > self.slow or type(running) is OpenValidation:
                schema_cells = self.schema_cells
                context = schema_cells.recorder.spans.end_span(
                    schema_cells.attributes, req, took, "valid", None, None, running
                )
            self._measure(cell, took, context)
            if cell.buffering and len(self.buffers) < BUFFER_SIZE:
                self.buffers[req.key] = cell.values
        except Exception as error:
            faults.swallow("recorder", error)

    def flush_buffer(self, req: request.Request) -> None:
        """A buffer reached its limit."""
        try:
            cell = self.schema_cells.duration(req, "valid")
            cell.instrument.fold_one(cell)
        except Exception as error:
            faults.swallow("recorder", error)

    def failed(
        self,
        took: float,
        outcome: Outcome,
        error_type: str,
        problems: Callable[[], Sequence[Problem]] | None = None,
        running: Any = None,
    ) -> None:
        """A validation failed after `took` seconds.

        Args:
            took: Seconds.
            outcome: `invalid` if the data broke the schema, `error` if a validator raised something else.
            error_type: `ValidationError` for the library's own failure, else the exception class's `__qualname__`.
            problems: Gives the failed fields; asked once.
            running: What `stack.running` held when it ended.
        """
        try:
            req = _request()
            req.add_validation(self, took)
            schema_cells, recorder = self.schema_cells, self.schema_cells.recorder
            found: Sequence[Problem] = ()
            if problems is not None:
                try:
                    found = problems()
                except Exception as error:  # what failed is unknown then, but not that something did
                    faults.swallow(str(schema_cells.attributes.get(semconv.SCHEMA_LIBRARY, "recorder")), error)
            context = recorder.spans.end_span(schema_cells.attributes, req, took, outcome, error_type, found, running)
            self._measure(schema_cells.duration(req, outcome), took, context)
            if req.counted:
                schema_cells.errors(req, error_type).add(1)
            cells = schema_cells.cells
            for problem in found:
                (cells.get(problem) or schema_cells.problem(problem)).add(1)
        except Exception as error:
            faults.swallow("recorder", error)

    def _measure(self, cell: Cell, took: float, context: Any) -> None:
        if self.fresh and self._first() and self.schema_cells.misses is not None:
            if not self.counted:
                self.schema_cells.misses.add(1)
            # not a hit, so it goes past the cell that counts those
            cell.instrument.record(took, cell.attributes, context)
            if cell.attributes is OVERFLOW:
                cell.instrument.overflowed(1)
            cell.buffering = cell.buffering or cell.instrument.folds()
        else:
            cell.add(took, context)

    def _first(self) -> bool:
        with self.schema_cells.lock:  # of two threads that are first, one is
            first, self.fresh = self.fresh, False
        return first

    def count_miss(self) -> None:
        """A validator was built, though nothing is validated yet (`check_schema`); a first validation is no hit."""
        if self.schema_cells.misses is not None:
            self.counted = True
            self.schema_cells.misses.add(1)


class Recorder:
    """Everything one `instrument()` records, with the providers it was given.

    Args:
        settings: Checked settings.
        meter: Of the scope `opentelemetry.instrumentation.schema`.
        tracer: Likewise.

    Attributes:
        providers: Whom `flush` asks; None stands for the global tracer provider and meter provider.
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

        self.durations = buffered(semconv.VALIDATION_DURATION)
        self.errors = buffered(semconv.VALIDATION_ERRORS)
        self.problems = buffered(semconv.VALIDATION_PROBLEMS)
        self.requests = buffered(semconv.API_REQUESTS)
        self.hits = buffered(semconv.CACHE_HITS)
        self.misses = buffered(semconv.CACHE_MISSES)
        self.queries = buffered(semconv.QUERY_DURATION)
        self.query_hits = buffered(semconv.QUERY_CACHE_HITS)
        self.query_misses = buffered(semconv.QUERY_CACHE_MISSES)
        self._faults = buffered(semconv.TELEMETRY_ERRORS)
        self._dropped = buffered(semconv.TELEMETRY_DROPPED)
        # Durations come first: folding them adds to the hits.
        self._instruments = (
            self.durations, self.errors, self.problems, self.requests, self.queries, self.hits, self.misses,
            self.query_hits, self.query_misses, self._faults,
        )  # fmt: skip
        self.spans = spans.Spans(settings, tracer)
        self._overflow: SchemaCells | None = None
        _recorders.add(self)
        global active
        active = self
        # In every collection the SDK runs this callback before it reads the data points. It drops the callback of a
        # second instrument of the same name, so there is one for all recorders.
        meter.create_observable_gauge("schema.telemetry.fold", callbacks=[_collect])

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
        self.count(self.requests, endpoint.key, endpoint.attributes, amount)

    def collect(self) -> None:
        """Move everything that waits into the SDK; called before each collection of each reader."""
        for name, hits, misses in app_caches.take():
            attributes = {semconv.CACHE_NAME: name}
            self.count(self.hits, name, attributes, hits)
            self.count(self.misses, name, attributes, misses)
        for (component, error_type), number in faults.take().items():
            attributes = {semconv.TELEMETRY_COMPONENT: component, semconv.ERROR_TYPE: error_type}
            self.count(self._faults, (component, error_type), attributes, number)
        self.owned.report()
        for instrument in self._instruments:
            instrument.fold()
        self.durations.dropped += self.spans.take_dropped()
        for instrument in self._instruments:
            number, instrument.dropped = instrument.dropped, 0
            if number:
                name = instrument.spec.name
                self.count(self._dropped, name, {semconv.TELEMETRY_INSTRUMENT: name}, number)
        self._dropped.fold()

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
        for instrument in (*self._instruments, self._dropped):
            instrument.closed = True
        self.spans.closed = True

    def forked(self) -> None:
        """In a forked child: start from zero."""
        self._lock = threading.RLock()
        self.owned.forked()
        for schema_cells in (*self._schemas.values(), *((self._overflow,) if self._overflow else ())):
            schema_cells.lock = threading.RLock()
        for instrument in (*self._instruments, self._dropped):
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


def _forked() -> None:
    faults.forked()
    stack.forked()
    app_caches.forked()
    for recorder in list(_recorders):
        recorder.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
