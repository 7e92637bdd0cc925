"""docs/limits.md says what the code does."""

from __future__ import annotations

from pathlib import Path

import pytest
from opentelemetry.instrumentation.schema import faults, text
from opentelemetry.instrumentation.schema._recording import app_names, cells, problems, request, spans, unread_schemas
from opentelemetry.instrumentation.schema.integrations.jsonschema import _problems
from opentelemetry.instrumentation.schema.integrations.marshmallow import install as marshmallow
from opentelemetry.instrumentation.schema.integrations.sqlalchemy import install as sqlalchemy

PAGE = (Path(__file__).parents[2] / "docs" / "limits.md").read_text()


@pytest.mark.parametrize(
    ("row", "limit"),
    [
        ("a text attribute", text.MAX_TEXT),
        ("a path or rule given to `problem()`", app_names.MAX_NAME),
        ("names in a problem's path", problems.MAX_DEPTH),
        ("a URL that", request.MAX_URL),
        ("a statement in which", sqlalchemy._MAX_COMMENT),
        ("a text in marshmallow's", marshmallow._MAX_MESSAGE),
        ("values that wait in a cell", cells.BUFFER_SIZE),
        ("exemplars that wait in a cell", cells.MAX_EXEMPLARS),
        ("problems of a failure", problems.MAX_PROBLEMS),
        ("problems named on a span", spans.MAX_PROBLEMS),
        ("problems that a validator remembers", problems.Templates.MAX_KNOWN),
        ("parts of a JSON Schema", _problems._MAX_NODES),
        ("spans of failed validations", spans.MAX_FAILED_PER_SECOND),
        ("JSON Schemas kept", unread_schemas.MAX_DATA),
        ("kinds of internal error", faults.MAX_KINDS),
    ],
)
def test_the_page_names_each_bound(row: str, limit: int) -> None:
    """Each bound of the code stands in its row of the page."""
    (line,) = [line for line in PAGE.splitlines() if line.startswith("|") and row in line]
    assert f"{limit:,}" in line.split("|")[2]
