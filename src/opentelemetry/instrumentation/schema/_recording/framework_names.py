"""What a web framework knows of a schema that its validator's library does not.

Integrations do not import each other: the framework's puts a name on a validator, the validator's own library reads
it when it binds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from .probe import Probe


class FrameworkName(NamedTuple):
    """A validator that a framework uses for requests or responses.

    Attributes:
        name: `schema.name`, such as `query.limit`; None where the type's own name is what a person looks for.
        parameter: Whether it validates a parameter of requests, and neither their body nor a response.
    """

    name: str | None
    parameter: bool = False


def set_name(validator: object, name: FrameworkName) -> None:
    """Name a validator, if it is one of ours: others are not observed, so need no name."""
    if hasattr(type(validator), "_otel_framework_name"):  # of the object's own attributes some build what they hold
        validator._otel_framework_name = name  # type: ignore[attr-defined]  # a duck: the slot is what makes it ours


def probe_of(validator: object) -> Probe | None:
    """The probe of a validator that is ours and is observed, else None."""
    bind: Any = getattr(type(validator), "_otel_bound", None)
    return None if bind is None else bind(validator)
