"""Clients that send the quiet day's mix without an end, and count what really happened."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Generic, NamedTuple, TypeVar

import httpx

from leads_api import exchanges
from leads_api.exchanges import CREATE, Exchange, Kind
from leads_api.mixes import STEADY
from leads_api.truth import Truth

REGIONS: dict[str, float] = {"": 84, "EU": 6, "NA": 6, "APAC": 4}
"""What those who create leads send for the new field, in %: most know nothing of it, and one region is refused."""

FORGETFUL = 0.25
"""Of those who create leads, the share that forgets their consent while a deployment goes wrong."""

T = TypeVar("T", bound=Hashable)


class Answer(NamedTuple):
    """An answer of the app.

    Attributes:
        at: When, in s since the Epoch.
        worker: The process id of who answered.
        refused: Whether a lead was refused that the schema before the update would have taken.
    """

    at: float
    worker: str
    refused: bool


class Deck(Generic[T]):
    """Deals a mix as evenly as it can be dealt: what is rare in a day comes as rarely in any half a minute.

    By chance, four of 70 slow requests may come in one window where two were due, and four of 70 are above 5 %.
    """

    def __init__(self, weights: Mapping[T, float]) -> None:
        self._weights, self._total = weights, sum(weights.values())
        chance = random.Random(1)
        self._due = {kind: chance.random() * self._total for kind in weights}

    def deal(self) -> T:
        """What has waited longest for its turn."""
        for kind, weight in self._weights.items():
            self._due[kind] += weight
        dealt = max(self._due, key=self._due.__getitem__)
        self._due[dealt] -= self._total
        return dealt


@dataclass
class Clients:
    """They send from `start` to `stop`, and may start again.

    Attributes:
        url: Of the app.
        rate: Requests a second.
        truth: What was sent and answered as it must be.
        answers: The latest.
        refused: How many leads were refused that the schema before the update would have taken.
        unknown: Requests whose connection broke: nobody knows whether they were counted.
        forgetful: Whether some clients forget a field for now.
    """

    url: str
    rate: float
    threads: int = 8
    truth: Truth = field(default_factory=Truth)
    answers: deque[Answer] = field(default_factory=lambda: deque[Answer](maxlen=5000))
    refused: int = 0
    unknown: int = 0
    forgetful: bool = False
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._deck, self._regions = Deck[Kind](STEADY), Deck(REGIONS)
        self._running: list[threading.Thread] = []

    def start(self) -> None:
        """Begin."""
        self._stop.clear()
        self._running = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(self.threads)]
        for thread in self._running:
            thread.start()

    def stop(self) -> None:
        """End; every answer is counted then."""
        self._stop.set()
        for thread in self._running:
            thread.join()

    def _run(self, seed: int) -> None:
        rng, ids, pause = random.Random(seed), list[int](), self.threads / self.rate
        # a connection for each request: none is idle when the worker at its other end gets SIGTERM
        limits = httpx.Limits(max_keepalive_connections=0)
        with httpx.Client(base_url=self.url, timeout=60, limits=limits) as http:
            due = time.monotonic() + pause * seed / self.threads
            while not self._stop.wait(max(0.0, due - time.monotonic())):
                with self._lock:
                    kind = self._deck.deal() if ids else exchanges.create
                self._send(http, self._changed(rng, kind(rng, ids)), ids)
                due = max(due + pause, time.monotonic() - 1)

    def _changed(self, rng: random.Random, exchange: Exchange) -> Exchange:
        """With the new field, where this client sends it already: before the update nobody looks at it."""
        if exchange.endpoint != CREATE or exchange.status != 201:
            return exchange
        if self.forgetful and rng.random() < FORGETFUL:
            return exchanges.create_without_consent(rng, [])
        with self._lock:
            region = self._regions.deal()
        return replace(exchange, body={**exchange.body, "region": region}) if region else exchange

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
            refused = exchange.endpoint == CREATE and exchange.status == 201 and answer.status_code == 422
            if refused:
                self.refused += 1
                exchange = replace(exchange, status=422, valid=(), invalid={"LeadInRegion": ()})
            elif answer.status_code != exchange.status:
                self.problems.append(f"{exchange.endpoint}: {answer.status_code} instead of {exchange.status}")
                return
            exchange.count(self.truth)
            self.answers.append(Answer(time.time(), answer.headers.get("x-worker", ""), refused))
        if answer.status_code == 201 and exchange.endpoint == CREATE:
            ids.append(answer.json()["id"])
            del ids[:-50]
