"""What `make scenario` runs: the story that this project was made for, with real programs and nobody at the keyboard.

    python examples/scenario/scenario.py [--fast] [--acts 1,1b,2,3] [--out DIRECTORY]

1. An update adds a required field. It is migrated and served under guard; errors, time and the cache show it; the
   guard says degraded; alerts fire and the team hears of them; an exemplar leads to the trace; a person rolls back;
   everything resolves. 1b. The same with --auto-rollback: rolled back before anybody is paged. 2. A harmless migration
   passes.
3. So does one during whose watch a deployment refuses requests for a minute.

Writes a timeline (SVG), a report and all logs. Exits with 1, naming the stage, if a stage does not happen.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from acts import ACTS, counts
from clients import Clients
from scale import Scale
from story import MissingStage, Story
from timeline import Timeline, Watcher, draw

from console import console
from processes import ProgramError, tail
from stack import SCRAPE, Stack


def play(name: str, acts: list[Callable[[Story], None]], scale: Scale, out: Path, rate: float) -> bool:
    """Plays acts in a stack of their own; whether every stage happened."""
    console.rule(f"Act {name}", align="left")
    with ExitStack() as running, tempfile.TemporaryDirectory(prefix="scenario-", dir="/tmp") as home:
        stack = Stack(running, Path(home), scale)
        story: Story | None = None
        problem = ""
        try:
            stack.start()
            story = Story(stack, Clients(stack.url("app"), rate), Timeline())
            story.clients.start()
            with Watcher(story.look, scale.seconds(SCRAPE)):
                for act in acts:
                    act(story)
                counts(story)
        except (MissingStage, ProgramError) as error:
            problem = str(error)
            console.print(f"  [bold red]✗ {problem}[/]", highlight=False)
            for log in ("app.log", "commands.log"):
                if (stack.home / log).exists():
                    console.print(tail(stack.home / log), style="dim", highlight=False)
        finally:
            if story:
                story.clients.stop()
                _write(story, name, out, problem)
            running.close()
    return not problem


def _write(story: Story, name: str, out: Path, problem: str) -> None:
    folder = out / f"act-{name}"
    folder.mkdir(parents=True, exist_ok=True)
    factor = story.stack.scale.factor
    title = f"Act {name}" if factor == 1 else f"Act {name}, {factor:g} times faster than promised"
    (folder / "timeline.svg").write_text(draw(story.timeline, title))
    lines = [f"# Act {name}", "", "| s | stage | |", "|---|---|---|"]
    lines += [f"| {at:.0f} | {what} | {detail} |" for at, what, detail in story.stages]
    if problem:
        lines += ["", f"**Missing: {problem}**"]
    (folder / "report.md").write_text("\n".join(lines) + "\n")
    heard = [each._asdict() for each in story.stack.webhook.heard]
    (folder / "heard.json").write_text(json.dumps(heard, indent=1))
    for log in story.stack.home.glob("*.log"):
        (folder / log.name).write_bytes(log.read_bytes())
    console.print(f"  timeline, report and logs: {folder}", highlight=False)


def main() -> int:
    """Runs the acts; the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--fast", action="store_true", help="every time constant divided by ten")
    parser.add_argument("--acts", default="1,1b,2,3")
    parser.add_argument("--rate", type=float, default=20, help="requests a second")
    parser.add_argument("--out", type=Path, default=Path("build/scenario"))
    options = parser.parse_args()
    scale = Scale(10.0 if options.fast else 1.0)
    began = time.monotonic()
    played = {name: play(name, ACTS[name], scale, options.out, options.rate) for name in options.acts.split(",")}
    console.rule(f"{time.monotonic() - began:.0f} s", align="left")
    for name, happened in played.items():
        console.print(f"  act {name}: {'every stage happened' if happened else '[red]a stage is missing[/]'}")
    return 0 if all(played.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
