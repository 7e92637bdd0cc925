"""What a web framework knows of a schema that its validator's library does not.

Integrations do not import each other: the framework's integration stores a name on a validator, and the integration of
the validator's library reads it when it binds the validator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from .probe import Probe


class FrameworkName(NamedTuple):
    """A validator that a framework uses for requests or responses.

    Attributes:
        name: `schema.name`, such as `query.limit`; None if the type's own name is better.
        parameter: Whether it validates a parameter of requests, not their body or a response.
    """

    name: str | None
    parameter: bool = False


def set_name(validator: object, name: FrameworkName) -> None:
    """Name a validator, if we patched it. Others are not observed, and need no name."""
    # of the class: on some objects the look-up of an attribute builds what they hold
    if hasattr(type(validator), "_otel_framework_name"):
        validator._otel_framework_name = name  # type: ignore[attr-defined]  # any class with this slot


def probe_of(validator: object) -> Probe | None:
    """Return the probe of a validator; None if it is not observed."""
    bind: Any = getattr(type(validator), "_otel_bound", None)
    return None if bind is None else bind(validator)
