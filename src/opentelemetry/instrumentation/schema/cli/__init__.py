"""`otel-schema`: the commands for everything outside the application.

Exit codes of every command: 0 fine, 1 a finding, 2 a usage or environment error, 3 inconclusive.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

_EXTRA = ("click", "rich")


def main() -> None:
    """Run the console script. Without the extra `[cli]`, name the missing packages and exit with 2."""
    missing = [name for name in _EXTRA if find_spec(name) is None]
    if missing:
        print(
            f'otel-schema needs {", ".join(missing)}: pip install "opentelemetry-instrumentation-schema[cli]"',
            file=sys.stderr,
        )
        sys.exit(2)
    from .group import otel_schema

    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed, as some cron and init programs do; no other file may get its number
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 -- open to the end
    for stream in (sys.stdout, sys.stderr):
        # what a terminal's encoding lacks is shown by its number
        stream.reconfigure(errors="backslashreplace")  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    otel_schema()
