"""`otel-schema`: the commands for everything outside the application.

Exit codes of every command: 0 fine, 1 a finding, 2 a usage or environment error, 3 inconclusive.
"""

from __future__ import annotations

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

    for stream in (sys.stdout, sys.stderr):
        # what a terminal's encoding lacks is shown by its number
        stream.reconfigure(errors="backslashreplace")  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    otel_schema()
