"""The cells of one schema: what all validators of one schema share."""

from __future__ import annotations

from typing import Any

from .. import semconv
from ..semconv import Outcome, Relation
from .bounded import Bounded
from .cells import OVERFLOW, BufferedInstrument, Cell
from .endpoints import Endpoint
from .instruments import Instruments
from .problems import Problem


class SchemaCells:
    """The cells of one schema, a map for each instrument.

    Attributes:
        instruments: Whose cells these are.
        attributes: Those of `semconv.SCHEMA`.
        durations: Endpoint key and outcome → cell.
        errors: Endpoint key and error type → cell.
        problems: Path and rule → cell.
        queries: Relation, database system and operation → cell.
    """

    __slots__ = ("_cache", "_cached", "attributes", "durations", "errors", "instruments", "problems", "queries")

    instruments: Instruments
    attributes: dict[str, Any]

    def __init__(self, instruments: Instruments, attributes: dict[str, Any], cached: bool = True) -> None:
        self.instruments, self.attributes = instruments, attributes
        self._cached = cached
        self._cache: Bounded[str, Cell] = self._map(semconv.CACHE_HITS)
        self.durations: Bounded[tuple[str, Outcome], Cell] = Bounded(
            lambda: instruments[semconv.VALIDATION_DURATION].overflow(self.hits)
        )
        self.errors: Bounded[tuple[str, str], Cell] = self._map(semconv.VALIDATION_ERRORS)
        self.problems: Bounded[Problem, Cell] = self._map(semconv.VALIDATION_PROBLEMS)
        self.queries: Bounded[tuple[Relation, str, str], Cell] = self._map(semconv.QUERY_DURATION)

    def _map(self, spec: semconv.Instrument) -> Bounded[Any, Cell]:
        return Bounded(lambda: self.instruments[spec].overflow())

    def _make(
        self, instrument: BufferedInstrument, attributes: dict[str, Any], hit_counter: Cell | None = None
    ) -> Cell | None:
        if self.attributes is OVERFLOW:
            return None
        return instrument.cell({**self.attributes, **attributes}, hit_counter)

    @property
    def used(self) -> bool:
        """Whether any validation has ended."""
        return bool(self.durations.all())

    @property
    def hits(self) -> Cell | None:
        """The counter of the validator cache's hits; None if the library builds no validators."""
        return self._cache_cell(semconv.CACHE_HITS)

    @property
    def misses(self) -> Cell | None:
        """The counter of its misses, likewise."""
        return self._cache_cell(semconv.CACHE_MISSES)

    def _cache_cell(self, spec: semconv.Instrument) -> Cell | None:
        if not self._cached:
            return None
        attributes, instrument = {semconv.CACHE_NAME: semconv.VALIDATOR_CACHE}, self.instruments[spec]
        return self._cache.get(spec.name, lambda: self._make(instrument, attributes) or instrument.overflow())

    def expect(self, endpoint: Endpoint) -> None:
        """Make the counters of this endpoint start at 0, so that `rate()` sees the first validation and failure."""
        _ = self.hits, self.misses
        if endpoint.key:
            self.error(endpoint, semconv.VALIDATION_ERROR)

    def duration(self, endpoint: Endpoint, outcome: Outcome) -> Cell:
        """The histogram's cell of an endpoint and outcome. The first one of an endpoint also calls `expect`."""
        key = endpoint.key, outcome
        cell = self.durations.values.get(key)
        if cell is None:
            self.expect(endpoint)
            attributes = {semconv.VALIDATION_OUTCOME: outcome, **endpoint.attributes}
            instrument = self.instruments[semconv.VALIDATION_DURATION]
            cell = self.durations.get(key, lambda: self._make(instrument, attributes, self.hits))
        return cell

    def error(self, endpoint: Endpoint, error_type: str) -> Cell:
        """The error counter's cell of an endpoint and error type."""
        attributes = {semconv.ERROR_TYPE: error_type, **endpoint.attributes}
        instrument = self.instruments[semconv.VALIDATION_ERRORS]
        return self.errors.get((endpoint.key, error_type), lambda: self._make(instrument, attributes))

    def problem(self, problem: Problem) -> Cell:
        """The problem counter's cell of a path and rule."""
        path, rule = problem
        attributes = {semconv.PROBLEM_PATH: path, semconv.PROBLEM_RULE: rule}
        instrument = self.instruments[semconv.VALIDATION_PROBLEMS]
        return self.problems.get(problem, lambda: self._make(instrument, attributes))

    def query(self, relation: Relation, system: str, operation: str) -> Cell:
        """The cell of queries with this relation, database system and operation (empty if it is not known)."""
        key = relation, system, operation
        cell = self.queries.values.get(key)
        if cell is None:
            attributes, instrument = query_attributes(*key), self.instruments[semconv.QUERY_DURATION]
            cell = self.queries.get(key, lambda: self._make(instrument, attributes))
        return cell

    def reset_after_fork(self) -> None:
        """In a forked child: nobody holds a lock."""
        for each in (self._cache, self.durations, self.errors, self.problems, self.queries):
            each.reset_after_fork()


def query_attributes(relation: Relation, system: str, operation: str) -> dict[str, Any]:
    """The attributes that a query's measurement and span have besides the schema's."""
    attributes = {semconv.QUERY_RELATION: relation, semconv.DB_SYSTEM_NAME: system}
    if operation:
        attributes[semconv.DB_OPERATION_NAME] = operation
    return attributes
