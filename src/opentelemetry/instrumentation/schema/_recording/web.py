"""Requests of web frameworks: where one begins and ends, however many handlers and applications see it.

A request is an object: an ASGI scope, a WSGI environ, a Django request. A mounted application, or a handler that a
middleware calls, gets the same object, and so is part of the same request. Another object is another request (a test
client in a view). A copy is the same request until the route's handler runs, since a middleware may have made it;
after that it is another request (a batch endpoint).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, MutableMapping
from contextvars import Token
from functools import lru_cache
from typing import Any

from .. import faults
from .endpoints import NO_ENDPOINT, web_endpoint
from .recorder import Recorder
from .request import ExcludedUrls, Request, current_request, enter, leave

KEY = "opentelemetry.instrumentation.schema"
"""The key of the `Mark` in a scope or environ."""


class Mark:
    """What a scope, environ or Django request carries.

    Attributes:
        request: Its holder.
        seen: `id` of each object that stands for it. An object outlives its mark.
        wrapped: Whether a framework has made an object of its own of the scope or environ; only one may be made.
        prefix: The templates of the mounts so far.
        route: The route that was entered last.
        streams: Whether the body is made after the handler has returned.
    """

    __slots__ = ("prefix", "request", "route", "seen", "streams", "wrapped")

    def __init__(self, request: Request, *carriers: object) -> None:
        self.request, self.seen = request, {id(carrier) for carrier in carriers}
        self.prefix, self.route = "", None
        self.streams = self.wrapped = False

    def joins(self, carrier: object) -> bool:
        """Whether an object that holds this mark, perhaps as a copy of another, is part of this request."""
        if id(carrier) not in self.seen:
            if self.request.handled or self.request.ended:
                return False
            self.seen.add(id(carrier))
        return not self.request.ended

    def __reduce__(self) -> Any:  # a scope is pickled without it
        return type(None), ()

    def __deepcopy__(self, _memo: Any) -> Mark:
        return self


_excluded = lru_cache(maxsize=16)(ExcludedUrls)  # one warning, however many frameworks share it


class Requests:
    """The requests of one framework. Nothing here raises into the application.

    Args:
        recorder: Counts them.
        component: The framework, in `schema.telemetry.component`.
    """

    def __init__(self, recorder: Recorder, component: str) -> None:
        self._recorder, self._component = recorder, component
        self._excluded = recorder.settings.excluded_urls

    def open(
        self,
        carrier: MutableMapping[str, Any],
        method: str,
        url: Callable[[], str],
        made_of: MutableMapping[str, Any] | None = None,
        framework: str | None = None,
    ) -> Request | None:
        """Open a request and return its holder; None if it is open already.

        Args:
            carrier: The object that it is, or the attributes of that.
            method: Its HTTP method.
            url: Function that returns the whole URL, which may be excluded.
            made_of: The environ or scope that a framework's own object was made of.
            framework: The framework whose excluded URLs apply; None for this component's.
        """
        try:
            mark: Mark | None = carrier.get(KEY)
            if mark is not None and mark.joins(carrier):
                return None
            mark = None if made_of is None else made_of.get(KEY)
            current = current_request.get()
            opened = None
            if mark is not None and not mark.wrapped and mark.joins(made_of):
                mark.seen.add(id(carrier))
            elif current.mount is not None and not current.handled:  # behind a bridge from ASGI to WSGI
                mark = Mark(current, carrier, made_of)
            else:
                excluded = _excluded(self._excluded[framework or self._component])
                opened = Request(NO_ENDPOINT if excluded and url() in excluded else web_endpoint(method))
                mark = Mark(opened, carrier, made_of)
            carrier[KEY] = mark
            if made_of is not None:
                mark.wrapped = True
                if not isinstance(made_of.get(KEY), Mark) or made_of[KEY].request.ended:
                    made_of[KEY] = mark
            return opened
        except Exception as error:
            faults.swallow(self._component, error)
            return None

    def close(self, request: Request, token: Token[Request] | None = None) -> None:
        """End a request that was served or whose body was sent: count it, once, and restore the context."""
        try:
            request.leave_handler()
            endpoint = request.end()
            if endpoint.key and not self._recorder.closed:
                self._recorder.count_request(endpoint)
        except Exception as error:
            faults.swallow(self._component, error)
        finally:
            if token is not None:
                leave(token)


class Body(Iterator[Any]):
    """A body that is sent after its handler returned. It is part of its request, and ends it.

    Other threads than the handler's may iterate and close it. Not every server closes it.
    """

    def __init__(self, body: Any, request: Request, requests: Requests) -> None:
        self._body, self._request, self._requests = body, request, requests
        self._iterator: Any = None

    def __iter__(self) -> Body:
        self._iterator = iter(self._body)
        return self

    def __next__(self) -> Any:
        token = enter(self._request)
        try:
            return next(self._iterator)
        except BaseException:
            self._requests.close(self._request)
            raise
        finally:
            leave(token)

    def close(self) -> None:
        """Close the body, and end the request."""
        token = enter(self._request)
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            self._requests.close(self._request, token)

    def __del__(self) -> None:
        self._requests.close(self._request)


class AsyncBody(AsyncIterator[Any]):
    """The same for a body that is iterated asynchronously."""

    def __init__(self, body: Any, request: Request, requests: Requests) -> None:
        self._body, self._request, self._requests = body, request, requests
        self._iterator: Any = None

    def __aiter__(self) -> AsyncBody:
        self._iterator = self._body.__aiter__()
        return self

    async def __anext__(self) -> Any:
        token = enter(self._request)
        try:
            return await self._iterator.__anext__()
        except BaseException:
            self._requests.close(self._request)
            raise
        finally:
            leave(token)

    def close(self) -> None:
        """End the request: its response is closed."""
        self._requests.close(self._request)

    def __del__(self) -> None:
        self._requests.close(self._request)
