"""Programs and stacks of other tests are imported from where they stand."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
for folder in ("dashboards", "tests/pipeline", "tests/dashboards", "examples/leads_api"):
    sys.path.append(str(ROOT / folder))

from programs import built  # noqa: E402 (found there)


@pytest.fixture(scope="session")
def otelcol() -> Path:
    """Our collector, built where it is not yet."""
    return built("small")
