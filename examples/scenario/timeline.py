"""What happened when: figures as Prometheus saw them, moments, spans of time; drawn on one time axis."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import NamedTuple

WIDTH, LEFT, RIGHT, ROW, GAP = 1180, 150, 24, 92, 26
INK, FAINT, GRID = "#1f2933", "#6b7785", "#e3e8ee"
LINES = {"error rate": ("#d1495b", "%"), "p95": ("#3c6e9f", "ms"), "cache hit rate": ("#3f8f5f", "%")}


class Moment(NamedTuple):
    """Something that happened.

    Attributes:
        at: s since the timeline began.
        what: In a few words.
        who: `migration`, `notification`, `fault`.
    """

    at: float
    what: str
    who: str


class Alert(NamedTuple):
    """From when to when an alert fired; `to` is NaN while it does."""

    name: str
    start: float
    to: float


@dataclass
class Timeline:
    """Grows while the scenario runs.

    Attributes:
        limit: Of the 95th percentile, in s.
        alarms: Names of the alerts that an incident sets off; others are drawn in grey.
        figures: By name, (s since the beginning, value).
        revisions: (s, revision), where it changed.
        alerts: That fired.
        moments: In their order.
    """

    limit: float = 0.01
    alarms: Sequence[str] = ()
    began: float = field(default_factory=time.time)
    figures: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    revisions: list[tuple[float, str]] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    moments: list[Moment] = field(default_factory=list)

    def now(self) -> float:
        """S since the beginning."""
        return time.time() - self.began

    def happened(self, what: str, who: str = "migration", at: float | None = None) -> None:
        """Add a moment; `at` is Unix time, now by default."""
        self.moments.append(Moment(self.now() if at is None else at - self.began, what, who))

    def figure(self, name: str, value: float | None) -> None:
        """Add a value of a figure, where there is one."""
        if value is not None and not math.isnan(value):
            self.figures.setdefault(name, []).append((self.now(), value))

    def revision(self, revision: str) -> None:
        """Add what the database holds, where it changed."""
        if revision and (not self.revisions or self.revisions[-1][1] != revision):
            self.revisions.append((self.now(), revision))

    def firing(self, names: Iterable[str]) -> None:
        """What fires now."""
        names = set(names)
        for index, alert in enumerate(self.alerts):
            if math.isnan(alert.to) and alert.name not in names:
                self.alerts[index] = alert._replace(to=self.now())
        open_now = {alert.name for alert in self.alerts if math.isnan(alert.to)}
        self.alerts += [Alert(name, self.now(), math.nan) for name in sorted(names - open_now)]

    def fired(self, name: str) -> bool:
        """Whether an alert fired, now or earlier."""
        return any(alert.name == name for alert in self.alerts)


class Watcher:
    """Looks again and again, in a thread, while the block runs."""

    def __init__(self, look: Callable[[], None], every: float) -> None:
        self._look, self._every, self._stop = look, every, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._stop.wait(self._every):
            self._look()

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def draw(timeline: Timeline, title: str) -> str:
    """The timeline as SVG."""
    end = max(timeline.now(), 1.0)
    names = sorted({alert.name for alert in timeline.alerts}, key=lambda name: (name not in timeline.alarms, name))
    rows = len(LINES) * (ROW + GAP)
    lanes = 40 + rows + 30
    moments = sorted(timeline.moments)
    height = lanes + 22 * (len(names) + 1) + 30 + 17 * len(moments) + 40

    def x(at: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * min(max(at, 0.0), end) / end

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
        f'font-size="12" fill="{INK}"><rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="{LEFT}" y="24" font-size="16" font-weight="600">{escape(title)}</text>',
    ]
    out += _axis(end, x, 40, lanes + 22 * (len(names) + 1))
    top = 40.0
    limits = {"error rate": 1.0, "p95": timeline.limit * 1000, "cache hit rate": 85.0}
    for name, (colour, unit) in LINES.items():
        out += _panel(timeline.figures.get(name, []), name, colour, unit, limits[name], top, x)
        top += ROW + GAP
    out += _lane("revision", [(at, at_next, text, "#8d9db0") for at, at_next, text in _spans(timeline, end)], lanes, x)
    for number, name in enumerate(names, 1):
        colour = "#d1495b" if name in timeline.alarms else "#b9c2cc"
        bars = [
            (alert.start, end if math.isnan(alert.to) else alert.to, "", colour)
            for alert in timeline.alerts
            if alert.name == name
        ]
        out += _lane(name, bars, lanes + 22 * number, x)
    base = lanes + 22 * (len(names) + 1) + 30
    colours = {"migration": "#3c6e9f", "notification": "#b7791f", "fault": "#6b7785"}
    for number, moment in enumerate(moments):
        colour = colours[moment.who]
        out.append(
            f'<line x1="{x(moment.at):.1f}" x2="{x(moment.at):.1f}" y1="40" y2="{base - 22}" stroke="{colour}" '
            f'stroke-width="0.7" stroke-dasharray="2 3"/>'
            f'<circle cx="{x(moment.at):.1f}" cy="{base - 22}" r="3" fill="{colour}"/>'
            f'<text x="{LEFT}" y="{base + 17 * number}" fill="{colour}">{_clock(moment.at)}</text>'
            f'<text x="{LEFT + 56}" y="{base + 17 * number}">{escape(moment.what)}</text>'
        )
    return "\n".join([*out, "</svg>\n"])


def _spans(timeline: Timeline, end: float) -> list[tuple[float, float, str]]:
    ends = [*(at for at, _ in timeline.revisions[1:]), end][: len(timeline.revisions)]
    return [(at, until, text) for (at, text), until in zip(timeline.revisions, ends, strict=True)]


def _axis(end: float, x: Callable[[float], float], top: float, bottom: float) -> list[str]:
    step = next(step for step in (5, 10, 15, 30, 60, 120, 300, 600, 1200, 3600) if end / step <= 14)
    marks = [number * step for number in range(int(end / step) + 1)]
    return [
        f'<line x1="{x(at):.1f}" x2="{x(at):.1f}" y1="{top}" y2="{bottom}" stroke="{GRID}"/>'
        f'<text x="{x(at):.1f}" y="{top - 4}" fill="{FAINT}" text-anchor="middle" font-size="10">{_clock(at)}</text>'
        for at in marks
    ]


def _panel(
    points: list[tuple[float, float]], name: str, colour: str, unit: str, limit: float, top: float,
    x: Callable[[float], float],
) -> list[str]:  # fmt: skip
    highest = 100.0 if name == "cache hit rate" else max([limit * 1.4, *(value for _, value in points)]) * 1.05
    lowest = 0.0

    def y(value: float) -> float:
        return top + ROW - ROW * (value - lowest) / (highest - lowest)

    path = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in points)
    return [
        f'<text x="{LEFT - 10}" y="{top + 16}" text-anchor="end" font-weight="600" fill="{colour}">{name}</text>',
        f'<text x="{LEFT - 10}" y="{top + 34}" text-anchor="end" fill="{FAINT}">limit {limit:g} {unit}</text>',
        f'<text x="{LEFT - 10}" y="{top + ROW}" text-anchor="end" fill="{FAINT}">0 to {highest:.0f} {unit}</text>',
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(limit):.1f}" y2="{y(limit):.1f}" stroke="{INK}" '
        f'stroke-dasharray="5 4" stroke-width="0.8"/>',
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"/>',
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{top + ROW}" y2="{top + ROW}" stroke="{GRID}"/>',
    ]


def _lane(name: str, bars: list[tuple[float, float, str, str]], top: float, x: Callable[[float], float]) -> list[str]:
    out = [f'<text x="{LEFT - 10}" y="{top + 12}" text-anchor="end" font-size="11">{escape(name)}</text>']
    for start, end, text, colour in bars:
        width = max(x(end) - x(start), 2)
        out.append(f'<rect x="{x(start):.1f}" y="{top}" width="{width:.1f}" height="16" rx="2" fill="{colour}"/>')
        if text and width > 40:
            out.append(f'<text x="{x(start) + 5:.1f}" y="{top + 12}" fill="#fff" font-size="11">{escape(text)}</text>')
    return out


def _clock(seconds: float) -> str:
    return f"{int(seconds // 60)}:{int(seconds % 60):02d}"
