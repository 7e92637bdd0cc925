"""webargs: a body that is no JSON, which it answers itself, and what a view declares.

All else that it validates, marshmallow does.
"""

from __future__ import annotations

import json
from time import perf_counter
from typing import Any

from webargs.core import Parser

from ... import faults
from ..._recording import framework_names, problems
from ..._recording.recorder import Recorder
from ...patching import Patches
from ...semconv import VALIDATION_ERROR
from . import _declared

REQUIRES = "webargs >= 8, < 9"
_COMPONENT = "webargs"
_parser: Any = Parser


def install(recorder: Recorder, patches: Patches) -> None:
    """See which Schema a location was to be loaded for when it could not be read."""
    _declared.install(recorder, patches)
    load: Any = _parser._load_location_data

    def _load_location_data(self: Any, *, schema: Any, **kwargs: Any) -> Any:
        began = perf_counter()
        try:
            return load(self, schema=schema, **kwargs)
        except Exception as error:
            _failed(schema, error, perf_counter() - began)
            raise

    patches.replace(_parser, "_load_location_data", _load_location_data)
    load_async: Any = getattr(_parser, "_async_load_location_data", None)
    if load_async is None:
        return

    async def _async_load_location_data(self: Any, schema: Any, **kwargs: Any) -> Any:
        began = perf_counter()
        try:
            return await load_async(self, schema=schema, **kwargs)
        except Exception as error:
            _failed(schema, error, perf_counter() - began)
            raise

    patches.replace(_parser, "_async_load_location_data", _async_load_location_data)


@faults.guarded(_COMPONENT, None)
def _failed(schema: Any, error: BaseException, took: float) -> None:
    """What is raised is for the framework that webargs serves; it was raised while a decoding error was handled."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, (json.JSONDecodeError, UnicodeDecodeError)):
        cause = cause.__context__
    probe = framework_names.probe_of(schema)
    if cause is not None and probe is not None:
        probe.failed(took, "invalid", VALIDATION_ERROR, lambda: [problems.MALFORMED])
