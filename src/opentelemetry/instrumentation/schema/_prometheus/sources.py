"""Where a reading comes from: a /metrics endpoint, or a Prometheus."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlsplit

from .exposition import parse
from .http import DEFAULT, Access, SourceError, StatusError, check, get, masked
from .reading import Reading
from .selector import EVERYTHING, Selector
from .server import Prometheus, from_json, shaped


class Source(Protocol):
    """A source that can be read again and again."""

    @property
    def name(self) -> str:
        """What it is and where, for a title."""
        ...

    def read(self) -> Reading:
        """Read the instruments now.

        Raises:
            SourceError: if it does not answer, or not as it should.
        """
        ...


@dataclass(frozen=True)
class Scrape:
    """The metrics endpoint of one process, or of a collector.

    Attributes:
        url: May hold credentials.
        access: How to talk to it.
        selector: Which of its samples to read, by the labels that the endpoint itself gives them.
    """

    url: str = field(repr=False)
    access: Access = DEFAULT
    selector: Selector = EVERYTHING

    @property
    def name(self) -> str:
        return f"endpoint {masked(self.url)}"

    def read(self) -> Reading:
        answer = get(self.url, self.access)
        try:
            return Reading.of(sample for sample in parse(answer.text) if self.selector.matches(sample[1]))
        except ValueError as error:
            raise SourceError(
                f"{masked(self.url)} answers {answer.content_type or 'something'} that is not the Prometheus text "
                f"format of an app ({error}): give the URL of a /metrics endpoint or of a Prometheus"
            ) from error


def open_source(
    url: str, window: str | None = None, access: Access = DEFAULT, selector: Selector = EVERYTHING
) -> Source:
    """Find out what answers at a URL.

    A URL that ends in /metrics is scraped. If another URL has the query API below it, it is a Prometheus. All others
    are scraped as they are: the Python exporter serves its metrics at every path.

    Args:
        url: With or without `http://`, and with or without `user:password@`.
        window: PromQL duration, for a Prometheus only.
        access: How to talk to the server.
        selector: Which series to read.

    Raises:
        SourceError: if it is no URL, if nobody answers, or if there is a window for an endpoint.
    """
    url = url if "://" in url else f"http://{url}"
    url = url if "?" in url else url.rstrip("/")
    check(url)
    if not urlsplit(url).path.endswith("/metrics") and _is_prometheus(url, access):
        return Prometheus(url, window, access, selector)
    if window:
        shown = masked(url)
        raise SourceError(
            f"{shown} is the endpoint of one process, which has no history: use --watch instead of --window, or give "
            "the URL of a Prometheus"
        )
    return Scrape(url, access, selector)


def _is_prometheus(url: str, access: Access) -> bool:
    try:
        answer = get(url, access, {"query": "1"}, "/api/v1/query", "application/json")
    except StatusError as error:
        if error.status in (401, 403):
            raise
        return False
    try:
        shaped(from_json(answer.text), str, "data", "resultType")
    except ValueError:
        return False
    return True
