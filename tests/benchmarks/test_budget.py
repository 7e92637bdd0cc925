"""What we may cost."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.version import __version__ as sdk_version

import bench

BUDGET = 1 / 10  # of one `Histogram.record`
ATTEMPTS = 5  # the machine is shared: noise only ever adds


@pytest.mark.skipif(tuple(map(int, sdk_version.split(".")[:2])) < (1, 45), reason="there a record costs a third")
def test_a_validation_costs_a_tenth_of_an_sdk_record_at_most() -> None:
    """For every operation, what we add to plain Pydantic is at most a tenth of one SDK measurement."""
    best: dict[str, bench.Row] = {}
    for _ in range(ATTEMPTS):
        for row in bench.measure(rounds=9, calls=1_000):
            if row.operation not in best or row.ratio < best[row.operation].ratio:
                best[row.operation] = row
        if all(row.ratio <= BUDGET for row in best.values()):
            break
    print("\n" + bench.table(list(best.values())))
    over = {row.operation: round(row.ratio, 3) for row in best.values() if row.ratio > BUDGET}
    assert not over
