"""Bulk imports, validated with marshmallow."""

from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from leads_api.models import Lead
from leads_api.payload import InvalidPayload


class ImportRow(Schema):
    name = fields.String(required=True, validate=validate.Length(min=1, max=100))
    email = fields.String(required=True, validate=validate.Length(max=254))
    budget = fields.Integer(load_default=0)


class BulkImport(Schema):
    batch = fields.String(required=True)
    rows = fields.Nested(ImportRow, many=True, required=True)


BULK_IMPORT = BulkImport()


def read_import(payload: Any) -> list[Lead]:
    """The leads in an import.

    Raises:
        InvalidPayload: if the payload breaks the schema.
    """
    try:
        batch = BULK_IMPORT.load(payload)
    except ValidationError as error:
        raise InvalidPayload(error.messages) from error
    return [Lead(source="import", **row) for row in batch["rows"]]
