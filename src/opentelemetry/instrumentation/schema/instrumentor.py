"""The entry point that `opentelemetry-instrument` calls. It only wires."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Collection
from importlib.metadata import PackageNotFoundError, entry_points, version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor
from opentelemetry.metrics import get_meter, get_meter_provider
from opentelemetry.trace import get_tracer, get_tracer_provider

from . import semconv, settings
from ._live.mismatches import Mismatches
from ._live.versions import Versions
from ._recording import cells, stack
from ._recording.processes import Instance
from ._recording.recorder import Recorder
from .patching import Patches
from .requires import supports

if TYPE_CHECKING:
    from typing_extensions import Unpack

_log = logging.getLogger(__name__)
_INTEGRATIONS = f"{__package__}.integrations"

# What must be imported by the app → the integration that then looks at it.
INTEGRATIONS = {
    "pydantic": "pydantic",
    "jsonschema": "jsonschema",
    "marshmallow": "marshmallow",
    "sqlalchemy": "sqlalchemy",
    "alembic": "alembic",
    "starlette": "starlette",
    "fastapi": "fastapi",
    "flask": "flask",
    "django": "django",
    "ninja": "ninja",
    "celery": "celery",
    "webargs": "webargs",
    "billiard": "billiard",
}


class SchemaInstrumentor(BaseInstrumentor):  # type: ignore[misc]  # untyped in opentelemetry-instrumentation
    """Metrics and spans for every schema validation.

    `instrument()` takes what `settings.Arguments` lists.
    """

    _recorder: Recorder | None = None
    _patches: Patches | None = None

    if TYPE_CHECKING:

        def instrument(self, **kwargs: Unpack[settings.Arguments]) -> None:
            """Observe every schema validation from now on."""

        def uninstrument(self, **kwargs: Any) -> None:
            """Restore every library as it was."""

        @property
        def is_instrumented_by_opentelemetry(self) -> bool:
            """Whether `instrument()` was called last."""
            ...

    def instrumentation_dependencies(self) -> Collection[str]:
        """None that all apps need: each integration checks its own library."""
        return ()

    def _instrument(self, **kwargs: Any) -> None:
        chosen = settings.load(kwargs)
        unknown = sorted(set(chosen.disabled) - set(INTEGRATIONS))
        if unknown:
            _log.warning(
                "OTEL_PYTHON_SCHEMA_DISABLED names an unknown integration: %s (choose from %s)",
                ", ".join(unknown),
                ", ".join(INTEGRATIONS),
            )
        under_instrument = "opentelemetry.instrumentation.auto_instrumentation" in sys.modules
        if under_instrument and kwargs.get("meter_provider") is None:
            _warn_unless_configured()
        meter = get_meter(semconv.SCOPE, _version(), kwargs.get("meter_provider"), semconv.SCHEMA_URL)
        tracer = get_tracer(semconv.SCOPE, _version(), kwargs.get("tracer_provider"), semconv.SCHEMA_URL)
        recorder, patches = Recorder(chosen, meter, tracer), Patches()
        recorder.providers = kwargs.get("tracer_provider"), kwargs.get("meter_provider")
        versions = Versions(recorder)
        recorder.observers[semconv.SCHEMA_INFO.name] = versions.observe
        recorder.after_fork.append(versions.reset_after_fork)
        mismatches = Mismatches(recorder)
        versions.on_read = mismatches.add
        recorder.observers[semconv.MISMATCHES.name] = mismatches.observe
        recorder.after_fork.append(mismatches.reset_after_fork)
        if chosen.revision_interval:
            from ._live import revisions

            revisions.watch(recorder)
        try:
            patches.undo(recorder.close)
            patches.undo(mismatches.join, 1.0)
            if under_instrument:  # an app that sets up its own providers also chooses their identity
                patches.undo(Instance(get_meter_provider(), get_tracer_provider()).close)
            patches.on_import("greenlet", f"{__package__}._recording.stack", stack.follow_greenlets)
            if chosen.aggregation == "fold":
                patches.on_import("opentelemetry.sdk.metrics", f"{__package__}._recording.cells", cells.warm_up_fold)
            workers = "multiprocessing.util"
            patches.on_import(workers, f"{__package__}._recording.recorder", lambda _: recorder.watch_workers(workers))
            for library, name in INTEGRATIONS.items():
                if name not in chosen.disabled:
                    patches.on_import(
                        library, f"{_INTEGRATIONS}.{name}.install", lambda module: _install(module, recorder, patches)
                    )
        except BaseException:
            patches.close()
            raise
        self._recorder, self._patches = recorder, patches

    def _uninstrument(self, **kwargs: Any) -> None:
        if self._patches is not None:
            self._patches.close()
        self._recorder = self._patches = None


def _warn_unless_configured() -> None:
    """Log which package is missing if `opentelemetry-instrument` found none that sets up an SDK."""
    unset = type(get_meter_provider()).__module__.startswith("opentelemetry.metrics")  # the API's own, which drop all
    if entry_points(group="opentelemetry_configurator") or not unset:
        return
    _log.warning(
        "no OpenTelemetry SDK is set up, so schema validations are not measured: %s is not installed "
        "(pip install 'opentelemetry-instrumentation-schema[quickstart]')",
        "opentelemetry-distro" if find_spec("opentelemetry.sdk") else "opentelemetry-sdk",
    )


def _install(integration: Any, recorder: Recorder, patches: Patches) -> None:
    name = re.split(r"[\s<>=]", integration.REQUIRES, maxsplit=1)[0]
    try:
        installed = version(name)
    except PackageNotFoundError:
        installed = None  # vendored or frozen: there is no metadata to ask
    if installed is not None and not supports(integration.REQUIRES, installed):
        _log.warning(
            "%s %s is outside of the supported range %s: it is not instrumented", name, installed, integration.REQUIRES
        )
        return
    own = Patches()
    try:
        integration.install(recorder, own)
    except BaseException:
        own.close()
        raise
    patches.undo(own.close)


def _version() -> str:
    try:
        return version("opentelemetry-instrumentation-schema")
    except PackageNotFoundError:
        return ""
