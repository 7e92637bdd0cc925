"""What holds for every library in every kind of request: each claim is written once and run for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.contract import IN_REQUEST, LIBRARIES, VALID, Validator, outcome

every_library = pytest.mark.parametrize("make", LIBRARIES.values(), ids=LIBRARIES)
every_kind = pytest.mark.parametrize("inside", IN_REQUEST, ids=lambda inside: inside.__name__)


@every_library
@every_kind
def test_errors_count_inside_a_request(
    make: Callable[[], Validator], watch: Any, inside: Callable[[Callable[[], object]], dict[str, str]]
) -> None:
    """In a request a failure counts in `validation.errors` under its endpoint, outside only in the histogram."""
    telemetry, lead = watch(), make()
    outcome(lead, {"email": 1})
    assert telemetry.points("validation.errors") == []
    found = inside(lambda: [outcome(lead, {"email": 1}), outcome(lead, VALID)])
    expected = {**found, "error.type": "ValidationError", "schema.name": "Lead"}
    errors = [(point, value) for point, value in telemetry.points("validation.errors") if value]
    assert [value for _, value in errors] == [1]
    assert expected.items() <= errors[0][0].items()
    assert [(point, value) for point, value in telemetry.points("api.requests") if value] == [(found, 1)]
    assert telemetry.validations(schema_name="Lead") == {"invalid": 2, "valid": 1}


@every_library
@every_kind
def test_the_errors_of_an_endpoint_start_at_zero(
    make: Callable[[], Validator], watch: Any, inside: Callable[[Callable[[], object]], dict[str, str]]
) -> None:
    """A schema that never failed in an endpoint reads 0 there."""
    telemetry, lead = watch(), make()
    found = inside(lambda: lead.validate(VALID))
    (errors,) = [(a, value) for a, value in telemetry.points("validation.errors") if a["schema.name"] == "Lead"]
    assert errors[1] == 0
    assert {**found, "error.type": "ValidationError"}.items() <= errors[0].items()
