"""Probe: what a validation calls when it ends.

Everything that depends on the schema alone is decided before, when a validator is bound.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import get_ident
from typing import TYPE_CHECKING, Any

from .. import faults, semconv
from ..semconv import Outcome
from . import inside, request
from .cells import BUFFER_SIZE, OVERFLOW, Cell
from .problems import Problem
from .schema_cells import SchemaCells
from .spans import Spans
from .stack import OpenValidation

if TYPE_CHECKING:
    from .stack import Running

_request = request.current_request.get


class Probe:
    """Records the validations of one built validator. Never raises, and never changes what a validation returns.

    Attributes:
        buffers: Endpoint key → the buffer for durations in s of valid validations. The hot path appends to it. If the
            key is missing it calls `succeeded`, which adds the key as soon as values may be buffered.
        fresh: Has one item before this validator's first validation, which is the cache miss; none afterwards.
        counted: Whether `count_miss` has counted that miss already.
        parameter: Whether it validates a request's parameter. Such a validator calls `succeeded`, and has no hot path.
        slow: Seconds above which a validation has a span.
        version: `schema.version` as the author declared it, for spans; None where nobody did.
    """

    __slots__ = (
        "__weakref__", "_spans", "buffers", "counted", "fresh", "parameter", "schema_cells", "slow", "version",
    )  # fmt: skip

    schema_cells: SchemaCells
    slow: float
    fresh: list[bool]
    counted: bool
    parameter: bool

    def __init__(self, schema_cells: SchemaCells, spans: Spans) -> None:
        self.schema_cells, self.slow, self._spans = schema_cells, spans.slow, spans
        self.buffers: dict[str, list[float]] = {}
        self.fresh, self.counted, self.parameter = [True], False, False
        self.version: str | None = None

    def succeeded(self, took: float, running: Running | None = None) -> None:
        """Record a valid validation.

        Args:
            took: Its duration in s.
            running: Its entry in `stack.running`; None for a validation that had none.
        """
        req = _request()
        if self.parameter:  # as `Request.add_validation` does
            req.parameter_cells = self.schema_cells
        else:
            req.schema_cells = self.schema_cells
        durations = req.durations
        if durations is not None:
            durations.append(took)
        values = self.buffers.get(req.key)
        if values is None or took > self.slow or type(running) is OpenValidation:
            self.record_slow_path(req, took, running)
            return
        values.append(took)
        if len(values) >= BUFFER_SIZE:
            self.flush_buffer(req)

    def record_slow_path(self, req: request.Request, took: float, running: Running | None = None) -> None:
        """Record what the hot path does not: the first validation of an endpoint, a slow one, one that ran a query."""
        try:
            endpoint, schema_cells = req.endpoint, self.schema_cells
            # where nothing may be buffered, nothing is flushed
            if req.durations is not None and len(req.durations) >= BUFFER_SIZE:
                req.sum_up()
            cell = schema_cells.duration(endpoint, "valid")
            context = None
            if took > self.slow or type(running) is OpenValidation:
                context = self._spans.end_span(
                    schema_cells.attributes, endpoint, took, "valid", None, None, running, self.version
                )
            self._measure(cell, took, context)
            if cell.buffering and len(self.buffers) < BUFFER_SIZE:
                self.buffers[endpoint.key] = cell.values
        except Exception as error:
            faults.swallow("recorder", error)

    def flush_buffer(self, req: request.Request) -> None:
        """Fold a buffer that is full."""
        try:
            req.sum_up()
            cell = self.schema_cells.duration(req.endpoint, "valid")
            cell.instrument.fold_one(cell)
        except Exception as error:
            faults.swallow("recorder", error)

    def failed(
        self,
        took: float,
        outcome: Outcome,
        error_type: str,
        problems: Callable[[], Sequence[Problem]] | None = None,
        running: Running | None = None,
    ) -> None:
        """Record a failed validation.

        Args:
            took: Its duration in s.
            outcome: `invalid` if the data broke the schema, `error` if a validator raised something else.
            error_type: `ValidationError` for the library's own failure, else the exception class's `__qualname__`.
            problems: Function that returns the failed fields; called once.
            running: As for `succeeded`.
        """
        try:
            req, schema_cells = _request(), self.schema_cells
            req.add_validation(schema_cells, took, self.parameter)
            endpoint = req.endpoint
            found: Sequence[Problem] = ()
            if problems is not None:
                try:
                    found = problems()
                except BaseException as error:  # the failed fields are unknown then, but the failure still counts
                    faults.swallow(str(schema_cells.attributes.get(semconv.SCHEMA_LIBRARY, "recorder")), error)
            context = self._spans.end_span(
                schema_cells.attributes, endpoint, took, outcome, error_type, found, running, self.version
            )
            self._measure(schema_cells.duration(endpoint, outcome), took, context)
            if endpoint.key:
                schema_cells.error(endpoint, error_type).add(1)
            cells = schema_cells.problems.values
            for problem in found:
                (cells.get(problem) or schema_cells.problem(problem)).add(1)
        except Exception as error:
            faults.swallow("recorder", error)

    def _measure(self, cell: Cell, took: float, context: Any) -> None:
        if self.fresh and self._first() and self.schema_cells.misses is not None:
            if not self.counted:
                self.schema_cells.misses.add(1)
            if get_ident() in inside.threads:
                cell.add(took, context)
                return
            # `cell.add` would count a hit, and this is a miss
            cell.instrument.record(took, cell.attributes, context)
            if cell.attributes is OVERFLOW:
                cell.instrument.count_overflow(1)
            cell.buffering = cell.buffering or cell.instrument.folds()
        else:
            cell.add(took, context)

    def _first(self) -> bool:
        try:
            self.fresh.pop()
        except IndexError:  # another thread was first
            return False
        return True

    def count_miss(self) -> None:
        """Count the miss of a validator that was built before its first validation (`check_schema`)."""
        if self.schema_cells.misses is not None:
            self.counted = True
            self.schema_cells.misses.add(1)
