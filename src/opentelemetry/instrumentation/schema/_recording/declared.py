"""Which schema a view declares as its body, where a decorator of another library says so.

Integrations do not import each other: the decorator's library declares here, the web framework asks once a route
matched.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .identity import WeakIdMap

if TYPE_CHECKING:
    from .schema_cells import SchemaCells

_bodies: WeakIdMap[Callable[[], SchemaCells | None]] = WeakIdMap()


def declare(view: Any, body: Callable[[], SchemaCells | None]) -> None:
    """A view's body is the schema whose cells `body` gives."""
    _bodies.setdefault(view, body)


def body_of(view: Any) -> SchemaCells | None:
    """The cells of the schema that a view or a decorator around it declares; None where none does."""
    while view is not None:
        body = _bodies.values.get(id(view))
        if body is not None:
            return body()
        view = getattr(view, "__wrapped__", None)
    return None
