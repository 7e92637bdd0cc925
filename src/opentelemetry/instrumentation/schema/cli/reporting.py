"""The one reporter of commands that report findings: text, JSON, GitHub annotations, JUnit and Markdown."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Any, Final, Literal
from xml.sax.saxutils import escape, quoteattr

import click

FORMATS: Final = ("text", "json", "github", "junit", "markdown")

Level = Literal["error", "unknown", "warning", "note"]
LEVELS: Final[tuple[Level, ...]] = ("error", "unknown", "warning", "note")
"""The worst first. `unknown`: nobody could judge it. A `note` is fine."""

GITHUB_MOST: Final = 10
"""How many annotations of one kind GitHub shows for a step."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """One finding.

    Attributes:
        code: The code of its rule; stable.
        level: How bad it is.
        subject: What it is about: a schema, a table, a file.
        group: A heading within the subject, such as a direction.
        path: The path of the field, if there is one.
        message: The fact.
        why: What happens, or what to do.
        fingerprint: The same for the same finding in the next commit.
        file: Relative to the repository, with `/`.
        line: From 1.
        approval: Who accepted it and why; then it does not count.
        details: Facts for machines.
        remarks: Further lines for people.
        cause: Equal for findings that the text report shows as one; empty for none.
    """

    code: str
    level: Level
    subject: str
    message: str
    why: str = ""
    group: str = ""
    path: str = ""
    fingerprint: str = ""
    file: str | None = None
    line: int | None = None
    approval: str | None = None
    details: dict[str, Any] = field(default_factory=dict[str, Any])
    remarks: tuple[str, ...] = ()
    cause: str = ""

    @property
    def counts(self) -> bool:
        """Whether it decides the exit code."""
        return self.approval is None and self.level in ("error", "unknown")


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a command found.

    Attributes:
        command: The command's name.
        result: The result in one word.
        summary: The result in one sentence.
        items: The findings.
        verdicts: One row per subject, for the overview: column → value.
        remarks: Further lines for people.
        details: Facts for machines.
        lines: Whether the text has one line for each finding, by place, instead of a block for each subject.
    """

    command: str
    result: str
    summary: str
    items: Sequence[Item]
    verdicts: Sequence[dict[str, str]] = ()
    remarks: Sequence[str] = ()
    details: dict[str, Any] = field(default_factory=dict[str, Any])
    lines: bool = False

    @property
    def exit_code(self) -> int:
        """1 if an error counts, 3 if only findings that nobody could judge count, else 0."""
        levels = {each.level for each in self.items if each.counts}
        return 1 if "error" in levels else 3 if "unknown" in levels else 0


def render(report: Report, format_: str) -> str:
    """The report in one of FORMATS."""
    lines = {"text": _text, "json": _json, "github": _github, "junit": _junit, "markdown": _markdown}[format_]
    return "\n".join(lines(report))


def format_option(function: Callable[..., None]) -> Callable[..., None]:
    """The option `--format`, and `--json` for `--format json`."""

    @wraps(function)
    def merged(*, format_: str, as_json: bool, **options: Any) -> None:  # click 8.1 takes no parameter of two options
        function(format_="json" if as_json else format_, **options)

    with_json = click.option("--json", "as_json", is_flag=True, help="The same as --format json.")(merged)
    return click.option(
        "--format", "format_", type=click.Choice(FORMATS), default="text", show_default=True, help="The output format."
    )(with_json)


def _read_as_one(items: Sequence[Item]) -> list[Item]:
    """One finding for each cause, which names the subjects of all of them."""
    others: dict[str, list[str]] = {}
    for item in items:
        if item.cause and item.approval is None:
            others.setdefault(item.cause, []).append(item.subject)
    shown: list[Item] = []
    for item in items:
        subjects = others.get(item.cause, ()) if item.approval is None else ()
        if len(subjects) < 2:
            shown.append(item)
        elif item.subject == subjects[0]:
            names = f"{', '.join(subjects[1:4])}{' …' if len(subjects) > 4 else ''}"
            remark = f"the same change in {len(subjects) - 1} more (approve one, and all are approved): {names}"
            shown.append(replace(item, remarks=(*item.remarks, remark)))
    return shown


def _worst_first(items: Sequence[Item]) -> list[Item]:
    return sorted(items, key=lambda each: (each.approval is not None, LEVELS.index(each.level)))


def _where(item: Item) -> str:
    if item.file is None:
        return ""
    return f"{item.file}:{item.line}" if item.line is not None else item.file


def _sentence(item: Item) -> str:
    text = f"{item.path}: {item.message}" if item.path else item.message
    return f"{text}. {item.why}" if item.why else text


_WORDS: Final = {"error": "BREAKING", "unknown": "NOT JUDGED", "warning": "warning", "note": "fine"}


def word(item: Item) -> str:
    """The level in a word for people; `approved` where somebody accepted it."""
    if item.approval is not None:
        return "approved"
    return item.details.get("word") or _WORDS[item.level]


def _text(report: Report) -> Iterator[str]:
    if report.lines:
        for item in report.items:
            allowed = f"allowed by {item.approval}: " if item.approval else "warning: " if not item.counts else ""
            yield f"{_where(item)}: {item.code} {allowed}{_sentence(item)}"
        yield from report.remarks
        yield report.summary
        return
    items = _read_as_one(report.items)
    for subject in dict.fromkeys(item.subject for item in items):
        mine = [item for item in items if item.subject == subject]
        holders: list[str] = mine[0].details.get("held_by", [])
        held = f"part of {', '.join(holders[:3])}{' …' if len(holders) > 3 else ''}" if holders else ""
        unused = "" if mine[0].details.get("served", True) else "no route uses it"
        place = f"{subject} ({_where(mine[0])})" if _where(mine[0]) else subject
        yield ", ".join(filter(None, (place, held, unused)))
        for item in _worst_first(mine):
            path = f"{item.path}: " if item.path else ""
            place = f"  {_where(item)}" if item.file and item.line != mine[0].line else ""
            yield f"  {word(item):<10} {item.group:<9} {path}{item.message}{place}".rstrip()
            tail = f"  [{item.fingerprint}]" if item.fingerprint and item.level != "note" else ""
            if item.why and item.level != "note":
                yield f"             {item.why}{tail}"
            for remark in (*item.remarks, *((f"approved by {item.approval}",) if item.approval else ())):
                yield f"             {remark}"
        yield ""
    yield from report.remarks
    yield report.summary


def _json(report: Report) -> Iterator[str]:
    yield json.dumps(as_data(report), indent=2)


def as_data(report: Report) -> dict[str, Any]:
    """The report as data, as `docs/findings.schema.json` describes it."""
    return {
        "version": 1,
        "command": report.command,
        "result": report.result,
        "summary": report.summary,
        "exit_code": report.exit_code,
        "findings": [_item_data(each) for each in report.items],
        "verdicts": list(report.verdicts),
        "remarks": list(report.remarks),
        **report.details,
    }


def _item_data(item: Item) -> dict[str, Any]:
    data: dict[str, Any] = {
        "code": item.code,
        "level": item.level,
        "subject": item.subject,
        "message": item.message,
        "why": item.why,
        "path": item.path,
        "fingerprint": item.fingerprint,
        "file": item.file,
        "line": item.line,
        "approved": item.approval,
    }
    return data | {key: value for key, value in item.details.items() if key != "word"}


def _github(report: Report) -> Iterator[str]:
    """Workflow commands. GitHub shows ten of a kind, so the tenth says how many more there are."""
    kinds: dict[str, list[Item]] = {"error": [], "warning": [], "notice": []}
    for item in _worst_first(_read_as_one(report.items)):
        counted = item.level in ("error", "unknown") and item.approval is None
        kinds["error" if counted else "warning" if item.level != "note" else "notice"].append(item)
    for kind, items in kinds.items():
        if kind == "notice":
            continue
        more = len(items) - GITHUB_MOST
        for number, item in enumerate(items[:GITHUB_MOST], 1):
            said = f"{_sentence(item)} [{item.fingerprint}]" if item.fingerprint else _sentence(item)
            if item.approval is not None:
                said = f"approved by {item.approval}: {said}"
            said = "\n".join((said, *item.remarks))
            if more > 0 and number == GITHUB_MOST:
                said += f"\nand {more} more: see the log, or run otel-schema {report.command}"
            place = {"file": item.file, "line": item.line, "title": _title(report, item)}
            properties = ",".join(f"{key}={_property(value)}" for key, value in place.items() if value is not None)
            yield f"::{kind} {properties}::{_data(said)}"
        for item in items[GITHUB_MOST:]:
            yield f"{_where(item)} {_title(report, item)} {_sentence(item)}".strip()
    for remark in report.remarks:
        yield _plain(remark)
    yield _plain(report.summary)


def _title(report: Report, item: Item) -> str:
    """The title of a finding in a report that shows its place elsewhere."""
    return item.code if report.lines else f"{item.subject} {item.group}".strip()


def _data(text: object) -> str:
    return str(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: object) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _plain(text: str) -> str:
    """Text that GitHub does not read as a command."""
    return text.replace("::", ": :")


def _junit(report: Report) -> Iterator[str]:
    failures = [item for item in report.items if item.counts]
    tested = list(report.verdicts) or [{"subject": item.subject} for item in report.items]
    subjects = list(dict.fromkeys(each["subject"] for each in tested))
    wrong = sum(any(item.subject == subject for item in failures) for subject in subjects)
    yield '<?xml version="1.0" encoding="UTF-8"?>'
    name = quoteattr(f"otel-schema {report.command}")
    yield f'<testsuites><testsuite name={name} tests="{len(subjects)}" failures="{wrong}" errors="0">'
    for subject in subjects:
        mine = [item for item in report.items if item.subject == subject]
        place = next((item.file for item in mine if item.file), None)
        file = f" file={quoteattr(place)}" if place else ""
        yield f"<testcase classname={quoteattr(report.command)} name={quoteattr(_xml(subject))}{file}>"
        bad = [item for item in _worst_first(mine) if item.counts]
        if bad:  # most readers of the format expect one failure a case
            texts = "\n".join(f"{word(item)} {item.group} {_sentence(item)} {_where(item)}".strip() for item in bad)
            yield f"<failure type={quoteattr(bad[0].code)} message={quoteattr(_xml(_sentence(bad[0])))}>"
            yield f"{escape(_xml(texts))}</failure>"
        rest = [item for item in mine if not item.counts and item.level != "note"]
        if rest:
            texts = "\n".join(f"{word(item)} {item.group} {_sentence(item)}" for item in rest)
            yield f"<system-out>{escape(_xml(texts))}</system-out>"
        yield "</testcase>"
    yield f"<system-out>{escape(_xml(report.summary))}</system-out>"
    yield "</testsuite></testsuites>"


def _xml(text: str) -> str:
    """Text without what XML 1.0 cannot hold."""
    return "".join(char if char in "\t\n" or (char.isprintable() or ord(char) > 0x9F) else "?" for char in text)


def _markdown(report: Report) -> Iterator[str]:
    yield f"### otel-schema {report.command}: {report.result}"
    yield ""
    yield report.summary
    shown = [item for item in _read_as_one(report.items) if item.level != "note"]
    if shown:
        yield ""
        yield "| | where | change | what happens |"
        yield "|---|---|---|---|"
        for item in _worst_first(shown):
            place = f"({_where(item)})" if _where(item) else ""
            where = (
                f"`{_where(item)}`"
                if report.lines
                else " ".join(filter(None, (f"`{item.subject}`", item.group, place)))
            )
            about = item.code if report.lines else item.path
            said = f"`{about}` {item.message}" if about else item.message
            remarks = [*item.remarks, *((f"approved by {item.approval}",) if item.approval else ())]
            why = "<br>".join([item.why, *remarks, *((f"`{item.fingerprint}`",) if item.fingerprint else ())])
            yield f"| {' | '.join(_cell(each) for each in (word(item), where, said, why))} |"
    if report.remarks:
        yield ""
        yield from (f"- {remark}" for remark in report.remarks)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", "<br>")
