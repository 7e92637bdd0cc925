"""Clients that send the quiet day's mix without an end, and count what really happened."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field, replace

import httpx

from leads_api import exchanges
from leads_api.exchanges import CREATE, Exchange
from leads_api.mixes import STEADY
from leads_api.truth import Truth

NEW = 0.45
"""Of those who create leads, the share that sends the new field already; a few of them send one that is refused."""
REFUSED = 0.04


@dataclass
class Clients:
    """They run from `start` to `stop`.

    Attributes:
        truth: What was sent and answered as it must be.
        refused: New leads that were refused, by the time when, in s since the Epoch.
        unknown: Requests whose connection broke: nobody knows whether they counted.
    """

    url: str
    rate: float
    threads: int = 6
    truth: Truth = field(default_factory=Truth)
    refused: Counter[int] = field(default_factory=Counter)
    unknown: int = 0
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._running = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(self.threads)]

    def start(self) -> None:
        """Begin."""
        for thread in self._running:
            thread.start()

    def stop(self) -> None:
        """End; every answer is counted then."""
        self._stop.set()
        for thread in self._running:
            thread.join()

    def _run(self, seed: int) -> None:
        rng, ids, pause = random.Random(seed), [], self.threads / self.rate
        kinds, weights = list(STEADY), list(STEADY.values())
        with httpx.Client(base_url=self.url, timeout=60) as http:
            due = time.monotonic()
            while not self._stop.is_set():
                kind = exchanges.create if not ids else rng.choices(kinds, weights)[0]
                self._send(http, self._changed(rng, kind(rng, ids)), ids)
                due = max(due + pause, time.monotonic() - 1)
                self._stop.wait(max(0.0, due - time.monotonic()))

    @staticmethod
    def _changed(rng: random.Random, exchange: Exchange) -> Exchange:
        """With the new field, where this client sends it already: before the update nobody looks at it."""
        if exchange.endpoint != CREATE or exchange.status != 201 or rng.random() >= NEW:
            return exchange
        region = "APAC" if rng.random() < REFUSED / NEW else rng.choice(("EU", "NA"))
        return replace(exchange, body={**exchange.body, "region": region})

    def _send(self, http: httpx.Client, exchange: Exchange, ids: list[int]) -> None:
        raw = isinstance(exchange.body, bytes)
        try:
            answer = http.request(
                exchange.endpoint.split(" ")[0],
                exchange.path,
                params=exchange.query,
                headers={"content-type": "application/json"} if raw else None,
                content=exchange.body if raw else None,
                json=None if raw else exchange.body,
            )
        except httpx.TransportError:
            with self._lock:
                self.unknown += 1
            return
        with self._lock:
            if exchange.endpoint == CREATE and exchange.status == 201 and answer.status_code == 422:
                self.refused[int(time.time())] += 1
                exchange = replace(exchange, status=422, valid=(), invalid={"LeadInRegion": ()})
            elif answer.status_code != exchange.status:
                self.problems.append(f"{exchange.endpoint}: {answer.status_code} instead of {exchange.status}")
                return
            exchange.count(self.truth)
        if answer.status_code == 201 and exchange.endpoint == CREATE:
            ids.append(answer.json()["id"])
            del ids[:-50]
