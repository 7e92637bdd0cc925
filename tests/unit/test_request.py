"""Which endpoint the running code serves, and which URLs are none of ours."""

from __future__ import annotations

import re
import time
import tracemalloc
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.instrumentation.schema import endpoint
from opentelemetry.instrumentation.schema._recording.app_names import MAX_NAME
from opentelemetry.instrumentation.schema._recording.cells import BUFFER_SIZE
from opentelemetry.instrumentation.schema._recording.endpoints import NO_ENDPOINT, block_endpoint, web_endpoint
from opentelemetry.instrumentation.schema._recording.request import (
    NO_REQUEST,
    ExcludedUrls,
    Request,
    current_request,
    sum_up_all,
)
from opentelemetry.instrumentation.schema.text import clean
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, use_span


@pytest.mark.parametrize(
    ("patterns", "url", "excluded"),
    [
        ("", "http://a/healthz", False),
        (" , ", "http://a/healthz", False),
        ("healthz", "http://a/healthz", True),
        ("healthz,/metrics$", "http://a/metrics", True),
        ("healthz, /metrics$", "http://a/metrics/1", False),
        (r"^https?://internal\.", "http://internal.example/x", True),
        ("/lead/[0-9]+", "http://a/lead/12", True),
    ],
)
def test_excluded_urls(patterns: str, url: str, excluded: bool) -> None:
    """A URL is excluded when one of the regular expressions is found anywhere in it."""
    urls = ExcludedUrls(patterns)
    assert (url in urls) is excluded
    assert bool(urls) is bool(patterns.replace(",", "").strip())


def test_a_bad_expression_excludes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """A pattern that is none warns with its value, and no URL is excluded."""
    urls = ExcludedUrls("healthz,(")
    assert not urls
    assert "http://a/healthz" not in urls
    (record,) = caplog.records
    assert "the excluded URLs 'healthz,('" in record.getMessage()


@given(st.text(), st.text())
def test_no_pattern_and_no_url_raises(patterns: str, url: str) -> None:
    """Whatever the variable and the URL hold, there is an answer, and it is what `re` says."""
    urls = ExcludedUrls(patterns)
    listed = [part.strip() for part in patterns.split(",") if part.strip()]
    try:
        expected = bool(listed) and re.search("|".join(listed), url) is not None
    except re.error:
        expected = False
    assert (url in urls) is expected


@given(st.text(min_size=1, max_size=MAX_NAME))
def test_an_endpoint_has_its_name(name: str) -> None:
    """Every printable name of 1 to 100 characters is an endpoint of its own; what is not printable is cleaned."""
    assert block_endpoint(name).attributes == {"schema.endpoint": clean(name)}
    assert (
        block_endpoint(name).key != block_endpoint(name + "x"[: MAX_NAME - len(name)] or "y").key
        or len(name) == MAX_NAME
    )


@pytest.mark.parametrize("name", ["", "x" * (MAX_NAME + 1)])
def test_a_name_that_is_none_or_too_long_is_refused(name: str) -> None:
    """The error says how long a name may be, and does not hold the name, which may be data."""
    with pytest.raises(ValueError, match="1 to 100 characters") as raised, endpoint(name):
        pass
    assert "xx" not in str(raised.value)
    assert current_request.get() is NO_REQUEST


@pytest.mark.parametrize(
    ("method", "exported"), [("GET", "GET"), ("QUERY", "QUERY"), ("BREW", "_OTHER"), ("get", "_OTHER"), ("", "_OTHER")]
)
def test_an_unknown_method_is_other(method: str, exported: str) -> None:
    """`http.request.method` is a known method in capitals, or `_OTHER`; the route is left out where none matched."""
    assert web_endpoint(method).attributes == {"http.request.method": exported}
    assert web_endpoint(method, "/x").attributes == {"http.request.method": exported, "http.route": "/x"}
    assert web_endpoint(method).key != web_endpoint(method, "/x").key


def test_the_empty_route_is_a_route() -> None:
    """A mount at the root with a route of no path is not the same as no route."""
    assert "http.route" in web_endpoint("GET", "").attributes


def test_blocks_nest_and_end() -> None:
    """The innermost block is the endpoint, and after it the outer one again, also when it raised."""
    with endpoint("outer"):
        outer = current_request.get()
        with suppress(ZeroDivisionError), endpoint("inner"):
            assert current_request.get().endpoint.attributes == {"schema.endpoint": "inner"}
            raise ZeroDivisionError
        assert current_request.get() is outer
    assert current_request.get() is NO_REQUEST


CELLS: Any = object()


def test_the_server_span_gets_number_and_time() -> None:
    """What is validated between entry and end of the handler goes on the span that was current at its entry."""
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("t")
    request = Request(web_endpoint("GET", "/x"))
    request.add_validation(CELLS, 9.0)  # before the handler: nobody adds these up
    with tracer.start_as_current_span("server") as server:
        request.enter_handler()
        with tracer.start_as_current_span("inner"):
            request.enter_handler()  # a route in a route: the span stays the outer one
        request.add_validation(CELLS, 0.25)
        request.add_validation(CELLS, 0.5)
        request.leave_handler()
        request.add_validation(CELLS, 9.0)
        request.leave_handler()
    assert dict(server.attributes or {}) == {"schema.validation.count": 2, "schema.validation.duration": 0.75}


def test_a_request_without_validations_leaves_its_span_alone() -> None:
    """A server span gets no zeros, and one that does not record is not asked to."""
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("t")
    request = Request(web_endpoint("GET", "/x"))
    with tracer.start_as_current_span("server") as server:
        request.enter_handler()
        request.leave_handler()
    assert not server.attributes
    with use_span(NonRecordingSpan(SpanContext(1, 1, False, TraceFlags(0)))):
        request.enter_handler()
        assert request.durations is None


def test_a_long_url_is_searched_in_its_beginning() -> None:
    """A URL of 60 kB costs a search that takes quadratic time no more than one of 1 kB, and finds what is in that."""
    urls = ExcludedUrls("client/.*/info,.*/healthz")
    began = time.thread_time()
    assert "http://a/" + "client/" * 9_000 not in urls
    assert time.thread_time() - began < 0.5
    assert "http://a/healthz?" + "x" * 60_000 in urls


def test_a_method_is_not_remembered() -> None:
    """Thousands of methods of 60 kB, which a server takes from anybody, share one endpoint and leave no memory."""
    tracemalloc.start()
    try:
        endpoints = {web_endpoint(f"{n}" + "M" * 60_000, "/leads").key for n in range(1000)}
        left, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert endpoints == {web_endpoint("_OTHER", "/leads").key}
    assert left < 100_000


def test_a_route_and_an_endpoint_are_fit_to_export() -> None:
    """Templates and names of any kind become text that every exporter takes."""
    assert web_endpoint("GET", "/\ud800").attributes["http.route"] == "/\ufffd"
    assert len(web_endpoint("GET", "/x" * 10_000).attributes["http.route"]) == 200
    assert block_endpoint("a\x1b[2J").attributes["schema.endpoint"] == "a\ufffd[2J"


def test_the_durations_of_an_open_request_are_summed_up() -> None:
    """While a stream is open in a recording span its durations are added up, at the latest at each collection."""
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("t")
    opened = Request(web_endpoint("GET", "/x"))
    with tracer.start_as_current_span("server") as server:
        opened.enter_handler()
        for _ in range(10):
            for _ in range(BUFFER_SIZE // 2):
                opened.durations.append(0.5)  # type: ignore[union-attr]  # as the hot paths do
            sum_up_all()
            assert opened.durations == []
        for _ in range(2 * BUFFER_SIZE):
            opened.add_validation(CELLS, 0.5)
        assert len(opened.durations or ()) < BUFFER_SIZE
        opened.leave_handler()
    number = 10 * (BUFFER_SIZE // 2) + 2 * BUFFER_SIZE
    assert dict(server.attributes or {}) == {
        "schema.validation.count": number,
        "schema.validation.duration": number / 2,
    }


def test_an_ended_request_takes_nothing() -> None:
    """Once it ended it has no endpoint, and neither a route, a handler's span nor a duration gives it one again."""
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("t")
    ended = Request(web_endpoint("GET", "/x"))
    with tracer.start_as_current_span("server") as server:
        assert ended.end() == web_endpoint("GET", "/x")
        ended.locate(web_endpoint("GET", "/y"))
        ended.enter_handler()
        ended.add_validation(CELLS, 1.0)
        ended.leave_handler()
    assert (ended.counted, ended.endpoint, ended.durations, ended.end()) == (False, NO_ENDPOINT, None, NO_ENDPOINT)
    assert not server.attributes
