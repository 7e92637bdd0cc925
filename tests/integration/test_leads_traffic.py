"""The traffic generator of the leads API: its count is what telemetry is held to, so it is held to the app here."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random
from types import SimpleNamespace

import httpx
import marshmallow
import pydantic
import pytest
import uvicorn
from alembic import command
from alembic.config import Config
from fastapi._compat import ModelField
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event

import leads_api.app as leads_app
from leads_api import bulk, db, exchanges, partners, schemas, traffic
from leads_api.schemas import CompanyProfile
from leads_api.traffic import MIXES, Truth, UnexpectedAnswer

LEADS = Path(__file__).parents[2] / "examples" / "leads_api"


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """The URL of a migrated SQLite database, which this process and its children use."""
    url = f"sqlite:///{tmp_path_factory.mktemp('leads')}/leads.sqlite3"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEADS_DATABASE_URL", url)
        db.engine.cache_clear()
        command.upgrade(Config(LEADS / "alembic.ini"), "head")
        yield url
        db.engine().dispose()
        db.engine.cache_clear()


@contextmanager
def service(*options: str, **environment: str):
    """A real uvicorn in its own process, on a port that the kernel chose; gives its URL."""
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "leads_api.app:app", "--port", "0", "--no-access-log", *options],
        env=os.environ | {"PYTHONPATH": str(LEADS), "PYTHONUNBUFFERED": "1"} | environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        port = None
        for line in process.stderr:
            if running := re.search(r"running on http://127\.0\.0\.1:(\d+)", line):
                port = running[1]
                break
        assert port, "uvicorn did not start"
        reader = threading.Thread(target=process.stderr.read)  # so that the pipe never fills
        reader.start()
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 30
        while True:
            try:
                httpx.get(f"{url}/healthz", timeout=5)
                break
            except httpx.TransportError:
                assert time.monotonic() < deadline, "uvicorn does not answer"
                time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=20)
        reader.join(20)
        process.stderr.close()


@pytest.fixture(scope="module")
def url(database):
    with service() as running:
        yield running


@contextmanager
def service_in_this_process():
    """The app on a thread of this process, where a test can watch what it calls."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(leads_app.app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)


@pytest.mark.parametrize("name", MIXES)
def test_a_mix_keeps_its_promised_figures(url, name):
    """A run of a mix, counted by its own truth, has the figures that the mix states."""
    mix = MIXES[name]
    truth = traffic.run(url, name, seed=3, requests=mix.enough)
    assert truth.requests.total() == mix.enough
    for measured, expected, tolerance in zip(truth.figures, mix.expected, mix.tolerance, strict=True):
        assert measured == pytest.approx(expected, abs=tolerance)


def test_the_steady_mix_promises_no_less_than_every_threshold():
    """At the worst end of its tolerances steady traffic fails < 0.5 %, is slow < 2 % and hits the cache > 95 %."""
    mix = MIXES["steady"]
    assert mix.expected.error_rate + mix.tolerance.error_rate < 0.005
    assert mix.expected.slow_share + mix.tolerance.slow_share < 0.02
    assert mix.expected.cache_hit_rate - mix.tolerance.cache_hit_rate > 0.95


def test_an_incident_starts_as_a_steady_day(url):
    """The first two fifths of an incident fail as rarely as steady traffic, the rest twenty times as often."""
    plan = MIXES["incident"].plan(Random(1), 1000)
    wanting = [index for index, kind in enumerate(plan) if kind is exchanges.create_without_consent]
    assert min(wanting) >= 400
    assert len(wanting) / 600 > 20 * MIXES["steady"].expected.error_rate


def test_the_same_seed_sends_the_same_traffic(url):
    """Two runs with one seed count the same, though the database has grown in between; another seed does not."""
    first, again, other = (traffic.run(url, "demo", seed=seed, requests=200, threads=3) for seed in (5, 5, 6))
    assert first == again
    assert first != other


def test_the_demo_mix_holds_everything():
    """At its promised size the demo mix sends every kind of exchange that exists."""
    sent = {kind.__name__ for kind in MIXES["demo"].plan(Random(0), MIXES["demo"].enough)}
    assert sent == {
        name
        for name, kind in vars(exchanges).items()
        if callable(kind) and getattr(kind, "__annotations__", {}).get("return") is exchanges.Exchange
    }


def test_truth_equals_what_the_app_validated(database, monkeypatch):
    """Validations, failures, look-ups and failed fields, counted where the libraries are called, equal the truth."""
    seen = Spy(monkeypatch)
    with service_in_this_process() as url:
        truth = traffic.run(url, "demo", seed=2, requests=400, threads=4)
    no_json = Counter({"LeadIn": truth.problems["LeadIn", "$", "json_invalid"]})  # which no validator ever sees
    assert seen.validations == truth.validations - no_json
    assert seen.failures == sum_by_schema(truth.failures) - no_json
    known = {key: n for key, n in truth.problems.items() if key[0] in PYDANTIC and key[2] != "json_invalid"}
    assert seen.problems == Counter(known)
    assert seen.adapters_built == truth.rebuilt.total()
    assert seen.queries == truth.queries
    assert seen.slow == truth.slow["LeadVerified"]


def sum_by_schema(counts):
    totals = Counter()
    for (_endpoint, schema), count in counts.items():
        totals[schema] += count
    return totals


PYDANTIC = {"LeadIn", "LeadVerified", "EnrichIn", "query.limit", "query.status", "path.lead_id"}
"""The schemas whose errors FastAPI hands over with their location."""


class Spy:
    """Counts at the app's own calls into the libraries, without any knowledge of the traffic."""

    def __init__(self, monkeypatch):
        self.validations, self.failures, self.problems, self.queries = Counter(), Counter(), Counter(), Counter()
        self.adapters_built = self.slow = 0
        self._lock = threading.Lock()
        self._looking_up = threading.local()

        monkeypatch.setattr(ModelField, "validate", self._fastapi(ModelField.validate))
        for owner, method, schema in (
            (CompanyProfile, "model_validate_json", "CompanyProfile"),
            (bulk.BULK_IMPORT, "load", "BulkImport"),
        ):
            monkeypatch.setattr(owner, method, partial(self.watch, schema, getattr(owner, method)))
        for partner in partners.PARTNERS.values():
            monkeypatch.setitem(vars(partner), "validator", SpiedValidator(self, partner.validator))
        monkeypatch.setattr(leads_app, "TypeAdapter", self._adapter)
        monkeypatch.setattr(schemas, "is_known", self._look_up(schemas.is_known))
        event.listen(db.engine(), "before_cursor_execute", self._query)

    def watch(self, schema, validate, payload):
        try:
            result = validate(payload)
        except (pydantic.ValidationError, marshmallow.ValidationError):
            self.saw(schema, failed=True)
            raise
        self.saw(schema, failed=False)
        return result

    def saw(self, schema, *, failed):
        with self._lock:
            self.validations[schema] += 1
            if failed:
                self.failures[schema] += 1

    def _fastapi(self, validate):
        """FastAPI turns each parameter, body and response into one of its fields, and validates it there."""

        def validate_and_count(field, value, *args, **kwargs):
            result, errors = validate(field, value, *args, **kwargs)
            annotation, place = field.field_info.annotation, getattr(field.field_info, "in_", None)
            name = {list[leads_app.LeadOut]: "list[LeadOut]"}.get(annotation) or getattr(annotation, "__name__", "")
            if place:
                name = f"{place.value}.{field.alias}"
            self.saw(name, failed=bool(errors))
            for error in errors or ():
                where = error["loc"][2 if place else 1 :]
                path = ".".join("*" if isinstance(part, int) else part for part in where) or "$"
                self.problems[name, path, error["type"]] += 1
            return result, errors

        return validate_and_count

    def _adapter(self, annotation):
        self.adapters_built += 1
        adapter = pydantic.TypeAdapter(annotation)
        return SimpleNamespace(validate_python=partial(self.watch, "list[QuoteLine]", adapter.validate_python))

    def _look_up(self, is_known):
        def look_up(email):
            self._looking_up.active = True
            try:
                return is_known(email)
            finally:
                self._looking_up.active = False

        return look_up

    def _query(self, _connection, _cursor, statement, *_rest):
        if getattr(self._looking_up, "active", False):
            self.queries["LeadVerified"] += 1
            self.slow += "replace(" in statement


class SpiedValidator:
    """A partner's jsonschema validator that reports to a spy."""

    def __init__(self, spy, validator):
        self._spy, self._validator = spy, validator

    def iter_errors(self, payload):
        errors = list(self._validator.iter_errors(payload))
        self._spy.saw(self._validator.schema["title"], failed=bool(errors))
        return errors


def test_four_workers_answer_eight_clients_as_one_does(database):
    """With --workers 4 on one SQLite file and 8 clients every answer is the expected one, and the count is the same."""
    with service("--workers", "4") as url:
        shared = traffic.run(url, "demo", seed=4, requests=600, threads=8)
    assert shared.requests.total() == 600
    assert shared.statuses[201] > 100


def test_a_wrong_answer_ends_the_run(tmp_path):
    """Against an app without its tables the run raises, naming the endpoint and the status, instead of counting."""
    with (
        service(LEADS_DATABASE_URL=f"sqlite:///{tmp_path}/empty.sqlite3") as url,
        pytest.raises(UnexpectedAnswer, match="POST /leads: 500 instead of 201"),
    ):
        traffic.run(url, "steady", seed=1, requests=50, threads=4)


def test_progress_and_rate(url):
    """Progress counts up to the number of requests, and a rate of 100/s makes 60 requests last 0.59 s or longer."""
    steps = []
    start = time.monotonic()
    traffic.run(
        url,
        "steady",
        seed=1,
        requests=60,
        rate=100,
        threads=4,
        on_progress=lambda done, total: steps.append((done, total)),
    )
    assert time.monotonic() - start >= 0.59
    assert steps == [(done, 60) for done in range(1, 61)]


def test_what_progress_raises_ends_the_run(url):
    """An exception out of on_progress stops every client within one request of each, and comes out of run."""
    steps = []

    def stop(done, _total):
        steps.append(done)
        if done == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        traffic.run(url, "steady", seed=1, requests=500, threads=3, on_progress=stop)
    assert 20 <= len(steps) <= 22


def test_the_command_line_writes_the_truth(url, tmp_path):
    """`python -m leads_api.traffic --json FILE` writes what `run` returns for the same arguments."""
    file = tmp_path / "truth.json"
    arguments = ["--url", url, "--mix", "demo", "--seed", "9", "--requests", "80", "--json", str(file)]
    done = subprocess.run(
        [sys.executable, "-m", "leads_api.traffic", *arguments],
        env=os.environ | {"PYTHONPATH": str(LEADS)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["requests"] == 80
    assert Truth.from_json(file.read_text()) == traffic.run(url, "demo", seed=9, requests=80)


def test_an_unreachable_service_is_an_exit_code():
    """Where nobody listens the command exits with 1 and one line that names the URL."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # bound, not listening: refused, and nobody else gets the port
        url = f"http://127.0.0.1:{reserved.getsockname()[1]}"
        done = subprocess.run(
            [sys.executable, "-m", "leads_api.traffic", "--url", url],
            env=os.environ | {"PYTHONPATH": str(LEADS)},
            capture_output=True,
            text=True,
        )
    assert done.returncode == 1
    assert done.stderr.startswith(url)
    assert "Traceback" not in done.stderr


@given(st.sampled_from(sorted(MIXES)), st.integers(1, 3000), st.integers())
def test_a_plan_has_the_asked_length_and_starts_with_a_lead(name, requests, seed):
    """Whatever the mix, size and seed, a plan is exactly that long and first creates the lead that others read."""
    plan = MIXES[name].plan(Random(seed), requests)
    assert len(plan) == requests
    assert plan[0] is exchanges.create


counts = st.integers(1, 10**9)
words = st.text(min_size=1)
truths = st.builds(
    Truth,
    requests=st.dictionaries(words, counts).map(Counter),
    statuses=st.dictionaries(st.integers(100, 599), counts).map(Counter),
    validators=st.dictionaries(st.tuples(words, words), counts).map(Counter),
    rebuilt=st.dictionaries(st.tuples(words, words), counts).map(Counter),
    failures=st.dictionaries(st.tuples(words, words), counts).map(Counter),
    problems=st.dictionaries(st.tuples(words, words, words), counts).map(Counter),
    slow=st.dictionaries(words, counts).map(Counter),
    queries=st.dictionaries(words, counts).map(Counter),
)


@given(truths)
def test_truth_survives_json(truth):
    """Any truth comes back from its JSON as it was."""
    assert Truth.from_json(truth.to_json()) == truth


@given(truths, truths)
def test_truths_add_up(one, other):
    """A sum of truths counts each validation of both, and its hits and misses are all of them."""
    both = one + other
    assert both == other + one
    assert both.validations == one.validations + other.validations
    assert sum(both.cache) == both.validations.total()
