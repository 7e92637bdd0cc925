"""The leads API, unchanged, over every road to Prometheus: what arrives is what its traffic counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from random import Random

import httpx
import pytest
from opentelemetry.instrumentation.schema import semconv
from opentelemetry.instrumentation.schema.cli.reading import Reading, label_names, sample_name
from opentelemetry.instrumentation.schema.cli.sources import Prometheus as Source

import service
from figures import P95, counts, figures
from leads_api import traffic
from leads_api.mixes import MIXES
from leads_api.truth import Truth
from programs import Prometheus, eventually, free_port
from roads import EXTRA_LABELS, ROADS, Road, lay
from sink import Span
from stores import exemplars

pytestmark = pytest.mark.timeout(900)  # the first test may have to build the collector

CANARY = "canary-7f3a"


@dataclass
class Driven:
    """A road that the app's traffic has gone over: all of it, and what came after each schema was seen once."""

    road: Road
    app: str
    truth: Truth
    recent: Truth

    def readings(self) -> Iterator[tuple[Source, Reading]]:
        """What each Prometheus of the road holds."""
        for server in self.road.servers:
            source = Source(server.url)
            yield source, source.read()


@pytest.fixture(scope="module", params=ROADS)
def driven(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, prometheus: str
) -> Iterator[Driven]:
    home = tmp_path_factory.mktemp(request.param)
    with ExitStack() as stack:
        road = lay(request.param, stack, home, prometheus)
        app = service.start(stack, home, free_port(), _telemetry(road))
        first = _each_schema_once(app)
        _settle(road, first)
        recent = traffic.run(app, "demo", seed=1, requests=500, rate=70, threads=4)
        _settle(road, first + recent)
        yield Driven(road, app, first + recent, recent)


def _telemetry(road: Road) -> dict[str, str]:
    common = {"OTEL_SERVICE_NAME": "leads-api", "OTEL_LOGS_EXPORTER": "none", "OTEL_BSP_SCHEDULE_DELAY": "500"}
    if road.app_port:
        own = {"OTEL_EXPORTER_PROMETHEUS_HOST": "127.0.0.1", "OTEL_EXPORTER_PROMETHEUS_PORT": str(road.app_port)}
        return common | own | {"OTEL_METRICS_EXPORTER": "prometheus", "OTEL_TRACES_EXPORTER": "none"}
    otlp = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{road.otlp}", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    return common | otlp | {"OTEL_METRIC_EXPORT_INTERVAL": "1000"}


def _each_schema_once(app: str) -> Truth:
    """Send each kind of request that is answered well: a rate does not see the first value of a series."""
    truth, rng, leads = Truth(), Random(0), [1]
    with httpx.Client(base_url=app, timeout=60) as http:
        for kind in dict.fromkeys(MIXES["demo"].plan(rng, 300)):  # the first creates the lead that others read
            exchange = kind(rng, leads)
            if exchange.status < 400 and not isinstance(exchange.body, bytes):
                method = exchange.endpoint.split(" ")[0]
                answer = http.request(method, exchange.path, params=exchange.query, json=exchange.body)
                assert answer.status_code == exchange.status, exchange
                exchange.count(truth)
    return truth


def _settle(road: Road, truth: Truth) -> None:
    """Return when every Prometheus of the road has every count."""

    def arrived(server: Prometheus) -> bool:
        return all(row.right for row in counts(Source(server.url).read(), truth))

    for server in road.servers:
        eventually(lambda server=server: arrived(server), f"{road.name}: every count of {truth}", 30)


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
    for _, reading in driven.readings():
        endpoint = semconv.HTTP_REQUEST_METHOD, semconv.HTTP_ROUTE

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
    """No series has a label that is neither its instrument's nor the road's own, and without the scope none is left."""
    for server in driven.road.servers:
        extra = EXTRA_LABELS[driven.road.name]
        if server is not driven.road.prometheus:
            extra = extra - {label for label in extra if label.startswith("otel_scope")}
        for instrument in semconv.INSTRUMENTS:
            for labels in server.series(sample_name(instrument)):
                assert {*labels} - extra - {"__name__"} <= {*label_names(instrument)}, labels


def test_bucket_boundaries_are_those_of_the_conventions(driven: Driven) -> None:
    """Every road exposes exactly the conventions' boundaries, whatever way it writes them, and 0.01 alike on all."""
    name = sample_name(semconv.VALIDATION_DURATION)
    bounds = {labels["le"] for labels in driven.road.prometheus.series(name)}
    assert "0.01" in bounds
    assert sorted(map(float, bounds)) == [*semconv.VALIDATION_BUCKETS, float("inf")]


@pytest.mark.parametrize("driven", ROADS[1:], indirect=True, scope="module")  # the app's own endpoint has neither
def test_exemplars_lead_to_stored_traces(driven: Driven) -> None:
    """Each exemplar's trace is in the store with its validation's span, though most ordinary traces are dropped."""
    road = driven.road
    found = eventually(lambda: exemplars(road.prometheus.url, sample_name(semconv.VALIDATION_DURATION)), "exemplars")
    assert found[0].value > 0.01
    for exemplar in found:
        assert exemplar.filtered_attributes == {}
        road.sink.wait_for(lambda exemplar=exemplar: road.sink.trace(exemplar.trace_id), deadline=20)
        spans = {span.span_id: span.name for span in road.sink.trace(exemplar.trace_id)}
        assert spans.get(exemplar.span_id, "").startswith("schema.validate "), exemplar


# last of the module: its requests are not the traffic's
@pytest.mark.parametrize("driven", ["standalone"], indirect=True, scope="module")
def test_canaries_are_absent_at_the_far_end(driven: Driven) -> None:
    """What clients sent as values, unknown keys and what validators said of them is in no series, span or log."""
    road, bad = driven.road, {"name": CANARY, "email": CANARY, CANARY: CANARY, "consent": CANARY, "budget": CANARY}
    sent = ["/leads", "/leads/verified", "/leads/quote", "/leads/1/enrich", "/partners/acme/webhook", "/leads/import"]

    def failed() -> list[Span]:
        return [span for span in road.sink.spans() if span.attributes.get(semconv.PROBLEM_COUNT)]

    road.sink.wait_for(lambda: len(failed()) >= driven.truth.failures.total(), 20)
    before = len(failed())
    with httpx.Client(base_url=driven.app) as http:
        for path in sent:
            answer = http.post(path, json={"rows": [bad], CANARY: bad} if path == "/leads/import" else bad)
            assert answer.status_code == 422, path
    requests = driven.truth.requests.total() + len(sent)
    eventually(lambda: road.prometheus.value("sum(api_requests_total)") == requests, "the canaries' requests")
    road.sink.wait_for(lambda: len(failed()) >= before + len(sent), 20)
    everything = [
        road.prometheus.series('{__name__=~".+"}'),
        road.prometheus.exemplars('{__name__=~".+"}'),
        road.sink.spans(),
        *(path.read_text() for path in road.home.glob("**/*.log")),
    ]
    assert CANARY not in repr(everything)
