#!/usr/bin/env python3
"""Ask for known vulnerabilities of what CI, the builds and the pictures install; fail on each that is not accepted.

    audit.py [--answers required]

pip-audit reads constraints.txt, govulncheck the collector's binary, npm audit the lock of dashboards/pictures. Where a
database does not answer it is said; with `--answers required` it fails. accepted-findings.txt holds what stays open:

    ID  YYYY-MM-DD  reason

The day is when it is looked at again: after it the finding fails. A line that no database reports any more fails too.
"""
# ruff: noqa: S603 - it runs pip-audit, go and npm: that is its purpose

from __future__ import annotations

import argparse
import datetime
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
ACCEPTED = ROOT / ".ci" / "accepted-findings.txt"


class Finding(NamedTuple):
    """One vulnerability in one package."""

    id: str
    package: str
    tool: str


class NoAnswer(Exception):
    """A tool could not ask its database; the message is its last line."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--answers", choices=["required", "welcome"], default="welcome")
    required = parser.parse_args().answers == "required"
    found: list[Finding] = []
    silent: list[str] = []
    for name, ask in TOOLS.items():
        print(f"{name} …", flush=True)
        try:
            findings = list(ask())
        except NoAnswer as error:
            silent.append(name)
            print(f"  no answer: {error}")
        else:
            found += findings
            print(f"  {len(findings)} findings")
    problems = judge(found, accepted(ACCEPTED.read_text()), datetime.date.today(), set(TOOLS) - set(silent))
    if required:
        problems += [f"{name} did not answer" for name in silent]
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def accepted(text: str) -> dict[str, datetime.date]:
    """Return the day until which each ID is accepted.

    Raises:
        SystemExit: if a line is not `ID DAY REASON`; names it.
    """
    days: dict[str, datetime.date] = {}
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        try:
            identifier, day, _reason = line.split(maxsplit=2)
            days[identifier] = datetime.date.fromisoformat(day)
        except ValueError:
            raise SystemExit(f"{ACCEPTED.name}: not `ID YYYY-MM-DD reason`: {line}") from None
    return days


def judge(
    found: Iterable[Finding], days: dict[str, datetime.date], today: datetime.date, answered: set[str]
) -> list[str]:
    """Return what is wrong: a finding that is not accepted, or not any more, and an acceptance of nothing."""
    problems = []
    seen = set()
    for finding in sorted(set(found)):
        seen.add(finding.id)
        day = days.get(finding.id)
        if day is None:
            problems.append(f"{finding.id} in {finding.package} ({finding.tool})")
        elif day < today:
            problems.append(f"{finding.id} in {finding.package} was accepted until {day}: look at it again")
    if answered == set(TOOLS):  # otherwise the database that knows it may be the silent one
        problems += [
            f"{identifier} is accepted, and nothing reports it" for identifier in days if identifier not in seen
        ]
    return problems


def python() -> Iterator[Finding]:
    """Ask pip-audit about every line of constraints.txt, whatever its marker."""
    pins = re.findall(r"^([\w.-]+==[\w.+-]+)", (ROOT / "constraints.txt").read_text(), re.M)
    with Path(ROOT, ".venv-audit", "pins.txt").open("w") as file:
        newest = {pin.partition("==")[0].lower(): pin for pin in sorted(pins)}
        file.write("\n".join(newest.values()))
    command = ["pip-audit", "-f", "json", "--no-deps", "--disable-pip", "--progress-spinner=off", "-r", file.name]
    command[0] = str(Path(sys.executable).with_name(command[0]))
    dependencies = answer(command)["dependencies"]
    skipped = [dependency["name"] for dependency in dependencies if "skip_reason" in dependency]
    if len(skipped) == len(dependencies):
        raise NoAnswer(f"{len(skipped)} packages were not found in the database")
    for dependency in dependencies:
        for vulnerability in dependency.get("vulns", []):
            yield Finding(vulnerability["id"], dependency["name"], "pip-audit")


def go() -> Iterator[Finding]:
    """Ask govulncheck about the collector that these configs run."""
    build = [sys.executable, str(ROOT / "collector-config" / "distribution" / "build.py"), "small"]
    built = subprocess.run(build, capture_output=True, text=True)
    if built.returncode:
        raise NoAnswer(last(built.stderr))
    command = ["go", "tool", "govulncheck", "-mode=binary", "-format=json", built.stdout.strip()]
    done = subprocess.run(command, cwd=ROOT / ".ci" / "tools", capture_output=True, text=True)
    if done.returncode:
        raise NoAnswer(last(done.stderr))
    for message in messages(done.stdout):
        if "finding" in message:
            yield Finding(message["finding"]["osv"], message["finding"]["trace"][0]["module"], "govulncheck")


def npm() -> Iterator[Finding]:
    """Ask npm about the lock of what draws the pictures."""
    report = answer(["npm", "audit", "--package-lock-only", "--json"], ROOT / "dashboards" / "pictures")
    for package, vulnerability in report["vulnerabilities"].items():
        for cause in vulnerability["via"]:
            if isinstance(cause, dict):  # a text names another package of this report
                yield Finding(cause["url"].rpartition("/")[2], package, "npm audit")


TOOLS: dict[str, Callable[[], Iterator[Finding]]] = {"pip-audit": python, "govulncheck": go, "npm audit": npm}


def answer(command: list[str], folder: Path = ROOT) -> dict[str, Any]:
    """Run a tool whose exit code says whether it found something, and return its JSON. Raises NoAnswer."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        report = json.loads(done.stdout)
    except FileNotFoundError as error:
        raise NoAnswer(f"{error.filename} is not installed") from None
    except ValueError:
        raise NoAnswer(last(done.stderr)) from None
    if "dependencies" not in report and "vulnerabilities" not in report:
        raise NoAnswer(str(report.get("message") or report.get("error")))
    return report


def messages(text: str) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects that follow each other in a text."""
    decoder, at = json.JSONDecoder(), 0
    while (at := at + len(text[at:]) - len(text[at:].lstrip())) < len(text):
        message, at = decoder.raw_decode(text, at)
        yield message


def last(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "it said nothing"


if __name__ == "__main__":
    sys.exit(main())
