"""The leads API, unchanged, over every topology to Prometheus: what arrives is what its traffic counted."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from random import Random
from typing import Any

import httpx
import pytest
from opentelemetry.instrumentation.schema import semconv
from opentelemetry.instrumentation.schema._prometheus.reading import Reading, label_names, sample_name
from opentelemetry.instrumentation.schema._prometheus.sources import Prometheus as Source

import service
from figures import P95, counts, figures
from leads_api import exchanges, traffic
from leads_api.exchanges import Exchange
from leads_api.mixes import MIXES
from leads_api.truth import Truth
from sink import Span
from stores import exemplars
from tests.pipeline.fanout import FanOut
from tests.pipeline.programs import Prometheus, eventually, free_port
from tests.pipeline.topologies import EXTRA_LABELS, TOPOLOGIES, Topology, start_all

pytestmark = pytest.mark.timeout(900)  # the first test may have to build the collector

CANARY = "canary-7f3a"
BODY = dict.fromkeys(("name", "email", "consent", "budget", CANARY), CANARY)
WRONG = (
    ("email", "string_pattern_mismatch"),
    ("company", "missing"),
    ("budget", "int_parsing"),
    ("source", "missing"),
    ("consent", "bool_parsing"),
)
CANARIES = [
    Exchange(exchanges.CREATE, "/leads", 422, body=BODY, invalid={"LeadIn": WRONG}),
    Exchange(exchanges.VERIFIED, "/leads/verified", 422, body=BODY, invalid={"LeadVerified": WRONG}),
    Exchange(
        exchanges.ENRICH,
        "/leads/1/enrich",
        422,
        body={"source": CANARY},
        valid=("path.lead_id",),
        invalid={"EnrichIn": (("source", "literal_error"),)},
    ),
    Exchange(
        exchanges.QUOTE,
        "/leads/quote",
        422,
        body=[{"product": CANARY, "quantity": CANARY, "unit_price": 1, CANARY: CANARY}],
        invalid={"list[QuoteLine]": (("*.quantity", "int_parsing"),)},
        rebuilt="list[QuoteLine]",
    ),
    Exchange(
        exchanges.WEBHOOK,
        "/partners/acme/webhook",
        422,
        body={"contact": {"name": CANARY, "email": CANARY}, "budget": CANARY, CANARY: CANARY},
        valid=("path.partner",),
        invalid={"AcmeLead": (("contact.email", "pattern"), ("budget", "type"))},
    ),
    Exchange(
        exchanges.IMPORT,
        "/leads/import",
        422,
        body={"batch": CANARY, "rows": [{"name": CANARY, "email": CANARY, "budget": CANARY, CANARY: 1}], CANARY: 1},
        invalid={"BulkImport": (("rows.*.budget", "invalid"), ("rows.*.*", "unknown"), ("*", "unknown"))},
    ),
]
"""Payloads with one value and one unknown key that nothing else in the world has, for each library."""


@dataclass(frozen=True)
class At(Source):
    """A Prometheus asked at a time, that of the promised minute, however long a busy machine took since."""

    time: float = 0

    def api(self, path: str, **parameters: str | float) -> Any:
        return super().api(path, **parameters, time=self.time)


@dataclass
class Driven:
    """A topology that the app's traffic has gone over: all of it, and the minute after each schema was seen once."""

    topology: Topology
    truth: Truth
    recent: Truth
    minute: float
    messages: set[str]

    def readings(self) -> Iterator[tuple[Source, Reading]]:
        """What each Prometheus of the topology holds."""
        for server in self.topology.servers:
            source = At(server.url, time=self.minute)
            yield source, source.read()


@pytest.fixture(scope="module")
def over_every_topology(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, prometheus: str
) -> Iterator[dict[str, Driven]]:
    """One app, whose telemetry goes over each topology that a chosen test asks for, all of them at the same time."""
    asked = [item.callspec.params for item in request.session.items if getattr(item, "callspec", None)]
    names = sorted({parameters["driven"] for parameters in asked if "driven" in parameters})
    home = tmp_path_factory.mktemp("topologies")
    with ExitStack() as stack:
        topologies = start_all(names, stack, home, prometheus)
        fan = stack.enter_context(FanOut([topology.otlp for topology in topologies]))
        own_port = next((topology.app_port for topology in topologies if topology.app_port), free_port())
        app = service.start(stack, home, free_port(), _telemetry(fan.otlp, own_port))
        first = _each_series_once(app)
        messages = _send_canaries(app, first)
        _settle(topologies, first)
        minute = _begin_minute(topologies) + 60
        recent = traffic.run(app, "demo", seed=1, requests=500, rate=100, threads=4)
        _settle(topologies, first + recent)
        for topology in topologies:
            (topology.home / "app.log").symlink_to(home / "app.log")
        yield {topology.name: Driven(topology, first + recent, recent, minute, messages) for topology in topologies}


@pytest.fixture(scope="module", params=TOPOLOGIES)
def driven(request: pytest.FixtureRequest, over_every_topology: dict[str, Driven]) -> Driven:
    return over_every_topology[request.param]


def _telemetry(otlp: str, own_port: int) -> dict[str, str]:
    return {
        "OTEL_SERVICE_NAME": "leads-api",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_BSP_SCHEDULE_DELAY": "500",
        "OTEL_METRICS_EXPORTER": "prometheus,otlp",
        "OTEL_EXPORTER_PROMETHEUS_HOST": "127.0.0.1",
        "OTEL_EXPORTER_PROMETHEUS_PORT": str(own_port),
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{otlp}",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_METRIC_EXPORT_INTERVAL": "1000",
    }


def _each_series_once(app: str) -> Truth:
    """Send one request of each kind, well and badly: a rate does not see the first value of a series."""
    truth, rng, leads, sent = Truth(), Random(0), [1], set[tuple[str, ...]]()
    with httpx.Client(base_url=app, timeout=60) as http:
        for kind in MIXES["demo"].plan(rng, 300):  # the first creates the lead that others read
            exchange = kind(rng, leads)
            series = exchange.endpoint, *exchange.valid, "invalid", *exchange.invalid
            if series not in sent and not isinstance(exchange.body, bytes):
                sent.add(series)
                _send(http, exchange, truth)
    return truth


def _send_canaries(app: str, truth: Truth) -> set[str]:
    """Send the canaries, count them, and return what the validators said of them."""
    with httpx.Client(base_url=app, timeout=60) as http:
        said = {text for exchange in CANARIES for text in _texts(_send(http, exchange, truth).json())}
    assert CANARY in said  # the app holds it in its hands: Pydantic's errors show their input
    return {text for text in said if " " in text}


def _send(http: httpx.Client, exchange: Exchange, truth: Truth) -> httpx.Response:
    method = exchange.endpoint.split(" ")[0]
    answer = http.request(method, exchange.path, params=exchange.query, json=exchange.body)
    assert answer.status_code == exchange.status, exchange
    exchange.count(truth)
    return answer


def _texts(node: Any) -> Iterator[str]:
    """Every text in an answer that is not a key."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, Iterable):
        for child in node.values() if isinstance(node, dict) else node:
            yield from _texts(child)


def _settle(topologies: Iterable[Topology], truth: Truth) -> None:
    """Return when every Prometheus of every topology has every count."""

    def arrived(server: Prometheus) -> bool:
        return all(row.right for row in counts(Source(server.url).read(), truth))

    for topology in topologies:
        for server in topology.servers:
            eventually(lambda server=server: arrived(server), f"{topology.name}: every count of {truth}")


def _begin_minute(topologies: Iterable[Topology]) -> float:
    """A time after which every series has a sample of what was before: a rate from then on is of what comes."""
    begins = time.time()
    for topology in topologies:
        for server in topology.servers:
            eventually(
                lambda server=server: server.value("min(timestamp(api_requests_total))") > begins,
                f"{topology.name}: a sample since {begins}",
            )
    return begins


def test_promised_figures_are_true(driven: Driven) -> None:
    """The promised error rate and hit rate, verbatim, are the traffic's own, with the scope and without."""
    for source, reading in driven.readings():
        rows = figures(source, reading, driven.truth, driven.recent)
        assert not [row for row in rows if not row.right and not row.what.startswith("p95")], source.name


def test_p95_is_on_the_right_side(driven: Driven) -> None:
    """The promised p95, verbatim, is above 10 ms for the schema that asks the database, and below it for another."""
    for source, _ in driven.readings():
        rows = {
            labels["schema_name"]: value
            for labels, value in source.query(P95)
            if labels["schema_validation_outcome"] == "valid"
        }
        assert rows["LeadVerified"] > 0.01 > rows["QuoteOut"] > 0, source.name


def test_each_endpoint_and_schema_is_exact(driven: Driven) -> None:
    """Requests by endpoint, and validations, failures and problems by schema, are those that the traffic caused."""
    truth = driven.truth
    for server in driven.topology.servers:
        endpoint = semconv.HTTP_REQUEST_METHOD, semconv.HTTP_ROUTE

        def read(server: Prometheus = server) -> Reading | None:
            reading = Source(server.url).read()
            return reading if reading.totals(semconv.API_REQUESTS) else None

        reading = eventually(read, "a scrape that did not fail")

        def by(instrument: semconv.Instrument, *attributes: str, reading: Reading = reading) -> Counter[str]:
            totals = reading.totals(instrument, *attributes).items()
            return +Counter({" ".join(values): int(number) for values, number in totals})

        assert by(semconv.API_REQUESTS, *endpoint) == truth.requests
        assert by(semconv.VALIDATION_DURATION, semconv.SCHEMA_NAME) == truth.validations
        failures = Counter({" ".join(key): number for key, number in truth.failures.items()})
        assert by(semconv.VALIDATION_ERRORS, *endpoint, semconv.SCHEMA_NAME) == failures
        problems = Counter({" ".join(key): number for key, number in truth.problems.items()})
        names = (semconv.SCHEMA_NAME, semconv.PROBLEM_PATH, semconv.PROBLEM_RULE)
        assert by(semconv.VALIDATION_PROBLEMS, *names) == problems


def test_labels_are_those_of_the_conventions(driven: Driven) -> None:
    """Each series has only its instrument's labels and the topology's, and without the scope no others."""
    for server in driven.topology.servers:
        extra = EXTRA_LABELS[driven.topology.name]
        if server is not driven.topology.prometheus:
            extra = extra - {label for label in extra if label.startswith("otel_scope")}
        for instrument in semconv.INSTRUMENTS:
            for labels in server.series(sample_name(instrument)):
                assert {*labels} - extra - {"__name__"} <= {*label_names(instrument)}, labels


def test_bucket_boundaries_are_those_of_the_conventions(driven: Driven) -> None:
    """Every topology exposes exactly the conventions' boundaries, and 0.01 written alike."""
    name = sample_name(semconv.VALIDATION_DURATION)
    bounds = {labels["le"] for labels in driven.topology.prometheus.series(name)}
    assert "0.01" in bounds
    assert sorted(map(float, bounds)) == [*semconv.VALIDATION_BUCKETS, float("inf")]


@pytest.mark.parametrize("driven", TOPOLOGIES[1:], indirect=True, scope="module")  # all with a collector
def test_collectors_own_series_are_scraped(driven: Driven) -> None:
    """Beside the app's series each Prometheus config brings the collector's own, which alerts watch."""
    eventually(lambda: driven.topology.prometheus.value("sum(otelcol_receiver_accepted_spans_total)"), "its own series")


@pytest.mark.parametrize("driven", TOPOLOGIES[1:], indirect=True, scope="module")  # the app's own endpoint has neither
def test_exemplars_lead_to_stored_traces(driven: Driven) -> None:
    """Each exemplar's trace is in the store with its validation's span, though most ordinary traces are dropped."""
    topology = driven.topology
    found = eventually(
        lambda: exemplars(topology.prometheus.url, sample_name(semconv.VALIDATION_DURATION)), "exemplars"
    )
    assert found[0].value > 0.01
    for exemplar in found:
        assert exemplar.filtered_attributes == {}
        topology.sink.wait_for(lambda exemplar=exemplar: topology.sink.trace(exemplar.trace_id))
        spans = {span.span_id: span.name for span in topology.sink.trace(exemplar.trace_id)}
        assert spans.get(exemplar.span_id, "").startswith("schema.validate "), exemplar


def test_payloads_are_absent_at_the_far_end(driven: Driven) -> None:
    """What clients sent as values and as unknown keys, and what validators said of it, is in no series, span or log."""

    def failed() -> list[Span]:
        return [span for span in driven.topology.sink.spans() if span.attributes.get(semconv.PROBLEM_COUNT)]

    driven.topology.sink.wait_for(lambda: len(failed()) >= driven.truth.failures.total())
    far_end = driven.topology.far_end()
    # a search that finds what is there
    assert "'schema_problem_path': 'rows.*.*'" in far_end["series"]
    assert "rows.*.*" in far_end["spans"]
    assert driven.topology.app_port or "trace_id" in far_end["exemplars"]
    assert "Server is ready" in far_end["logs"]
    assert "Uvicorn running" in far_end["logs"]
    for where, text in far_end.items():
        assert not [payload for payload in (CANARY, *driven.messages) if payload in text], where
