"""Bodies that FastAPI does not validate for us."""

from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse


class InvalidPayload(Exception):
    """The body breaks its schema: answered with 422.

    Attributes:
        errors: what is wrong, as JSON-able data.
    """

    def __init__(self, errors: Any) -> None:
        super().__init__(errors)
        self.errors = errors


async def json_body(request: Request) -> Any:
    """A dependency: the parsed body.

    Raises:
        InvalidPayload: if the body is not JSON.
    """
    try:
        return await request.json()
    except ValueError as error:
        raise InvalidPayload("not JSON") from error


async def refuse(_request: Request, error: InvalidPayload) -> JSONResponse:
    return JSONResponse({"detail": error.errors}, status_code=422)
