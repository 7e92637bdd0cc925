"""Seeded traffic against a running service: `python -m leads_api.traffic --url http://127.0.0.1:8000 --mix demo`.

It counts what it sent and got back. An answer other than the stated one ends the run: a ground truth that might not
hold is none.
"""

import argparse
import json
import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import httpx

from leads_api.exchanges import CREATE, Exchange, Kind
from leads_api.mixes import MIXES, Mix
from leads_api.truth import Cache, Figures, Truth

__all__ = ["MIXES", "Cache", "Figures", "Mix", "Truth", "UnexpectedAnswer", "main", "run"]


class UnexpectedAnswer(Exception):
    """The app did not answer as it must.

    Attributes:
        exchange: what was sent and expected.
        status: what came instead.
    """

    def __init__(self, exchange: Exchange, status: int) -> None:
        super().__init__(f"{exchange.endpoint}: {status} instead of {exchange.status}")
        self.exchange = exchange
        self.status = status


def run(
    url: str,
    mix: str,
    *,
    seed: int,
    requests: int,
    rate: float | None = None,
    threads: int = 1,
    on_progress: Callable[[int, int], None] | None = None,
) -> Truth:
    """Send a mix and return what happened.

    The same mix, seed, number of requests and threads send the same requests, but for the lead ids that the app deals.

    Args:
        url: of the service, without a path.
        mix: a key of `MIXES`.
        seed: of all chance.
        requests: how many to send; at least 1.
        rate: requests per second over all threads; as fast as possible if None.
        threads: clients that send at the same time.
        on_progress: called after each request with (requests done, requests in all), by one thread at a time; what it
            raises ends the run, and leaves it.

    Raises:
        KeyError: if there is no such mix.
        UnexpectedAnswer: if an answer has another status than it must; no more is sent then.
        httpx.TransportError: if the service cannot be reached. The truth of the run is then unknown.
    """
    plan = MIXES[mix].plan(Random(seed), requests)
    pace = _Pace(rate)
    progress = _Progress(requests, on_progress)
    # uvicorn closes idle connections after 5 s: a request must not meet one that is just closing
    limits = httpx.Limits(max_connections=threads, keepalive_expiry=4)
    with httpx.Client(base_url=url, timeout=60, limits=limits) as http:
        # the first request creates the lead that all clients may read
        first = _Client(http, f"{seed}/first", [])
        first.send(plan[:1], pace, progress)
        clients = [_Client(http, f"{seed}/{number}", first.ids[:]) for number in range(threads)]
        with ThreadPoolExecutor(threads) as pool:
            shares = [plan[1 + number :: threads] for number in range(threads)]
            for done in [
                pool.submit(client.send, share, pace, progress) for client, share in zip(clients, shares, strict=True)
            ]:
                done.result()
    return sum((client.truth for client in clients), first.truth)


class _Client:
    """One client: its own chance, its own leads, its own count."""

    def __init__(self, http: httpx.Client, seed: str, ids: list[int]) -> None:
        self.ids = ids
        self.truth = Truth()
        self._http = http
        self._rng = Random(seed)

    def send(self, kinds: Iterable[Kind], pace: "_Pace", progress: "_Progress") -> None:
        for kind in kinds:
            if progress.failed:
                return
            try:
                exchange = kind(self._rng, self.ids)
                pace.wait()
                self._send(exchange)
                exchange.count(self.truth)
                progress.step()
            except BaseException:
                progress.failed = True
                raise

    def _send(self, exchange: Exchange) -> None:
        raw = isinstance(exchange.body, bytes)
        response = self._http.request(
            exchange.endpoint.split(" ")[0],
            exchange.path,
            params=exchange.query,
            headers={"content-type": "application/json"} if raw else None,
            content=exchange.body if raw else None,
            json=None if raw else exchange.body,
        )
        if response.status_code != exchange.status:
            raise UnexpectedAnswer(exchange, response.status_code)
        if exchange.endpoint == CREATE and exchange.status == 201:
            self.ids.append(response.json()["id"])


class _Pace:
    """Deals departure times 1/rate apart; whoever is late leaves at once, so that the mean rate holds."""

    def __init__(self, rate: float | None) -> None:
        self._interval = 1 / rate if rate else 0.0
        self._next = time.monotonic()
        self._lock = threading.Lock()

    def wait(self) -> None:
        with self._lock:
            departure, self._next = self._next, self._next + self._interval
        if (pause := departure - time.monotonic()) > 0:
            time.sleep(pause)


class _Progress:
    """Counts finished requests for the caller, and tells all clients to stop when one of them failed."""

    def __init__(self, total: int, report: Callable[[int, int], None] | None) -> None:
        self.failed = False
        self._done = 0
        self._total = total
        self._report = report
        self._lock = threading.Lock()

    def step(self) -> None:
        with self._lock:
            self._done += 1
            if self._report:
                self._report(self._done, self._total)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code: 0, or 1 if the app answered otherwise than it must."""
    parser = argparse.ArgumentParser(prog="python -m leads_api.traffic", description=__doc__.split("\n")[0])
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument(
        "--mix",
        choices=MIXES,
        default="demo",
        help="; ".join(f"{name}: {mix.description}" for name, mix in MIXES.items()).replace("%", "%%"),
    )
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--requests", type=int, default=1000, metavar="N")
    parser.add_argument("--rate", type=float, metavar="R", help="requests per second (default: as fast as possible)")
    parser.add_argument("--threads", type=int, default=1, metavar="T")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the ground truth here")
    options = parser.parse_args(arguments)
    try:
        truth = run(
            options.url,
            options.mix,
            seed=options.seed,
            requests=options.requests,
            rate=options.rate,
            threads=options.threads,
        )
    except (UnexpectedAnswer, httpx.TransportError) as error:
        print(f"{options.url}: {error}", file=sys.stderr)
        return 1
    if options.json:
        options.json.write_text(truth.to_json())
    print(json.dumps({"requests": truth.requests.total(), "cache": truth.cache._asdict(), **truth.figures._asdict()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
