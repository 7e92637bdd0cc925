"""What a request is for: an endpoint of a web framework, or the name of an `endpoint()` block."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from .. import semconv
from ..text import clean
from .app_names import check_name


class Endpoint(NamedTuple):
    """What a request is for.

    Attributes:
        key: Names it in dictionaries of cells; str, because str-only dictionaries have the faster look-up. Empty
            outside a request.
        attributes: Those of `semconv.ENDPOINT`, as on metrics and spans.
    """

    key: str
    attributes: dict[str, str]


NO_ENDPOINT = Endpoint("", {})
"""The endpoint of code outside requests: it counts in neither `api.requests` nor `validation.errors`."""


def web_endpoint(method: str, route: str | None = None) -> Endpoint:
    """The endpoint of a web request: the method, and the route template once a route matched."""
    return _web_endpoint(semconv.http_method(method), route)


@lru_cache(maxsize=4096)  # keys come from the app's table of routes, never from a request
def _web_endpoint(method: str, route: str | None) -> Endpoint:
    attributes = {semconv.HTTP_REQUEST_METHOD: method}
    if route is not None:
        attributes[semconv.HTTP_ROUTE] = clean(route)
    return _endpoint(attributes)


def block_endpoint(name: str) -> Endpoint:
    """The endpoint of an `endpoint(name)` block.

    Raises:
        TypeError: If the name is no str.
        ValueError: If it is empty or longer than 100 characters.
    """
    return _endpoint({semconv.SCHEMA_ENDPOINT: check_name("an endpoint's name", name)})


def _endpoint(attributes: dict[str, str]) -> Endpoint:
    return Endpoint("\0".join(f"{name}={value}" for name, value in attributes.items()), attributes)
