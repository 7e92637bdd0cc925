"""The demo's judgement of its figures, and how it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest
from opentelemetry.instrumentation.schema._prometheus.reading import Reading
from opentelemetry.instrumentation.schema._prometheus.sources import Prometheus

from figures import counts, figures
from leads_api.truth import Truth
from sink import Span
from tests.integration.test_top import needs_prometheus, prometheus, serving, wait_for
from trace_tree import draw

LEADS = Path(__file__).parents[2] / "examples" / "leads_api"


VERIFIED, LIST = ("POST /leads/verified", "LeadVerified"), ("GET /leads", "LeadOut")


@pytest.fixture
def truth():
    truth = Truth()
    truth.requests.update({VERIFIED[0]: 100, LIST[0]: 300})
    truth.validators.update({VERIFIED: 100, LIST: 300})
    truth.failures.update({LIST: 3})
    truth.problems.update({("LeadOut", "name", "missing"): 3})
    truth.slow.update({"LeadVerified": 40})
    return truth


def samples():
    """What the app would have exported, had it served that truth."""
    for (endpoint, schema), slow, count in ((VERIFIED, 40, 100), (LIST, 0, 300)):
        method, route = endpoint.split(" ")
        labels = {"schema_name": schema, "schema_module": "leads", "http_request_method": method, "http_route": route}
        for bound, number in (("0.0001", count - slow), ("0.01", count - slow), ("0.025", count), ("+Inf", count)):
            bucket = labels | {"schema_validation_outcome": "valid", "le": bound}
            yield ("schema_validation_duration_seconds_bucket", bucket, float(number))
        yield ("api_requests_total", {"http_request_method": method, "http_route": route}, float(count))
        yield ("cache_misses_total", {"schema_name": schema}, 1.0)
        yield ("cache_hits_total", {"schema_name": schema}, count - 1.0)
        yield ("validation_errors_total", labels, 0.0 if slow else 3.0)
    yield ("schema_validation_problems_total", {"schema_name": "LeadOut", "schema_problem_path": "name"}, 3.0)


def wrong(reading: Reading, truth: Truth) -> set[str]:
    return {row.what for row in figures(None, reading, truth) + counts(reading, truth) if not row.right}


def test_true_telemetry_is_right(truth):
    """Telemetry that counted what the generator counted has no wrong figure."""
    assert wrong(Reading.of(samples()), truth) == set()


@pytest.mark.parametrize(
    ("metric", "figure"),
    [
        ("api_requests_total", {"requests", "failed validations per request"}),
        ("validation_errors_total", {"failed validations", "failed validations per request"}),
        ("schema_validation_problems_total", {"problems"}),
        ("cache_hits_total", {"cache hits", "cache hit rate"}),
        ("cache_misses_total", {"cache misses", "cache hit rate"}),
    ],
)
def test_one_count_off_is_wrong(truth, metric, figure):
    """A single measurement too many makes its figures wrong, and no other."""
    more = [(name, labels, value + (name == metric) * (value > 0)) for name, labels, value in samples()]
    assert wrong(Reading.of(more), truth) == figure


def test_slow_validations_measured_fast_are_wrong(truth):
    """A p95 on the wrong side of 10 ms is wrong even where every count is right."""
    fast = [
        (name, labels, 100.0 if labels.get("schema_name") == "LeadVerified" and "le" in labels else value)
        for name, labels, value in samples()
    ]
    assert wrong(Reading.of(fast), truth) == {"p95 of LeadVerified at POST /leads/verified"}


def test_no_telemetry_is_wrong(truth):
    """Without any telemetry every figure is wrong; none of them divides by zero."""
    empty = Reading.of([])
    assert len(wrong(empty, truth)) == len(figures(None, empty, truth) + counts(empty, truth))


@needs_prometheus
@pytest.mark.parametrize(("factor", "judged"), [(1, set()), (2, {"failed validations per request"})])
def test_verbatim_expressions_are_judged(truth, tmp_path, factor, judged):
    """The expressions of a real Prometheus are right for true telemetry, and wrong where errors are doubled."""
    done = threading.Event()

    def exposition(_path):
        lines = []
        for name, labels, value in samples():
            value *= done.is_set() * (factor if name == "validation_errors_total" else 1)
            lines.append(name + "{" + ",".join(f'{key}="{text}"' for key, text in labels.items()) + f"}} {value}\n")
        return 200, "text/plain; version=0.0.4", "".join(lines)

    with serving(exposition) as target, prometheus(target, tmp_path) as url:
        source = Prometheus(url)
        wait_for(lambda: source.query("count_over_time(up[1m])")[0][1] >= 2)
        done.set()
        wait_for(lambda: source.query("sum(api_requests_total)")[0][1] == 400)
        assert {row.what for row in figures(source, Reading.of(samples()), truth) if not row.right} == judged


def test_trace_is_drawn_as_its_parents_say():
    """Each span of a trace is drawn below its parent, and one whose parent is missing says so."""

    def span(span_id, parent, name, start):
        times = {"start_ns": start, "end_ns": start + 1_000_000}
        return Span("t", span_id, parent, name, "INTERNAL", **times, status="UNSET", status_message="",
                    attributes={}, events=(), scope="", resource={})  # fmt: skip

    tree = draw(
        [span("1", "", "server", 0), span("2", "1", "validate", 5), span("3", "2", "SELECT", 6), span("4", "x", "o", 7)]
    )
    server, missing = tree.children
    assert str(server.label).startswith("server  1 ms")
    assert str(server.children[0].children[0].label).startswith("SELECT")
    assert (str(missing.label), len(missing.children)) == ("parent missing", 1)


def serves(process, port):
    try:
        return any(connection.laddr.port == port for connection in process.net_connections() if connection.laddr)
    except psutil.NoSuchProcess:  # a step of the demo that has ended meanwhile
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_demo_leaves_nothing(number):
    """A demo that is interrupted amid its traffic ends at once, with every program that it started."""
    # in a session of its own, as the shell would have it, so that the signal reaches the demo alone
    with subprocess.Popen(
        [sys.executable, str(LEADS / "demo.py")],
        env=os.environ | {"PYTHONPATH": str(LEADS), "PYTHONUNBUFFERED": "1", "KEEP": ""},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as demo:
        try:
            assert demo.stdout is not None
            port = next(re.search(r"--port (\d+)", line) for line in demo.stdout if "--port" in line)
            demo_process = psutil.Process(demo.pid)
            listening = []
            while not listening:
                assert demo.poll() is None
                listening = [child for child in demo_process.children(recursive=True) if serves(child, int(port[1]))]
            children = demo_process.children(recursive=True)
        finally:
            demo.send_signal(number)
        assert demo.wait(20) == 130
    assert psutil.wait_procs(children, timeout=5)[1] == []
