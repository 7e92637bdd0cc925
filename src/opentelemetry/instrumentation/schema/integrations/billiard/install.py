"""billiard, whose processes Celery's prefork pool runs: saves the last measurements of each."""

from __future__ import annotations

import sys
from typing import Any

from ..._recording.recorder import Recorder
from ...patching import Patches

REQUIRES = "billiard >= 3.6, < 5"


def install(recorder: Recorder, patches: Patches) -> None:
    """Wait for processes and pools: importing billiard's top-level module loads nothing of them."""
    patches.on_import("billiard.util", __name__, lambda _: recorder.watch_workers("billiard.util"))
    patches.on_import("billiard.pool", __name__, lambda _: patch(recorder, patches))


def patch(recorder: Recorder, patches: Patches) -> None:
    """Save the measurements of each worker of a pool: it ends by `os._exit`, also when the pool replaces it."""

    def do_exit(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
        if recorder.workers is not None:
            recorder.workers.end()
        return wrapped(*args, **kwargs)

    patches.wrap(sys.modules["billiard.pool"].Worker, "_do_exit", do_exit)
