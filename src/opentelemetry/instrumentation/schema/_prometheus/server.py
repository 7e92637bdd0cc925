"""A Prometheus, or whatever answers its HTTP API.

https://prometheus.io/docs/prometheus/latest/querying/api/
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, cast, get_origin

from ..semconv import INSTRUMENTS
from .http import DEFAULT, Access, SourceError, StatusError, get, masked
from .reading import Reading, Sample, label_names, sample_name
from .selector import EVERYTHING, Selector
from .text import cleaned

T = TypeVar("T")

_DURATION: Final = re.compile(r"(\d{1,12})(ms|s|m|h|d|w|y)")
_SECONDS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 365 * 86400}


@dataclass(frozen=True)
class Prometheus:
    """A Prometheus. Sums over every job and instance that the selector selects.

    Attributes:
        url: Its base URL, without /api/v1; may hold credentials.
        window: PromQL duration of `increase()`; None reads the counters as they stand.
        access: How to talk to it.
        selector: Which series to read.
    """

    url: str = field(repr=False)
    window: str | None = None
    access: Access = DEFAULT
    selector: Selector = EVERYTHING

    @property
    def name(self) -> str:
        """What it is and where, for a title."""
        return f"Prometheus {masked(self.url)}"

    def read(self) -> Reading:
        """Read the instruments now.

        Raises:
            SourceError: if it does not answer, or not as it should.
        """
        try:
            return Reading.of(self._samples(), duration(self.window) if self.window else None)
        except ValueError as error:
            raise SourceError(f"{self.name}: {error}: exclude other programs' series with --match") from error

    def _samples(self) -> Iterator[Sample]:
        for instrument in INSTRUMENTS:
            name = sample_name(instrument)
            series = self.selector.of(name)
            gauge = instrument.kind == "gauge"
            expression = f"increase({series}[{self.window}])" if self.window and not gauge else series
            by = f"{'max' if gauge else 'sum'} by ({', '.join(label_names(instrument))})"
            for labels, value in self.query(f"{by} ({expression})"):
                yield name, labels, value

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Evaluate an instant query now. Returns labels and value of each series; a scalar has no labels.

        Leaves out native histograms, which have no value.

        Raises:
            SourceError: if Prometheus does not answer, or refuses the expression.
        """
        answer = self.api("query", query=expression)
        try:
            if shaped(answer, str, "resultType") == "scalar":
                return [({}, float(shaped(answer, str, "result", 1)))]
            rows = shaped(answer, list[Any], "result")
            return [
                (_labels(row), float(shaped(row, str, "value", 1)))
                for row in rows
                if "histogram" not in shaped(row, dict[str, Any])
            ]
        except ValueError as error:
            raise self.odd(error) from error

    def api(self, path: str, **parameters: str | float) -> Any:
        """`data` of what the HTTP API answers below /api/v1.

        Raises:
            SourceError: if Prometheus does not answer, or refuses.
        """
        try:
            answer = get(self.url, self.access, parameters, f"/api/v1/{path}", "application/json")
        except StatusError as error:
            # such as a query that took too long
            if told := _error(error.body):
                raise StatusError(f"{self.name}: {cleaned(told)}", error.status, error.body) from error
            raise
        try:
            return shaped(from_json(answer.text), object, "data")
        except ValueError as error:
            raise self.odd(error) from error

    def odd(self, error: ValueError) -> SourceError:
        """The error of an answer that does not have the shape of the API's."""
        shown = masked(self.url)
        return SourceError(
            f"{shown} does not answer as a Prometheus ({error}): give its base URL, such as http://host:9090"
        )


def shaped(value: object, kind: type[T], *path: str | int) -> T:
    """The value at a path of keys and indexes in a JSON document.

    Raises:
        ValueError: if there is none, or one of another type.
    """
    at = value
    for key in path:
        try:
            at = cast("Any", at)[key]
        except (LookupError, TypeError):
            raise ValueError(f"its answer has no {'.'.join(map(str, path))}") from None
    if not isinstance(at, get_origin(kind) or kind):
        raise ValueError(f"in its answer {'.'.join(map(str, path)) or 'a part'} is no {kind.__name__}")
    return cast("T", at)


def _labels(row: object) -> dict[str, str]:
    return {cleaned(name): cleaned(shaped(value, str)) for name, value in shaped(row, dict[str, Any], "metric").items()}


def from_json(text: str) -> object:
    """A JSON document.

    Raises:
        ValueError: if it is none, or nested too deeply to read.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("its answer is nested too deeply") from None
    except ValueError:
        raise ValueError("its answer is not JSON") from None


def _error(body: str) -> str:
    """The API's own message of an error; "" if it is not the API that answers."""
    try:
        return shaped(from_json(body), str, "error")
    except ValueError:
        return ""


def duration(text: str) -> float:
    """Seconds of a PromQL duration such as `5m` or `1h30m`.

    Raises:
        ValueError: if it is not one, or zero.
    """
    if not re.fullmatch(rf"({_DURATION.pattern})+", text, re.ASCII):
        raise ValueError(f"{cleaned(text, 40)!r} is not a duration like 5m or 1h30m")
    seconds = sum(int(number) * _SECONDS[unit] for number, unit in _DURATION.findall(text))
    if not 0 < seconds < 100 * _SECONDS["y"]:
        raise ValueError("a window must be longer than zero and shorter than 100 years")
    return seconds
