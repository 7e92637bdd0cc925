"""Partner webhooks: each partner sends its own shape, described by its own JSON Schema."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft202012Validator

from leads_api.models import Lead
from leads_api.payload import InvalidPayload

EMAIL = {"type": "string", "pattern": r"^[^@\s]+@[^@\s]+$", "maxLength": 254}
NAME = {"type": "string", "minLength": 1, "maxLength": 100}
BUDGET = {"type": "integer", "minimum": 0}

ACME = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "AcmeLead",
    "type": "object",
    "required": ["contact"],
    "properties": {
        "contact": {"type": "object", "required": ["name", "email"], "properties": {"name": NAME, "email": EMAIL}},
        "budget": BUDGET,
    },
}

GLOBEX = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "GlobexReferrals",
    "type": "object",
    "required": ["referrals"],
    "properties": {
        "referrals": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["fullName", "mail"],
                "properties": {"fullName": NAME, "mail": EMAIL, "budget": BUDGET},
            },
        },
    },
}


@dataclass(frozen=True)
class Partner:
    """How one partner's payload is checked and read. Its validator is built once, here."""

    validator: Draft202012Validator
    leads: Callable[[Any], list[Lead]]

    def read(self, payload: Any) -> list[Lead]:
        """The leads in a webhook's payload.

        Raises:
            InvalidPayload: if the payload breaks the partner's schema.
        """
        errors = [{"path": list(error.path), "message": error.message} for error in self.validator.iter_errors(payload)]
        if errors:
            raise InvalidPayload(errors)
        return self.leads(payload)


def _acme(payload: Any) -> list[Lead]:
    return [Lead(source="acme", budget=payload.get("budget", 0), **payload["contact"])]


def _globex(payload: Any) -> list[Lead]:
    return [
        Lead(source="globex", name=one["fullName"], email=one["mail"], budget=one.get("budget", 0))
        for one in payload["referrals"]
    ]


PARTNERS = {
    "acme": Partner(Draft202012Validator(ACME), _acme),
    "globex": Partner(Draft202012Validator(GLOBEX), _globex),
}
