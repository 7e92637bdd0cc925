"""Celery: the distribution that makes the Celery application makes the application that a worker runs."""

from __future__ import annotations

import sys
from typing import Any

from ..._recording.application import watched_init
from ..._recording.recorder import Recorder
from ...patching import Patches

REQUIRES = "celery >= 5, < 6"


def install(recorder: Recorder, patches: Patches) -> None:
    """Wait for the class: importing Celery's top-level module loads nothing of it."""
    patches.on_import("celery.app.base", __name__, lambda _: patch(recorder, patches))


def patch(recorder: Recorder, patches: Patches) -> None:
    """Note which code makes a Celery application."""
    cls: Any = sys.modules["celery.app.base"].Celery
    patches.replace(cls, "__init__", watched_init(recorder.owned.application.note_job_maker, vars(cls)["__init__"]))
