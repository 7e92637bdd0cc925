"""GET and POST for every command: with credentials, a deadline and a size limit. Messages hold no secrets."""

from __future__ import annotations

import io
import re
import socket
import ssl
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any, Final, cast
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urljoin, urlsplit
from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request

from .text import cleaned

TIMEOUT: Final = 20.0
"""Seconds that an answer may take from the first byte sent to the last byte read, redirects included."""

LARGEST: Final = 32 * 2**20
"""Bytes of an answer that are read at most: some 150,000 samples."""

_REDIRECTS: Final = (301, 302, 303, 307, 308)
_MOST_REDIRECTS: Final = 5


class SourceError(Exception):
    """A source that cannot be read. The message is one line, names it without secrets, and says what to do."""


class StatusError(SourceError):
    """An answer whose status is an error.

    Attributes:
        status: The HTTP status.
        body: What the answer says, as it came.
    """

    def __init__(self, message: str, status: int, body: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = body


@dataclass(frozen=True)
class Access:
    """How to talk to servers; credentials in a URL come on top.

    Attributes:
        headers: Sent to the host of the URL, never to another host that it redirects to.
        context: Which certificates to trust; None for those that the system trusts.
        timeout: Seconds for a whole answer.
        notice: Function that shows the user a message that is no error.
    """

    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    context: ssl.SSLContext | None = None
    timeout: float = TIMEOUT
    notice: Callable[[str], None] = lambda _message: None


DEFAULT: Final = Access()
"""No headers, the system's certificates, the usual deadline."""


@dataclass(frozen=True)
class Answer:
    """A whole answer, with a status that is no error."""

    content_type: str
    text: str


def get(
    url: str, access: Access, parameters: Mapping[str, str | float] | None = None, below: str = "", accept: str = "*/*"
) -> Answer:
    """Read what a URL answers.

    Args:
        url: May hold `user:password@`, which is sent as Basic authentication.
        access: Headers, certificates and deadline.
        parameters: Added to the URL's query.
        below: Added to the URL's path.
        accept: The media type to ask for.

    Raises:
        StatusError: if the status is an error.
        SourceError: if it is no URL, or nobody answers in time, or too much, or redirects elsewhere.
    """
    return _ask(url, access, parameters, below, {"Accept": accept}, None)


def post(url: str, access: Access, below: str, body: str) -> Answer:
    """Send a JSON document.

    Args:
        url: As for `get`.
        access: As for `get`.
        below: Added to the URL's path.
        body: The document.

    Raises:
        StatusError: if the status is an error.
        SourceError: if it is no URL, or nobody answers in time, or redirects.
    """
    headers = {"Accept": "application/json", "Content-Type": "application/json"}
    return _ask(url, access, None, below, headers, body.encode())


def _ask(
    url: str,
    access: Access,
    parameters: Mapping[str, str | float] | None,
    below: str,
    more: Mapping[str, str],
    body: bytes | None,
) -> Answer:
    first = _split(url)
    shown = masked(url)
    headers = {"User-Agent": "otel-schema", **more, **access.headers}
    if first.username is not None:
        login = f"{unquote(first.username)}:{unquote(first.password or '')}"
        headers["Authorization"] = f"Basic {b64encode(login.encode()).decode()}"
    query = [*parse_qsl(first.query, keep_blank_values=True), *(parameters or {}).items()]
    at = first._replace(
        netloc=_host(first),
        path=quote(first.path.rstrip("/") + below, "/%:~+,;=@$!()'*"),
        query=urlencode(query),
        fragment="",
    )
    end = time.monotonic() + access.timeout
    opener = _opener(end, access.context)
    try:
        for _ in range(_MOST_REDIRECTS + 1):
            request = Request(at.geturl(), body, headers)  # noqa: S310 (the scheme is checked)
            # no handler follows redirects or raises for a status, so this is http.client's own response
            with cast("HTTPResponse", opener.open(request, timeout=_left(end))) as answer:
                location = answer.headers.get("Location")
                if answer.status not in _REDIRECTS or not location:
                    return _read(answer, shown)
                if body is not None:  # a redirect would turn POST into GET
                    raise SourceError(f"{shown} redirects the request: give the URL that answers")
            to = _redirected(at, location, shown)
            if _origin(to) != _origin(at):
                headers = {name: headers[name] for name in ("User-Agent", "Accept")}
                access.notice(f"{shown} redirects to another host, {masked(to.geturl())}, which gets no credentials")
            at = to
    except SourceError:
        raise
    except TimeoutError as error:
        raise SourceError(_too_slow(shown, access.timeout)) from error
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        if isinstance(reason, TimeoutError):
            raise SourceError(_too_slow(shown, access.timeout)) from error
        fix = "check the host and the port, and that the app or Prometheus is running"
        if isinstance(reason, ssl.SSLError):
            fix = (
                "check whether the URL must begin with http://, or name the authority that signed the certificate with "
                "--ca-file"
            )
        raise SourceError(f"cannot read {shown} ({cleaned(str(reason))}): {fix}") from error
    raise SourceError(f"{shown} redirects more than {_MOST_REDIRECTS} times: give the URL that answers")


def masked(url: str) -> str:
    """A URL without credentials, and with `***` for each value of its query. Of other text, what cannot be secret."""
    try:
        parts = _split(url)
    except SourceError:
        return _bare(url)
    query = "&".join(f"{name}=***" for name, _ in parse_qsl(parts.query, keep_blank_values=True))
    return cleaned(parts._replace(netloc=_host(parts), query=query, fragment="").geturl())


def check(url: str) -> None:
    """Check that a request can be made of a URL.

    Raises:
        SourceError: if it cannot.
    """
    _split(url)


def _split(url: str) -> SplitResult:
    problem = "is not an http:// or https:// URL with a host and a port from 1 to 65535"
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good, parts = False, SplitResult("", "", "", "", "")
    if good and any(not each.isprintable() or each == " " for each in url):
        good = False
    if good and "@" in parts.path + parts.query + parts.fragment:
        # http://user:1/2@host is a host named user
        good, problem = False, "has an @ behind its host: write it as %40, and / ? # in a password as %2F %3F %23"
    if not good:
        raise SourceError(f"{_bare(url)} {problem}")
    return parts


def _bare(url: str) -> str:
    """The part of a malformed URL that cannot be secret: what is before an @ may be a password."""
    scheme, _, rest = url.partition("://") if "://" in url else ("", "", url)
    rest = re.split("[?#]", rest.rpartition("@")[2])[0]
    return cleaned(f"{scheme}://{rest}" if scheme.isalpha() else rest)


def _host(parts: SplitResult) -> str:
    return parts.netloc.rpartition("@")[2]


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _redirected(at: SplitResult, location: str, shown: str) -> SplitResult:
    target = urljoin(at.geturl(), location)
    scheme = urlsplit(target).scheme
    if scheme != at.scheme:
        raise SourceError(f"{shown} redirects to {masked(target)}, of another scheme: if that is right, give that URL")
    to = _split(target)
    return to._replace(netloc=_host(to), fragment="")


def _read(answer: HTTPResponse, shown: str) -> Answer:
    body = answer.read(LARGEST + 1)
    if len(body) > LARGEST:
        raise SourceError(f"{shown} answers more than {LARGEST >> 20} MiB: it is not the /metrics endpoint of an app")
    text = body.decode("utf-8", "replace")
    if answer.status >= 300:
        status = f"{answer.status} {cleaned(answer.reason, 100)}".strip()
        fix = "check the path, and which program listens there"
        if answer.status in (401, 403):
            fix = "give https://user:password@host, --bearer-token-file or --header, and check what they may read"
        raise StatusError(f"{shown} answers {status}: {fix}", answer.status, text)
    return Answer(cleaned(answer.headers.get("Content-Type", ""), 100), text)


def _too_slow(shown: str, timeout: float) -> str:
    return f"{shown} gave no complete answer in {timeout:g} s: check which program listens there, or raise --timeout"


def _left(end: float) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _opener(end: float, context: ssl.SSLContext | None) -> OpenerDirector:
    opener = OpenerDirector()
    opener.add_handler(ProxyHandler())
    opener.add_handler(_Http(end))
    opener.add_handler(_Https(end, context))
    return opener


class _Http(HTTPHandler):
    def __init__(self, end: float) -> None:
        super().__init__()
        self._end = end

    def http_open(self, req: Request) -> HTTPResponse:
        return self.do_open(cast("Any", partial(_Connection, self._end)), req)


class _Https(HTTPSHandler):
    def __init__(self, end: float, context: ssl.SSLContext | None) -> None:
        super().__init__()
        self._end = end
        self._trusted = context

    def https_open(self, req: Request) -> HTTPResponse:
        trusted = self._trusted or ssl.create_default_context()  # reads all authorities of the system: 30 ms
        return self.do_open(cast("Any", partial(_SecureConnection, self._end, context=trusted)), req)


class _Deadline:
    """A connection with one deadline, for connecting and for all reads together, however few bytes come with each."""

    def __init__(self, end: float, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._end = end
        self.response_class = partial(_Response, end)
        # http.client would give each address of a name the whole time
        self._create_connection = partial(_connected, end)

    def connect(self) -> None:
        self.timeout = _left(self._end)
        super().connect()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


def _connected(end: float, address: tuple[str, int], *_: object) -> socket.socket:
    """A connection to the first address of a name that accepts it."""
    failed: OSError | None = None
    for family, kind, protocol, _name, at in socket.getaddrinfo(*address, type=socket.SOCK_STREAM):
        peer = socket.socket(family, kind, protocol)
        try:
            peer.settimeout(_left(end))
            peer.connect(at)
            return peer
        except OSError as error:
            peer.close()
            failed = error
    raise failed or OSError(f"{address[0]} has no address")


class _Connection(_Deadline, HTTPConnection):
    pass


class _SecureConnection(_Deadline, HTTPSConnection):
    pass


class _Response(HTTPResponse):
    def __init__(self, end: float, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp.close()
        self.fp = io.BufferedReader(_UntilDeadline(end, sock))


class _UntilDeadline(io.RawIOBase):
    """A socket's bytes, until the deadline."""

    def __init__(self, end: float, sock: socket.socket) -> None:
        self._end = end
        self._sock = sock
        self._bytes = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(_left(self._end))
        return self._bytes.readinto(buffer)

    def close(self) -> None:
        self._bytes.close()
        super().close()
