"""Notifies Alertmanager of an incident's phases: degraded, rolling back, rolled back, recovered, failed.

Alertmanager notifies of an alert once, and of a changed annotation not at all; it calls an alert resolved when nobody
keeps its `endsAt` ahead; and it sorts what comes in one message. So each phase is an alert and a group of its own, all
are posted again while the incident is open, and the next phase is posted only when the message about the one before
has left. Nothing here raises, and nobody waits for it but at the end, for a bounded time.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any, Final, Literal, NamedTuple

from ..._prometheus.http import Access, SourceError, post
from ..._prometheus.text import cleaned

Phase = Literal["degraded", "rolling_back", "rolled_back", "recovered", "failed"]

ALERT: Final = "SchemaIncidentProgress"
GROUP_WAIT: Final = 1.0
"""Seconds that the shipped config waits before it sends a message about a new phase."""

GROUP_INTERVAL: Final = 10.0
"""Seconds that it waits before a message about a phase that it has notified of already."""

END_AHEAD: Final = 300.0
"""Seconds by which an alert's end is kept ahead; the shipped `resolve_timeout` is as long."""

PATIENCE: Final = 10.0
"""Seconds for which, at the end, an Alertmanager that does not answer is asked again."""

_AGAIN: Final = 5
"""How often an alert is posted again before its end."""

_SPARE: Final = 1.0
"""Seconds that a message takes to leave after the group wait."""


class PhaseRecord(NamedTuple):
    """A phase that an incident entered.

    Attributes:
        number: From 1, in order.
        phase: Which.
        summary: What happened, in one line.
        at: Unix time in seconds.
    """

    number: int
    phase: Phase
    summary: str
    at: float


class Incident:
    """Posts the phases of one incident in their order, from a thread of its own."""

    def __init__(
        self,
        url: str | None,
        access: Access,
        labels: Mapping[str, str],
        notice: Callable[[str], None] = lambda _: None,
        group_wait: float = GROUP_WAIT,
        record: Callable[[PhaseRecord], None] = lambda _: None,
        ahead: float = END_AHEAD,
    ) -> None:
        """Posts nothing yet.

        Args:
            url: Base URL of Alertmanager; None notifies nobody.
            access: How it is talked to.
            labels: Of every phase: which database, which tool.
            notice: Called once if Alertmanager cannot be reached, with the reason.
            group_wait: Seconds, as in Alertmanager's config.
            record: Called with each phase when it begins.
            ahead: Seconds by which the ends of its alerts are kept ahead while the incident is open.
        """
        self.id: str = uuid.uuid4().hex[:12]
        self._url, self._access, self._labels, self._notice = url, access, labels, notice
        self._group_wait = group_wait
        self._record, self._ahead = record, ahead
        self._changed = threading.Condition()
        self._phases: list[PhaseRecord] = []
        self._posted = 0
        self._refused = False
        self._closed = False
        self._abandoned = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def phases(self) -> list[PhaseRecord]:
        """The phases so far, posted or not."""
        return [*self._phases]

    def enter(self, phase: Phase, summary: str) -> PhaseRecord:
        """Adds a phase; it is posted as soon as those before it have left."""
        with self._changed:
            entered = PhaseRecord(len(self._phases) + 1, phase, cleaned(summary), time.time())
            self._phases.append(entered)
            if self._url is not None and self._thread is None:
                self._thread = threading.Thread(target=self._run, name="schema-notify", daemon=True)
                self._thread.start()
            self._changed.notify_all()
        self._record(entered)
        return entered

    def close(self, patience: float = PATIENCE) -> bool:
        """Waits until every phase was posted; whether they were.

        Args:
            patience: Seconds for which an Alertmanager that does not answer is asked again.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            pauses = 0.0 if self._refused else sum(map(self._pause, range(self._posted, len(self._phases))))
        if self._thread is not None:
            self._thread.join(patience + pauses)
            self._abandoned.set()
        return self._url is None or self._posted == len(self._phases)

    def _pause(self, count: int) -> float:
        """Seconds between the message about the phases so far and the next."""
        phases = [each.phase for each in self._phases[:count]]
        return (GROUP_INTERVAL if phases[-1:] and phases[-1] in phases[:-1] else self._group_wait) + _SPARE

    def _run(self) -> None:
        last = -float("inf")
        complained = False
        while True:
            with self._changed:
                if self._closed and self._posted == len(self._phases):
                    return
                waiting = self._posted < len(self._phases)
                if not waiting:
                    self._changed.wait(self._ahead / _AGAIN)
                count = self._posted
            due = count < len(self._phases)
            if due:
                if self._abandoned.wait(max(0.0, last + self._pause(count) - time.monotonic())):
                    return
                count += 1
            if not count:
                continue
            try:
                # those before are posted again: their end stays ahead
                self._post(self._phases[:count])
            except SourceError as error:
                self._refused = True
                if not complained:
                    complained = True
                    self._notice(f"Alertmanager was not notified, and will be asked again: {error}")
                if self._abandoned.wait(1.0):
                    return
                continue
            self._refused = False
            if due:
                self._posted, last = count, time.monotonic()

    def _post(self, phases: list[PhaseRecord]) -> None:
        ends = _when(time.time() + self._ahead)
        alerts: list[dict[str, Any]] = [
            {
                "labels": {
                    **self._labels,
                    "alertname": ALERT,
                    "notification": "progress",
                    "incident_id": self.id,
                    "phase": each.phase,
                    "sequence": str(each.number),
                    "severity": "info" if each.phase == "recovered" else "critical",
                },
                "annotations": {"summary": each.summary},
                "startsAt": _when(each.at),
                "endsAt": ends,
            }
            for each in phases
        ]
        post(self._url or "", self._access, "/api/v2/alerts", json.dumps(alerts))


def _when(at: float) -> str:
    return datetime.fromtimestamp(at, timezone.utc).isoformat(timespec="milliseconds")
