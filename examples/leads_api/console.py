"""What the demo and the pipeline show alike, and how both end."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable

import httpx
from opentelemetry.instrumentation.schema._prometheus.http import SourceError
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from figures import ERROR_RATE, HIT_RATE, P95, Figure
from leads_api import traffic
from leads_api.truth import Truth
from processes import ProgramError

# a pipe has no width: wide enough for the widest table
console = Console(width=None if sys.stdout.isatty() else 120)

Check = Callable[[], None]
"""Called again and again by whatever takes long; what it raises ends that."""


def exit_code(run: Callable[[Check], bool]) -> int:
    """Run a program that starts others, and end it in order at Ctrl-C or SIGTERM.

    Args:
        run: shows everything and returns whether every figure is right.

    Returns:
        0 if all is right, 1 if a figure or an answer is not, 2 if something did not start, 130 if it was interrupted.
    """
    stop = threading.Event()

    def interrupt(*_: object) -> None:
        # only once: a second Ctrl-C must not interrupt the ending of the programs
        if not stop.is_set():
            stop.set()
            raise KeyboardInterrupt

    def check() -> None:
        # ends the client threads too: Ctrl-C interrupts only the main one, which then waits for them
        if stop.is_set():
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)
    try:
        return 0 if run(check) else 1
    except (ProgramError, SourceError, OSError) as error:
        console.print(f"[red]{escape(str(error))}[/]")
        return 2
    except (traffic.UnexpectedAnswer, httpx.TransportError) as error:
        console.print(f"[red]the app did not answer as it must: {escape(str(error))}[/]")
        return 1
    except KeyboardInterrupt:
        console.print("ended")
        return 130


def send(app: str, check: Check, *, what: str, seed: int, requests: int, rate: float, threads: int) -> Truth:
    """Send the mix `demo` with a progress bar.

    Raises:
        UnexpectedAnswer: if the app answers otherwise than it must.
        httpx.TransportError: if it cannot be reached.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(what, total=requests)

        def step(done: int, _total: int) -> None:
            check()
            progress.update(task, completed=done)

        return traffic.run(app, "demo", seed=seed, requests=requests, rate=rate, threads=threads, on_progress=step)


def keep(app: str, check: Check, seed: int) -> None:
    """Keep a little traffic of a quiet day going until `check` raises."""
    while True:
        seed += 1
        traffic.run(app, "steady", seed=seed, requests=100, rate=5, on_progress=lambda *_: check())


def show_figures(how: str, rows: list[Figure]) -> bool:
    """Show figures beside the truth, and return whether all are right."""
    console.rule("The three promised figures", align="left")
    console.print(how, highlight=False)
    for expression in (P95, ERROR_RATE, HIT_RATE):
        console.print(f"  {expression}", style="dim", highlight=False, markup=False, soft_wrap=True)
    table = Table(border_style="dim")
    table.add_column("Figure")
    table.add_column("Telemetry", justify="right")
    table.add_column("Generator", justify="right")
    table.add_column("")
    for row in rows:
        table.add_row(row.what, row.measured, row.truth, "[green]right[/]" if row.right else "[bold red]WRONG[/]")
    console.print(table)
    return all(row.right for row in rows)
