"""Requests of web frameworks: where one begins and ends, however many handlers and applications see it.

A request is an object: an ASGI scope, a WSGI environ, a Django request. Whoever sees the same object again, a mounted
application or a handler that a middleware calls, sees the same request. Another object is a request of its own (a test
client in a view), a copy too once the route's handler runs (a batch endpoint); before that it is a middleware's.
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
"""In a scope or environ: its request, and which objects stand for that."""


class Mark:
    """What a scope, environ or Django request carries.

    Attributes:
        request: Its holder.
        seen: `id` of each object that stands for it. An object outlives its mark.
        wrapped: Whether an object of a framework's own was made of its scope or environ; there may be one.
        prefix: The templates of the mounts so far.
        route: The route that was entered last.
        streams: Whether its body is yet to be made when its handler has returned.
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

    def __reduce__(self) -> Any:  # a scope travels without it
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
        """The holder of a request that begins; None for one that is open already.

        Args:
            carrier: The object that it is, or the attributes of that.
            method: Its HTTP method.
            url: Gives the whole URL, which may be an excluded one.
            made_of: The environ or scope that a framework's own object was made of.
            framework: Whose excluded URLs those are, where not this component's.
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
            elif current.mount is not None and not current.handled:  # through what translates ASGI into WSGI
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
        """A request was served, or its body sent: it is counted, once, and then the context has back what it held."""
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
    """A body that is sent after its handler returned: part of its request, which ends with it.

    It may be iterated and closed by other threads than the handler's, and not every server closes it.
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
        """Close the body; with it the request ends."""
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
    """Likewise a body that is iterated asynchronously."""

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
        """Its response is closed; with it the request ends."""
        self._requests.close(self._request)

    def __del__(self) -> None:
        self._requests.close(self._request)
