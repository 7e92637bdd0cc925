"""The leads API as a program: a database of its own, and the app unchanged under `opentelemetry-instrument`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from console import console
from processes import HOST, beside_python, clean_environment, listens, once, program

HERE = Path(__file__).parent


def start(
    stack: ExitStack,
    directory: Path,
    port: int,
    telemetry: Mapping[str, str],
    *options: str,
    ready: Callable[[], bool] = lambda: True,
) -> str:
    """Migrate a new database in `directory`, and serve the app until the stack unwinds.

    Args:
        stack: what ends it.
        directory: takes the database and the app's log.
        port: of loopback.
        telemetry: every setting of OpenTelemetry; shown, as is the command line.
        options: of uvicorn.
        ready: what else must hold beyond a listening port.

    Returns:
        The app's URL.

    Raises:
        ProgramError: if it does not start.
    """
    environment = clean_environment() | {
        "PYTHONPATH": str(HERE),
        "LEADS_DATABASE_URL": f"sqlite:///{directory / 'leads.sqlite3'}",
    }
    serve = ["uvicorn", "leads_api.app:app", "--host", HOST, "--port", str(port), "--no-access-log", *options]
    console.rule("The app, unchanged, under opentelemetry-instrument", align="left")
    for key, value in telemetry.items():
        console.print(f"  {key}={value} \\", style="dim", highlight=False, soft_wrap=True)
    console.print(f"  opentelemetry-instrument {' '.join(serve)}\n", highlight=False, soft_wrap=True)
    once("alembic upgrade", [sys.executable, "-m", "alembic", "upgrade", "head"], environment, HERE)
    stack.enter_context(
        program(
            "the app",
            [beside_python("opentelemetry-instrument"), sys.executable, "-m", *serve],
            directory / "app.log",
            lambda: listens(port) and ready(),
            environment | telemetry,
        )
    )
    return f"http://{HOST}:{port}"
