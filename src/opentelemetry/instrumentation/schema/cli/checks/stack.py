"""Checks the rest of the stack through a Prometheus: retention, clock, collectors, Alertmanagers."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any, Final

from ..._prometheus.http import DEFAULT, SourceError, get
from ..._prometheus.server import Prometheus, duration, from_json, shaped
from ..._prometheus.text import cleaned
from .check import Check

SHORTEST_RETENTION: Final = 7200.0
"""Seconds that the guard of a migration looks back, and that people need after an alert."""

SKEW: Final = 5.0
"""Seconds between two clocks above which a command's "now" misses samples in windows of a minute."""

GUARDED: Final = 1.0
"""Requests per second with which the guard finds a rise from 1 % to 4 % in most of its watches."""

_GROUP_BY: Final = re.compile(r"^ *group_by:\n((?: *- \S+\n)+)", re.MULTILINE)
_OLD_NAMES: Final = {
    "exporter": {"otlp": "otlp_grpc", "otlphttp": "otlp_http", "logging": "debug"},
    "connector": {"spanmetrics": "span_metrics"},
}


def retention(server: Prometheus) -> Iterator[Check]:
    """Whether it keeps samples long enough to compare with before."""
    told = str(shaped(server.api("status/runtimeinfo"), dict[str, Any]).get("storageRetention", ""))
    kept = told.partition(" or ")[0]
    if re.search(r"\d", kept) and duration(kept) < SHORTEST_RETENTION:
        message = (
            f"{server.name} keeps samples for {kept}, but the guard compares with the two hours before a migration. "
            "Set --storage.tsdb.retention.time=15d"
        )
        yield Check("retention", "finding", message)


def clock(server: Prometheus) -> Iterator[Check]:
    """Whether the clocks of Prometheus and of this machine agree."""
    began = time.time()
    ((_, there),) = server.query("time()")
    ended = time.time()
    away = max(began - there, there - ended)
    if away > SKEW:
        message = (
            f"the clock of {server.name} is {away:.0f} s away from the clock of this machine: synchronise both with NTP"
        )
        yield Check("clock", "finding", message)


def collectors(server: Prometheus) -> Iterator[Check]:
    """Whether a collector's config has names of components that newer releases no longer know."""
    for kind, names in _OLD_NAMES.items():
        either = "|".join(names)
        query = f'count by ({kind}) ({{__name__=~"otelcol_{kind}_.+", {kind}=~"({either})(/.*)?"}})'
        for series, _ in server.query(query):
            old = series.get(kind, "").partition("/")[0]
            message = (
                f"{server.name}: a collector's config says {kind} {cleaned(series.get(kind, ''), 100)}; newer releases "
                f"say {names.get(old, '')} and do not know the old name: rename it"
            )
            yield Check("collector", "note", message)


def traffic(server: Prometheus) -> Iterator[Check]:
    """Whether there are enough requests for the guard of a migration to judge."""
    rows = server.query(f"sum(rate({server.selector.of('api_requests_total')}[10m]))")
    if rows and 0 < rows[0][1] < GUARDED:
        message = (
            f"{server.name}: {rows[0][1]:.2g} requests a second. The guard of a migration finds a rise of errors from "
            f"1 % to 4 % within ten minutes from {GUARDED:g} a second on; here it finds only larger ones"
        )
        yield Check("traffic", "note", message)


def progress(server: Prometheus) -> Iterator[Check]:
    """Whether each Alertmanager of this Prometheus has a route for the progress of an incident, phase by phase."""
    for row in shaped(server.api("alertmanagers"), list[Any], "activeAlertmanagers"):
        url = cleaned(shaped(row, str, "url"), 200).partition("/api/")[0]
        try:
            # Prometheus names this address, not the user: send no credentials
            answer = get(url, DEFAULT, below="/api/v2/status", accept="application/json")
            config = shaped(from_json(answer.text), str, "config", "original")
        except (SourceError, ValueError):
            yield Check("progress", "note", f"the Alertmanager {url} does not show its routes to this machine")
            continue
        grouped = _grouped(config)
        fix = "take the route from `otel-schema export DIRECTORY`"
        if grouped is None:
            message = (
                f'the Alertmanager {url} has no route for notification="progress", so nobody is notified of a '
                f"rollback: {fix}"
            )
            yield Check("progress", "finding", message)
        elif not {"incident_id", "phase"} <= grouped:
            message = (
                f"the Alertmanager {url} does not group the progress of an incident by incident_id and phase, so "
                f"phases arrive in one message and out of order: {fix}"
            )
            yield Check("progress", "finding", message)
        else:
            yield Check("progress", "fine", f"the Alertmanager {url} has the route for the progress of an incident")


def _grouped(config: str) -> set[str] | None:
    """What the progress route groups by; None where there is no such route.

    Alertmanager writes the config that it read anew, in one shape: each route below the first begins with its receiver.
    """
    routes = re.split(r"^ *- receiver: ", config.partition("\ninhibit_rules:")[0], flags=re.MULTILINE)
    for route in routes[1:]:
        if re.search(r"- notification=~?[\"']?progress|^ *notification: progress$", route, re.MULTILINE):
            found = _GROUP_BY.search(route) or _GROUP_BY.search(routes[0])
            return set(re.findall(r"- (\S+)", found[1])) if found else set()
    return None
