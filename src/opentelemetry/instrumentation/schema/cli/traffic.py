"""How much traffic a breaking change affects, from a Prometheus."""

from __future__ import annotations

import re
from typing import NamedTuple

from .. import semconv
from .._prometheus.http import Access, masked
from .._prometheus.selector import Selector
from .._prometheus.server import Prometheus, duration
from .._prometheus.sources import open_source
from .._schemas.findings import Comparison
from .output import UsageError

_MOST = 5
"""Endpoints to list for one finding."""

_Endpoint = tuple[str, str, str]


class _Row(NamedTuple):
    """How often one schema was validated at one endpoint."""

    name: str
    module: str
    endpoint: _Endpoint
    validations: float


def remarks(
    comparison: Comparison, url: str, since: str, access: Access, selector: Selector
) -> dict[str, tuple[str, ...]]:
    """Lines about traffic for each breaking finding, by its fingerprint.

    A schema that is part of others has no validations of its own, so the validations of the others count. If Prometheus
    knows nothing of a schema, the line says so.

    Args:
        comparison: The comparison with its findings.
        url: The URL of a Prometheus.
        since: A PromQL duration.
        access: How to talk to it.
        selector: Which series count.

    Raises:
        UsageError: if the duration is none.
        SourceError: if the Prometheus does not answer.
    """
    try:
        duration(since)
    except ValueError as error:
        raise UsageError(f"--since: {error}") from error
    source = open_source(url, None, access, selector)
    if not isinstance(source, Prometheus):
        raise UsageError(
            f"{masked(url)} is the endpoint of one process, which has no history: give the URL of a Prometheus"
        )
    rows, requests = _validations(source, since), _requests(source, since)
    found: dict[str, tuple[str, ...]] = {}
    for finding in comparison.findings:
        if finding.level in ("breaking", "unknown"):
            holders = {ref for ref, below in comparison.below.items() if finding.schema in below} | {finding.schema}
            mine = [row for row in rows if any(_is(row, ref) for ref in holders)]
            found[finding.fingerprint] = tuple(_lines(mine, requests, finding.schema, since))
    return found


def _is(row: _Row, ref: str) -> bool:
    """Whether validations are of a schema, or of a list or another type made of it."""
    module, _, name = ref.rpartition(":")
    if row.name == name:
        return row.module == module
    return "[" in row.name and re.search(rf"\[(.*\W)?{re.escape(name)}\b", row.name) is not None


def _lines(rows: list[_Row], requests: dict[_Endpoint, float], ref: str, since: str) -> list[str]:
    counts: dict[_Endpoint, float] = {}
    for row in rows:
        counts[row.endpoint] = counts.get(row.endpoint, 0) + row.validations
    if not counts:
        name = ref.rpartition(":")[2]
        return [f"traffic unknown: Prometheus has no validation of {name} in the last {since}"]
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    lines = [_line(endpoint, count, requests.get(endpoint), since) for endpoint, count in ordered[:_MOST]]
    more = len(ordered) - _MOST
    return [*lines, f"and {more} more endpoint{'' if more == 1 else 's'}"] if more > 0 else lines


def _line(endpoint: _Endpoint, validations: float, requests: float | None, since: str) -> str:
    method, route, block = endpoint
    where = " ".join(filter(None, (method, route, block))) or "outside requests"
    counts = [_counted(validations, "validation")]
    if where != "outside requests":
        counts.insert(0, "unknown number of requests" if requests is None else _counted(requests, "request"))
    return f"{where}: {', '.join(counts)} in the last {since}"


def _counted(number: float, name: str) -> str:
    text = f"{number:,.0f}"
    return f"{text} {name}{'' if text == '1' else 's'}"


_LABELS = tuple(name.replace(".", "_") for name in semconv.ENDPOINT)


def _validations(source: Prometheus, since: str) -> list[_Row]:
    by = ", ".join(("schema_name", "schema_module", *_LABELS))
    counted = f"{semconv.VALIDATION_DURATION.prometheus}_count"
    return [
        _Row(labels.get("schema_name", ""), labels.get("schema_module", ""), _endpoint(labels), value)
        for labels, value in source.query(f"sum by ({by}) (increase({source.selector.of(counted)}[{since}]))")
    ]


def _requests(source: Prometheus, since: str) -> dict[_Endpoint, float]:
    by = ", ".join(_LABELS)
    expression = f"sum by ({by}) (increase({source.selector.of(semconv.API_REQUESTS.prometheus)}[{since}]))"
    return {_endpoint(labels): value for labels, value in source.query(expression)}


def _endpoint(labels: dict[str, str]) -> _Endpoint:
    method, route, block = (labels.get(name, "") for name in _LABELS)
    return method, route, block
