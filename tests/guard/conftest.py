"""What the guard's tests on real parts need."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipeline.programs import built


@pytest.fixture(scope="session")
def otelcol() -> Path:
    """Our collector, built where it is not yet."""
    return built("small")
