"""Where a reading comes from: a /metrics endpoint, or a Prometheus."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, Final, Protocol
from urllib.error import HTTPError
from urllib.parse import urlencode, urlsplit
from urllib.request import Request, urlopen

from ..semconv import INSTRUMENTS
from .reading import Reading, Sample, label_names, parse, sample_name

_TIMEOUT: Final = 10.0
_DURATION: Final = re.compile(r"(\d+)(ms|s|m|h|d|w)")
_SECONDS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


class SourceError(Exception):
    """A source that cannot be read; the message is one line and says what to do."""


class Source(Protocol):
    """Something that can be read again and again."""

    @property
    def name(self) -> str:
        """What it is and where, for a title."""
        ...

    def read(self) -> Reading:
        """Reads it now.

        Raises:
            SourceError: if it does not answer, or not as it should.
        """
        ...


@dataclass(frozen=True)
class Scrape:
    """The metrics endpoint of one process, or of a collector."""

    url: str

    @property
    def name(self) -> str:
        return f"endpoint {self.url}"

    def read(self) -> Reading:
        content_type, body = _get(self.url)
        try:
            return Reading.of(parse(body, content_type))
        except ValueError as error:
            raise SourceError(
                f"{self.url} answers {content_type or 'something'} that is not the Prometheus text format: "
                "give the URL of a /metrics endpoint or of a Prometheus"
            ) from error


@dataclass(frozen=True)
class Prometheus:
    """A Prometheus, or whatever answers its query API; sums over every job and instance.

    Attributes:
        url: Its base URL, without /api/v1.
        window: PromQL duration of `increase()`; None reads the counters as they stand.
    """

    url: str
    window: str | None = None

    @property
    def name(self) -> str:
        return f"Prometheus {self.url}"

    def read(self) -> Reading:
        return Reading.of(self._samples(), duration(self.window) if self.window else None)

    def _samples(self) -> Iterator[Sample]:
        for instrument in INSTRUMENTS:
            name = sample_name(instrument)
            expression = f"increase({name}[{self.window}])" if self.window else name
            for labels, value in self.query(f"sum by ({', '.join(label_names(instrument))}) ({expression})"):
                yield name, labels, value

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Evaluates an instant query now; labels and value of each series, a scalar as one without labels.

        Raises:
            SourceError: if Prometheus does not answer, or refuses the expression.
        """
        answer = self.api("query", query=expression)
        if answer["resultType"] == "scalar":
            return [({}, float(answer["result"][1]))]
        return [(series["metric"], float(series["value"][1])) for series in answer["result"]]

    def api(self, path: str, **parameters: str | float) -> Any:
        """`data` of what the HTTP API answers below /api/v1.

        Raises:
            SourceError: if Prometheus does not answer, or refuses.
        """
        _, body = _get(f"{self.url}/api/v1/{path}?{urlencode(parameters)}", {"Accept": "application/json"})
        try:
            return json.loads(body)["data"]
        except (ValueError, KeyError, TypeError):
            raise SourceError(
                f"{self.url} does not answer as a Prometheus: give its base URL, as http://host:9090"
            ) from None


def duration(text: str) -> float:
    """Seconds of a PromQL duration such as `5m` or `1h30m`.

    Raises:
        ValueError: if it is not one, or zero.
    """
    if not re.fullmatch(rf"({_DURATION.pattern})+", text):
        raise ValueError(f"{text!r} is not a duration like 5m or 1h30m")
    seconds = sum(int(number) * _SECONDS[unit] for number, unit in _DURATION.findall(text))
    if not seconds:
        raise ValueError("a window must be longer than zero")
    return seconds


def open_source(url: str, window: str | None = None) -> Source:
    """Finds out what answers at a URL.

    A URL that ends in /metrics is scraped. Otherwise a query API below it makes it a Prometheus, and what is left is
    scraped as it stands: the Python exporter serves its metrics at every path.

    Args:
        url: With or without `http://`.
        window: PromQL duration, for a Prometheus only.

    Raises:
        SourceError: if the URL is not one, nobody answers, or a window is asked of an endpoint.
    """
    url = (url if "://" in url else f"http://{url}").rstrip("/")
    if not _is_http(url):
        raise SourceError(f"{url} is not an http:// or https:// URL with a host and a port from 1 to 65535")
    if not urlsplit(url).path.endswith("/metrics") and _is_prometheus(url):
        return Prometheus(url, window)
    if window:
        raise SourceError(f"{url} is one process's endpoint, which knows no past: use --watch there, or a Prometheus")
    return Scrape(url)


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _is_prometheus(url: str) -> bool:
    try:
        _, body = _get(f"{url}/api/v1/query?query=1", {"Accept": "application/json"})
    except SourceError as error:
        if isinstance(error.__cause__, HTTPError):
            return False
        raise
    return _prometheus_answer(body) is not None


def _prometheus_answer(body: str) -> dict[str, Any] | None:
    """`data` of an answer of the query API; None if it is not one."""
    try:
        answer = json.loads(body)
    except ValueError:
        return None
    if not isinstance(answer, dict) or not isinstance(data := answer.get("data"), dict) or "resultType" not in data:  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        return None
    return data  # pyright: ignore[reportUnknownVariableType]


def _get(url: str, headers: dict[str, str] | None = None) -> tuple[str, str]:
    """Content type and text of a URL."""
    try:
        with urlopen(Request(url, headers=headers or {}), timeout=_TIMEOUT) as answer:  # noqa: S310 (scheme checked)
            return answer.headers.get("Content-Type", ""), answer.read().decode("utf-8", "replace")
    except HTTPError as error:
        with error:
            raise SourceError(
                f"{url} answers {error.code} {error.reason}: check the path, and what listens there"
            ) from error
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise SourceError(
            f"cannot read {url} ({reason}): check that the app or the Prometheus is up, its host and its port"
        ) from error
