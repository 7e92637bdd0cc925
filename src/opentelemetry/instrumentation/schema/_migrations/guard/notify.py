"""Notifies Alertmanager of an incident's phases: degraded, rolling back, rolled back, recovered, failed.

Alertmanager notifies once about an alert, and never about a changed annotation. It resolves an alert when its `endsAt`
passes. It sorts the alerts of one message. So each phase is an alert and a group of its own; we post all phases again
while the incident is open; and we post the next phase only after Alertmanager has sent the message about the one
before. Nothing here raises. Only `close` waits, for a bounded time.
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
"""Seconds that it waits before a further message about a phase that it has already notified about."""

END_AHEAD: Final = 300.0
"""Seconds from now to the `endsAt` of an alert that we post; the shipped `resolve_timeout` is as long."""

PATIENCE: Final = 10.0
"""Seconds for which `close` retries if Alertmanager does not answer."""

_AGAIN: Final = 5
"""How often we post an alert again before its `endsAt`."""

_SPARE: Final = 1.0
"""Seconds that Alertmanager may take to send a message after the group wait."""


class PhaseRecord(NamedTuple):
    """A phase that an incident entered.

    Attributes:
        number: Its number, from 1.
        phase: The phase.
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
        """Open an incident without phases.

        Args:
            url: Base URL of Alertmanager; None notifies nobody.
            access: Credentials and TLS settings for Alertmanager.
            labels: Labels of every phase: database and tool.
            notice: Called once if Alertmanager cannot be reached, with the reason.
            group_wait: Seconds, as in Alertmanager's config.
            record: Called with each phase when it begins.
            ahead: Seconds from now to the `endsAt` of its alerts while the incident is open.
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
        """Add a phase; we post it as soon as Alertmanager has sent the messages about earlier phases."""
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
        """Wait until every phase is posted; return whether all of them are.

        Args:
            patience: Seconds for which we retry if Alertmanager does not answer.
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
                # post earlier phases again, to move their `endsAt`
                self._post(self._phases[:count])
            except SourceError as error:
                self._refused = True
                if not complained:
                    complained = True
                    self._notice(f"cannot notify Alertmanager, trying again: {error}")
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
