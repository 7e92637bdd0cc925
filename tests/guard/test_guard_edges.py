"""What may go wrong around `upgrade --guard --auto-rollback`: all cases side by side, on the same real servers."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.instrumentation.schema import semconv
from opentelemetry.instrumentation.schema._monitoring import thresholds
from opentelemetry.instrumentation.schema._prometheus.reading import sample_name

from sink import Sink
from tests.dashboards.stack import Alertmanager, Webhook
from tests.guard.parts import FITS, SERVES, Shop, exposed, proxy
from tests.guard.store import Past, Store, binary
from tests.pipeline.programs import STANDALONE, Collector, eventually, free_port, get

pytestmark = pytest.mark.timeout(900)  # the first may have to build the collector
PHASES = ["degraded", "rolling_back", "rolled_back", "recovered"]


@dataclass
class CommandResult:
    """A command that ended.

    Attributes:
        code: Its exit code.
        out: What it printed; JSON, but for `lost`.
        errors: On stderr.
        shop: Whose it was.
    """

    code: int
    out: str
    errors: str
    shop: Shop

    @property
    def guard(self) -> dict[str, Any]:
        """The guard's part of the JSON object."""
        assert self.out, self.errors
        return json.loads(self.out)["guard"]

    def phases(self) -> list[tuple[int, str, str]]:
        """The phases in the history."""
        return [(line["sequence"], line["phase"], line["summary"]) for line in self.shop.events("phase")]


@dataclass
class EdgeCases:
    """All cases, after they ended.

    Attributes:
        cases: By name.
        heard: What the webhook heard of phases, in its order.
        metrics: What the collector exposed of the guard's gauge.
        sink: What the collector passed on.
        refused: How many of the questions were refused in the midst of the watch of `unheard`.
    """

    cases: dict[str, CommandResult]
    heard: list[tuple[int, str, str]]
    metrics: list[str]
    sink: Sink
    refused: int


def _result(process: subprocess.Popen[str], shop: Shop) -> CommandResult:
    out, errors = process.communicate(timeout=600)
    return CommandResult(process.returncode, out, errors, shop)


def baseline(server: str) -> bool:
    """Whether a Prometheus has some samples of each app."""
    samples = json.loads(get(f"{server}/api/v1/query?query=min(count_over_time(api_requests_total%5B1h%5D))"))
    return any(float(row["value"][1]) > 8 for row in samples["data"]["result"])


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, otelcol: Path) -> Iterator[EdgeCases]:
    """Upgrade three projects at once, and watch a fourth.

    `recovered`: by a clean check, with Alertmanager and collector. `unheard`: Alertmanager is down, and Prometheus
    refuses some answers. `between`: somebody else migrates on. `lost`: its Prometheus dies.
    """
    home = tmp_path_factory.mktemp("edges")
    shops = {
        name: Shop(home / name, FITS if name == "recovered" else SERVES, name != "lost")
        for name in ("recovered", "unheard", "between", "lost")
    }
    with ExitStack() as stack:
        jobs = stack.enter_context(exposed(shops))
        config = f"global: {{scrape_interval: 500ms}}\nscrape_configs:\n{jobs}"
        store = stack.enter_context(Store(home / "prometheus", Past(), config))
        frail = stack.enter_context(Store(home / "frail", Past(), config))
        webhook = stack.enter_context(Webhook())
        urls = {"progress_url": f"{webhook.url}/progress", "webhook_url": webhook.url, "deadman_url": webhook.url}
        values = {**thresholds.DEFAULTS, **urls, "secrets_dir": str(home / "secrets")}
        program = binary("alertmanager", "prometheus-alertmanager")
        manager = stack.enter_context(Alertmanager(program, home / "alertmanager", values))
        sink = stack.enter_context(Sink())
        next_ = sink.grpc_endpoint.removeprefix("http://")
        collector = stack.enter_context(
            Collector(
                otelcol,
                STANDALONE,
                home / "collector",
                OTELCOL_NEXT=next_,
                OTELCOL_DECISION_WAIT="1s",
                OTELCOL_KEEP_PERCENT="100",
            )
        )
        rehearsing = shops["between"].start("otel-schema", "rehearse", "--url", f"sqlite:///{home / 'scratch.db'}")
        for each in (store, frail):
            eventually(lambda server=each.url: baseline(server), "a baseline", 120)
        assert _result(rehearsing, shops["between"]).code == 0

        left = [3]

        def refuses(_headers: Mapping[str, str]) -> int:
            if shops["unheard"].events("finished") and left[0]:
                left[0] -= 1
                return 503
            return 0

        unsteady = stack.enter_context(proxy(store.url, refuses))
        telemetry = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{collector.otlp}", "OTEL_SERVICE_NAME": "deploy"}
        nobody = f"http://127.0.0.1:{free_port()}"
        upgrade = ["upgrade", "0002", "--json", "--guard", "20s", "--auto-rollback"]
        heard = [*upgrade, "--alertmanager", manager.url]
        started = {
            "recovered": shops["recovered"].watched(store.url, *heard, **telemetry),
            "unheard": shops["unheard"].watched(unsteady, *upgrade, "--alertmanager", nobody),
            "between": shops["between"].watched(store.url, *upgrade),
            "lost": shops["lost"].watched(frail.url, "guard", "--watch", "20s"),
        }
        stack.callback(lambda: [process.kill() for process in started.values()])
        eventually(lambda: shops["between"].events("finished"), "the migration of `between`", 120)
        shops["between"].migrated_on()
        said = ""
        while "of 20 s" not in said:  # its watch goes on
            said += (line := started["lost"].stderr.readline())
            assert line, said
        frail.kill()
        cases = {name: _result(process, shops[name]) for name, process in started.items()}

        def phases() -> list[tuple[int, str, str]]:
            return [
                (int(alert["labels"]["sequence"]), alert["labels"]["phase"], alert["annotations"]["summary"])
                for _, path, message in webhook.messages
                if path == "/progress" and message["status"] == "firing"
                for alert in message["alerts"]
            ]

        eventually(lambda: len(phases()) >= len(cases["recovered"].phases()), "every notification", 60)
        gauge = sample_name(semconv.GUARD_TIMESTAMP)
        exposition = get(f"http://127.0.0.1:{collector.ports['metrics']}/metrics").splitlines()
        sink.wait_for(lambda: sink.spans(semconv.GUARD_SPAN_NAME), 60)
        yield EdgeCases(
            cases, phases(), [line for line in exposition if line.startswith(f"{gauge}{{")], sink, 3 - left[0]
        )


def test_a_clean_check_permits_the_rollback(ran: EdgeCases) -> None:
    """Where `check` finds nothing against the older schema, a degraded app gets it back, and recovers."""
    case = ran.cases["recovered"]
    assert (case.code, case.guard["verdict"], case.guard["recovery"]) == (1, "degraded", "recovered"), case.errors
    assert case.shop.revision() == "0001"
    assert [phase for _, phase, _ in case.phases()] == PHASES
    assert [tuple(each) for each in case.guard["phases"]] == case.phases()
    assert [each["by_guard"] for each in case.shop.events("started")] == [False, True]


def test_what_is_heard_is_the_history(ran: EdgeCases) -> None:
    """The webhook hears every phase that the history has, in its order and with its words."""
    assert ran.heard == ran.cases["recovered"].phases() != []


def test_gauges_and_span_arrive_through_a_collector(ran: EdgeCases) -> None:
    """A verdict is a gauge of each signal and a span with the numbers, also after a collector."""
    labels = ('schema_migration_tool="alembic"', 'schema_guard_signal="errors"', 'schema_guard_verdict="degraded"')
    assert [line for line in ran.metrics if all(label in line for label in labels)], ran.metrics
    assert len(ran.metrics) == 3, ran.metrics
    (span,) = ran.sink.spans(semconv.GUARD_SPAN_NAME)
    figures = ran.cases["recovered"].guard["signals"]["errors"]
    assert span.attributes[semconv.GUARD_VERDICT] == "degraded"
    assert span.attributes["schema.guard.errors.after"] == pytest.approx(figures["after"], rel=1e-4)


def test_no_alertmanager_changes_no_outcome(ran: EdgeCases) -> None:
    """Without an Alertmanager that answers, the outcome, exit code and history are the same; the user is told so."""
    case, heard = ran.cases["unheard"], ran.cases["recovered"]
    assert (case.code, case.guard["recovery"], case.shop.revision()) == (heard.code, "recovered", "0001"), case.errors
    assert [phase for _, phase, _ in case.phases()] == PHASES
    assert case.errors.count("cannot notify Alertmanager, trying again") == 1
    assert "The history has all of them" in case.errors


def test_a_prometheus_that_stumbles_is_asked_again(ran: EdgeCases) -> None:
    """Answers that are refused in the midst of a watch are asked for again, and change nothing."""
    assert ran.refused == 3
    assert ran.cases["unheard"].guard["verdict"] == "degraded"


def test_another_migration_in_between_stops_the_rollback(ran: EdgeCases) -> None:
    """Where somebody has migrated on meanwhile, nothing is rolled back, and a person is told why."""
    case = ran.cases["between"]
    assert (case.code, case.guard["rolled_back"], case.shop.revision()) == (1, False, "0003"), case.errors
    assert "another migration ran in the meantime" in case.guard["not_rolled_back"]
    assert [phase for _, phase, _ in case.phases()] == ["degraded", "failed"]


def test_a_revision_that_was_never_rehearsed_is_warned_of(ran: EdgeCases) -> None:
    """Before an upgrade that may be rolled back, each revision that was never rehearsed is named, and no other."""
    warned = {name: "0002 was never rehearsed" in case.errors for name, case in ran.cases.items() if name != "lost"}
    assert warned == {"recovered": True, "unheard": True, "between": False}


def test_a_prometheus_that_dies_leaves_it_open(ran: EdgeCases) -> None:
    """Where Prometheus dies during the watch, the verdict is inconclusive after bounded retries."""
    case = ran.cases["lost"]
    assert case.code == 3, case.errors
    said = case.out.splitlines()[-1]
    assert said.startswith("inconclusive: cannot read") or "no newer samples" in said, said  # on a busy machine
    assert [each["verdict"] for each in case.shop.events("judged")] == ["inconclusive"]
    assert case.phases() == []
