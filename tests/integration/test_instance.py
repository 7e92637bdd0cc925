"""The instance id that a process gets where the SDK or the environment gives none of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from opentelemetry.instrumentation.schema._recording.processes import Instance
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from tests.integration.differential import in_child

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

ID = "service.instance.id"


class Providers:
    """An SDK as `opentelemetry-instrument` sets it up: one resource for all signals."""

    def __init__(self, **attributes: str) -> None:
        resource = Resource({"service.name": "leads", **attributes})
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader], resource=resource, shutdown_on_exit=False)
        self.tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
        self.tracer = self.tracers.get_tracer("app")
        self.meters.get_meter("app").create_counter("calls").add(1)

    def ids(self) -> tuple[object, object, object]:
        """As metrics, a new tracer and one that was there before say it."""
        (metrics,) = self.reader.get_metrics_data().resource_metrics
        spans = [tracer.start_span("span") for tracer in (self.tracers.get_tracer("new"), self.tracer)]
        assert metrics.resource.attributes["service.name"] == "leads"
        return tuple(resource.attributes.get(ID) for resource in (metrics.resource, *(s.resource for s in spans)))


@pytest.fixture
def closing() -> Iterator[list[Instance]]:
    """What a test puts in here is switched off at its end: its fork hook cannot be taken back."""
    instances: list[Instance] = []
    yield instances
    for instance in instances:
        instance.close()


def test_an_sdk_that_gives_no_id(closing: list[Instance]) -> None:
    """Without an id a process gets one at random, the same for metrics and spans, and its children others."""
    providers = Providers()
    assert providers.ids() == (None, None, None)
    closing.append(Instance(providers.meters, providers.tracers))
    parents = providers.ids()
    assert len(set(parents)) == 1
    assert len(str(parents[0])) == 36

    def child() -> None:
        own = providers.ids()
        assert own[0] not in (None, parents[0])
        in_child(lambda: _differs(providers, own[0], parents[0]))

    in_child(child)
    assert providers.ids() == parents


def _differs(providers: Providers, *others: object) -> None:
    assert providers.ids()[0] not in (None, *others)


def test_an_id_that_is_the_processes_own(closing: list[Instance]) -> None:
    """An id that somebody chose stays the id of the process that it was chosen for; its children have others."""
    providers = Providers(**{ID: "mine"})
    closing.append(Instance(providers.meters, providers.tracers))
    assert set(providers.ids()) == {"mine"}
    in_child(lambda: _differs(providers, "mine"))


def test_an_id_that_a_spawned_worker_inherited(closing: list[Instance], monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that multiprocessing started adds its process id to the id that the environment gave to all."""
    monkeypatch.setattr("sys.orig_argv", ["python", "-c", "spawn_main()", "--multiprocessing-fork"])
    providers = Providers(**{ID: "pod-1"})
    closing.append(Instance(providers.meters, providers.tracers))
    assert set(providers.ids()) == {f"pod-1.{os.getpid()}"}


def test_a_foreign_provider_is_left_alone(closing: list[Instance]) -> None:
    """Providers that are not the SDK's, and none at all, are no error."""

    class Foreign:
        resource = "mine"

    closing.append(Instance(Foreign(), None, object()))
    assert Foreign.resource == "mine"
