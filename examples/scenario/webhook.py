"""The team's webhook: what Alertmanager really sent, when, and to whom."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

HOST = "127.0.0.1"


class Notification(NamedTuple):
    """One alert in one message.

    Attributes:
        at: Unix time in s.
        receiver: Who was notified.
        status: `firing` or `resolved`.
        name: Of the alert.
        labels: Of the alert.
        summary: Its annotation.
    """

    at: float
    receiver: str
    status: str
    name: str
    labels: dict[str, str]
    summary: str


@dataclass
class Webhook:
    """Listens while the block runs."""

    received: list[Notification] = field(default_factory=list)

    def __enter__(self) -> Webhook:
        received = self.received

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                for alert in body["alerts"]:
                    labels = alert["labels"]
                    summary = alert.get("annotations", {}).get("summary", "")
                    name = labels.get("alertname", "")
                    received.append(
                        Notification(time.time(), self.path.strip("/"), alert["status"], name, labels, summary)
                    )
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer((HOST, 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """Without a path: each receiver has its own."""
        return f"http://{HOST}:{self._server.server_port}"

    def about(self, name: str, status: str, receiver: str = "chat", **labels: str) -> list[Notification]:
        """The notifications to a receiver about an alert with these labels. An empty label matches any value."""
        return [
            each
            for each in self.received
            if (each.name, each.status, each.receiver) == (name, status, receiver)
            and all(each.labels.get(key) == value for key, value in labels.items() if value)
        ]

    def phases(self, incident: str | None = None) -> list[str]:
        """The phases of incidents, in the order in which they arrived."""
        progress = [each for each in self.received if each.receiver == "progress" and each.status == "firing"]
        return [each.labels["phase"] for each in progress if incident in (None, each.labels["incident_id"])]
