"""The cells of one schema: what all validators of one schema share."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from .. import semconv
from ..semconv import Outcome
from . import request
from .cells import OVERFLOW, BufferedInstrument, Cell
from .problems import Problem

if TYPE_CHECKING:
    from .recorder import Recorder


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
            self.hits = self.cell(recorder.instrument(semconv.CACHE_HITS), "hits", cache)
            self.misses = self.cell(recorder.instrument(semconv.CACHE_MISSES), "misses", cache)

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
            cell = self.cell(self.recorder.instrument(semconv.VALIDATION_DURATION), key, attributes, self.hits)
        return cell

    def errors(self, req: request.Request, error_type: str) -> Cell:
        """The error counter's cell of an endpoint and error type."""
        key = req.key, "errors", error_type
        cell = self.cells.get(key)
        if cell is None:
            cell = self.cell(
                self.recorder.instrument(semconv.VALIDATION_ERRORS),
                key,
                {semconv.ERROR_TYPE: error_type, **req.attributes},
            )
        return cell

    def problem(self, problem: Problem) -> Cell:
        """The problem counter's cell of a path and rule, made if there is none."""
        path, rule = problem
        attributes = {semconv.PROBLEM_PATH: path, semconv.PROBLEM_RULE: rule}
        return self.cell(self.recorder.instrument(semconv.VALIDATION_PROBLEMS), problem, attributes)
