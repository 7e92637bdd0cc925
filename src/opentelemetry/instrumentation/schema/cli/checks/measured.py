"""Checks which series of ours an endpoint or a Prometheus has."""

from __future__ import annotations

from collections.abc import Iterator

from ... import semconv
from ..._prometheus.reading import Reading
from ..._prometheus.report import SLOW, Report
from .check import Check


def checks(reading: Reading, where: str) -> Iterator[Check]:
    """Whether there are series, with the bucket that the alert needs, and whether the app lost nothing."""
    if reading.empty:
        message = f"{where} has no telemetry of schema validation: send the app a request, then run `otel-schema top`"
        yield Check("telemetry", "unknown", message)
        return
    yield Check("telemetry", "fine", f"{where} has telemetry of schema validation")
    bounds = {bound for counts in reading.series[semconv.VALIDATION_DURATION.name].values() for bound in counts}
    if bounds and SLOW not in bounds:
        message = (
            f"{where}: {SLOW:g} s is not a bucket boundary of {semconv.VALIDATION_DURATION.name}, so p95 cannot "
            "be compared with 10 ms. A view or the SDK's default buckets replaced ours: remove it"
        )
        yield Check("buckets", "finding", message)
    elif bounds:
        yield Check("buckets", "fine", f"{where} has a bucket boundary at {SLOW:g} s")
    for row in Report.of(reading).health:
        yield Check("lost", "finding", f"{where}: {row.what} ({row.where}): {row.count:g}")
    if left_out := Report.of(reading).left_out:
        named = ", ".join(f"{row.distribution} ({row.schemas:g})" for row in left_out[:5])
        message = (
            f"{where}: schemas of third-party distributions are not observed: {named}. If the app is among them, "
            "OTEL_PYTHON_SCHEMA_INCLUDE lets it in"
        )
        yield Check("left out", "note", message)
