"""What `make scenario` runs: the story that this project was made for, with real programs and nobody at the keyboard.

    python -m scenario [--fast] [--acts 1,1b,2,3] [--out DIRECTORY]

1. An update adds a required field. It is migrated and served under guard; errors, time and the cache show it; the
   guard says degraded; alerts fire and the team hears of them; an exemplar leads to the trace; a person rolls back;
   everything resolves. 1b. The same with --auto-rollback: rolled back before anybody is paged. 2. A harmless migration
   passes.
3. So does one during whose watch a deployment goes wrong for a minute.

Writes timelines (SVG, PNG), reports and all logs. Exits with 1, naming the stage, if a stage does not happen.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from console import console
from processes import ProgramError, tail
from scenario.acts import ACTS, steady
from scenario.clients import Clients
from scenario.scale import Scale
from scenario.stack import BREAKS, SCRAPE, Stack, come_first
from scenario.story import ALARMS, MissingStage, Story
from scenario.timeline import Timeline, Watcher, draw

TOGETHER = (("1",), ("1b",), ("2", "3"))
"""Acts that are played one after another in one stack; the stacks run at the same time."""

RATE, FAST_RATE = 12.0, 30.0
"""Requests a second; more where the guard needs enough of them for a pass, in a watch that is ten times shorter."""

WARM = 60.0
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def play(acts: tuple[str, ...], options: argparse.Namespace) -> int:
    """Play acts in a stack of their own; the exit code."""
    scale = Scale(10.0 if options.fast else 1.0)
    brings, start = (("harmless", "update"), "0002a") if {"1", "1b"} & {*acts} else (("harmless",), "0002")
    name, problem = "+".join(acts), ""
    rate = options.rate or (FAST_RATE if options.fast and "3" in acts else RATE)
    with ExitStack() as running:
        home = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="scenario-", dir="/tmp")))
        inner = running.enter_context(ExitStack())
        stack = Stack(inner, home, scale, options.limit, brings, options.broken, options.store, come_first(1))
        story: Story | None = None
        try:
            stack.start(start)
            story = Story(name, stack, Clients(stack.url("app"), rate), Timeline(options.limit, ALARMS))
            story.clients.start()
            story.sleep(WARM)
            stack.watch()
            with Watcher(story.look, scale.seconds(SCRAPE)):
                for part in [steady, *(part for act in acts for part in ACTS[act])]:
                    part(story)
        except (MissingStage, ProgramError) as error:
            problem = str(error)
        finally:
            if story:
                story.clients.stop()
            _write(name, home, story, options.out, scale, problem)
    if problem:
        console.print(f"[bold red]✗ act {name}: {problem}[/]", highlight=False, soft_wrap=True)
    return 1 if problem else 0


def _write(name: str, home: Path, story: Story | None, out: Path, scale: Scale, problem: str) -> None:
    folder = out / f"act-{name}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for log in home.glob("*.log"):
        (folder / log.name).write_bytes(log.read_bytes())
    if problem:
        for log in (folder / "app.log", folder / "commands.log"):
            if log.exists():
                console.print(tail(log), style="dim", highlight=False, markup=False)
    if story is None:
        return
    title = f"Act {name}" if scale.factor == 1 else f"Act {name}, {scale.factor:g} times faster than promised"
    svg = folder / "timeline.svg"
    svg.write_text(draw(story.timeline, title))
    lines = [f"# {title}", "", "| s | stage | |", "|---|---|---|"]
    lines += [f"| {at:.0f} | {what} | {detail} |" for at, what, detail in story.stages]
    if problem:
        lines += ["", f"**Missing: {problem}**"]
    for what, rows in story.tables.items():
        lines += ["", f"## {what}", "", _row(rows[0]), "|---" * len(rows[0]) + "|", *map(_row, rows[1:])]
    (folder / "report.md").write_text("\n".join(lines) + "\n")
    heard = [each._asdict() for each in story.stack.webhook.received]
    (folder / "heard.json").write_text(json.dumps(heard, indent=1))
    story.say(f"timeline, report and logs: {folder}{photograph(svg)}")


def _row(cells: tuple[object, ...]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def photograph(svg: Path) -> str:
    """Draw a picture as PNG beside it, or say why that is not possible."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        return " (no PNG: no Chromium on PATH; Debian: apt-get install chromium)"
    width, height = svg.read_text().partition('viewBox="0 0 ')[2].partition('"')[0].split()
    flags = [
        "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={width},{height}",
        f"--screenshot={svg.with_suffix('.png').resolve()}",
    ]  # fmt: skip
    try:
        subprocess.run([browser, *flags, svg.resolve().as_uri()], capture_output=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return f" (no PNG: {error})"
    return ""


def together(groups: list[tuple[str, ...]], arguments: list[str]) -> int:
    """Play each group in a process of its own, all at the same time; the exit code."""
    children = [
        (group, subprocess.Popen([sys.executable, "-m", "scenario", *arguments, f"--acts={','.join(group)}"]))
        for group in groups
    ]
    began = time.monotonic()
    try:
        codes = {"+".join(group): child.wait() for group, child in children}
    finally:
        for _, child in children:
            child.terminate()
        for _, child in children:
            child.wait()
    console.rule(f"{time.monotonic() - began:.0f} s", align="left")
    for name, code in codes.items():
        console.print(f"  act {name}: {'every stage happened' if code == 0 else '[red]a stage is missing[/]'}")
    return 0 if not any(codes.values()) else 1


def main() -> int:
    """Play the acts; the exit code."""
    parser = argparse.ArgumentParser(prog="scenario", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--fast", action="store_true", help="every time constant divided by ten")
    parser.add_argument("--acts", default="1,1b,2,3")
    parser.add_argument("--rate", type=float, help="requests a second")
    parser.add_argument(
        "--limit", type=float, default=0.25, help="seconds of the 95th percentile from which HighValidationTime fires"
    )
    parser.add_argument("--break", dest="broken", choices=BREAKS, default="", help="break something on purpose")
    parser.add_argument("--store", choices=("sink", "jaeger"), default="sink", help="what keeps the traces")
    parser.add_argument("--out", type=Path, default=Path("build/scenario"))
    options = parser.parse_args()
    acts = options.acts.split(",")
    groups = [group for each in TOGETHER if (group := tuple(act for act in each if act in acts))]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if len(groups) > 1:
        return together(groups, sys.argv[1:])
    return play(groups[0], options)


if __name__ == "__main__":
    sys.exit(main())
