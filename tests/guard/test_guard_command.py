"""`otel-schema guard` against real Prometheus whose past was written before: verdicts, exit codes, what is printed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner, Result
from opentelemetry.instrumentation.schema._monitoring import thresholds
from opentelemetry.instrumentation.schema.cli.group import otel_schema

from tests.dashboards.stack import Alertmanager
from tests.guard.parts import ServerLogin, proxy
from tests.guard.store import Past, Store, app, binary

AGO = 1200.0
HOURS = 7 * 3600.0


class Shop(NamedTuple):
    """A Prometheus with several apps, each with a job of its own, all changed at one time."""

    url: str
    changed: str
    home: Path
    lock: ServerLogin


class Locked(Store):
    """A Prometheus behind TLS and a password."""

    def __init__(self, home: Path, past: Past, lock: ServerLogin) -> None:
        super().__init__(home, past, flags=[f"--web.config.file={lock.config}"])
        self.url, self._lock = f"https://127.0.0.1:{self.port}", lock

    def ready(self) -> bool:
        return self._lock.ask(f"{self.url}/-/ready")[0] == 200


class LockedAlertmanager(Alertmanager):
    """The same in front of an Alertmanager."""

    def __init__(self, home: Path, lock: ServerLogin) -> None:
        values = {**thresholds.DEFAULTS, "secrets_dir": str(home / "secrets")}
        super().__init__(binary("alertmanager", "prometheus-alertmanager"), home, values)
        self.command.append(f"--web.config.file={lock.config}")
        self.url, self._lock = f"https://127.0.0.1:{self.port}", lock

    def ready(self) -> bool:
        return self._lock.ask(f"{self.url}/-/ready")[0] == 200

    def incidents(self) -> set[str]:
        """The ids of those that it was told of."""
        _, body, _ = self._lock.ask(f"{self.url}/api/v2/alerts")
        return {alert["labels"]["incident_id"] for alert in json.loads(body)}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Apps after a change, as `job`: broken (errors and time), slow, quiet, and busy in prod and in staging."""
    home = tmp_path_factory.mktemp("shop")
    now = time.time()
    past, changed = Past(), now - AGO
    common: dict[str, Any] = {"seconds": HOURS, "changed": changed, "workers": 1}
    app(past, now, job="broken", rates=(0.01, 0.3), slow=(0.02, 0.3), **common)
    app(past, now, job="slow", rates=(0.01, 0.01), requests=6, slow=(0.02, 0.3), queries=(0.02, 0.02), **common)
    app(past, now, job="quiet", rates=(0.0, 0.0), requests=0.02, **common)
    prod, staging = {"environment": "prod"}, {"environment": "staging"}
    app(past, now, job="busy", rates=(0.01, 0.01), requests=6, slow=(0.01, 0.01), more=prod, **common)
    app(past, now, job="busy", rates=(0.01, 0.9), requests=6, more=staging, seed=3, **common)
    lock = ServerLogin.made(home / "lock")
    with Locked(home / "prometheus", past, lock) as store:
        yield Shop(store.url, datetime.fromtimestamp(changed, timezone.utc).isoformat(), home, lock)


def guard(shop: Shop, job: str, *more: str, match: str = "") -> Result:
    """Run the command over the change of an app, as somebody who may."""
    where = ["--prometheus", shop.url.replace("://", "://operator:test@"), "--ca-file", str(shop.lock.authority)]
    return guard_at(shop, where, job, *more, match=match)


def guard_at(shop: Shop, where: list[str], job: str, *more: str, match: str = "") -> Result:
    """Run the command over the change of an app, with options that say where Prometheus is."""
    selector = f'job="{job}"{f", {match}" if match else ""}'
    history = shop.home / f"{job}.jsonl"
    common = ["guard", *where, "--match", selector, "--history", str(history)]
    return CliRunner().invoke(
        otel_schema, [*common, *(("--changed", shop.changed) if "--backtest" not in more else ()), *more]
    )


def answer(result: Result) -> dict[str, Any]:
    """The JSON object that a command printed."""
    return json.loads(result.stdout)


def test_a_harmless_change_passes(shop: Shop) -> None:
    """A harmless change passes, whatever broke in staging; the limit below which the error rate lies is printed."""
    result = guard(shop, "busy", match='environment="prod"')
    assert result.exit_code == 0, result.output
    assert "pass: validation errors" in result.stdout
    assert "at most" in result.stdout
    assert result.stdout.rstrip().endswith("pass")


def test_a_change_for_the_worse_is_degraded(shop: Shop) -> None:
    """After a change for the worse the guard exits with 1, and names what became of what."""
    result = guard(shop, "broken", "--json")
    found = answer(result)
    assert result.exit_code == 1 == found["exit_code"]
    assert found["verdict"] == "degraded"
    assert found["signals"]["errors"]["before"] == pytest.approx(0.01, rel=0.4)
    assert found["signals"]["errors"]["after"] == pytest.approx(0.3, rel=0.2)
    assert "degraded: validation time" in found["signals"]["time"]["says"]
    assert [(number, phase) for number, phase, _ in found["phases"]] == [(1, "degraded")]
    line = json.loads((shop.home / "broken.jsonl").read_text().splitlines()[-1])
    assert (line["event"], line["verdict"]) == ("judged", "degraded")
    assert line["signals"]["errors"]["events"] == found["signals"]["errors"]["events"]


def test_every_signal_is_judged_and_told(shop: Shop) -> None:
    """A change that makes validation slow is degraded too, whichever signals decide; linked queries have a verdict."""
    found = answer(guard(shop, "slow", "--json"))
    assert {name: each["verdict"] for name, each in found["signals"].items()} == {
        "errors": "pass",
        "time": "degraded",
        "queries": "pass",
    }
    assert found["verdict"] == "degraded"


def test_little_traffic_is_inconclusive(shop: Shop) -> None:
    """With twelve requests in the watch the guard exits with 3, and says what is missing."""
    result = guard(shop, "quiet")
    assert result.exit_code == 3, result.output
    assert "watch longer, or with more traffic" in result.stdout


def test_a_dry_run_tells_and_fails_nothing(shop: Shop) -> None:
    """A dry run prints the verdict, here on staging alone, and exits with 0."""
    result = guard(shop, "busy", "--dry-run", match='environment="staging"')
    assert result.exit_code == 0
    assert "dry run: degraded" in result.stdout


def test_a_backtest_of_a_steady_service_has_no_alarm(shop: Shop) -> None:
    """The backtest says how many watches without a change would have been called degraded, and when."""
    result = guard(shop, "busy", "--backtest", "3h", "--json", match='environment="prod"')
    found = answer(result)
    assert (result.exit_code, found["watches"], found["alarms"]) == (0, 18, [])


def test_a_backtest_finds_what_happened(shop: Shop) -> None:
    """Over a past in which something broke, the backtest says when it would have been told."""
    found = answer(guard(shop, "broken", "--backtest", "1h", "--json"))
    changed = datetime.fromisoformat(shop.changed)
    times = [datetime.fromisoformat(alarm["at"].replace("Z", "+00:00")) for alarm in found["alarms"]]
    assert times
    assert all(changed <= at for at in times)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--watch", "60s"], "too short"),
        (["--changed", "yesterday"], "neither a duration"),
        (["--changed", "2026-01-01T00:00:00"], "no time zone"),
        (["--changed", "2999-01-01T00:00:00Z"], "in the future"),
        (["--decide", "speed"], "choose from errors, time, queries"),
        (["--backtest", "60s"], "shorter than one watch"),
    ],
)
def test_bad_options_are_usage_errors(shop: Shop, arguments: list[str], says: str) -> None:
    """An option that makes no sense exits with 2 and names the fix."""
    result = guard(shop, "quiet", *arguments)
    assert result.exit_code == 2
    assert says in result.stderr


def test_no_prometheus_is_an_environment_error(tmp_path: Path) -> None:
    """A Prometheus that nobody listens at ends with 2 before anything is watched."""
    nobody = ["guard", "--prometheus", "http://127.0.0.1:9", "--history", str(tmp_path / "history")]
    assert CliRunner().invoke(otel_schema, nobody).exit_code == 2


def test_another_app_is_inconclusive(shop: Shop) -> None:
    """Where no series match, the guard exits with 3 and says so."""
    result = guard(shop, "nobody", "--export-interval", "50ms", "--watch", "1s")
    assert result.exit_code == 3
    assert "no samples of this app" in result.stdout


def test_credentials_reach_both_servers(shop: Shop, tmp_path: Path) -> None:
    """Password, authority, bearer token and headers are used for Prometheus and Alertmanager, and never printed."""
    token = tmp_path / "token"
    token.write_text("s3cret-token")

    def refuses(headers: Mapping[str, str]) -> int:
        allowed = (
            headers.get("authorization") == "Bearer s3cret-token" and headers.get("x-scope-orgid") == "s3cret-team"
        )
        return 0 if allowed else 401

    with ExitStack() as stack:
        manager = stack.enter_context(LockedAlertmanager(tmp_path / "alertmanager", shop.lock))
        prometheus, alerts = (
            stack.enter_context(proxy(url, refuses, shop.lock.ask)) for url in (shop.url, manager.url)
        )
        operator, other = (manager.url.replace("://", f"://operator:{word}@") for word in ("test", "s3cret"))
        by_password = guard(shop, "broken", "--json", "--alertmanager", operator)
        sent = ["--bearer-token-file", str(token), "--header", "X-Scope-OrgID=s3cret-team"]
        by_token = guard_at(shop, ["--prometheus", prometheus, *sent], "broken", "--json", "--alertmanager", alerts)
        assert (by_password.exit_code, by_token.exit_code) == (1, 1), by_password.output + by_token.output
        assert manager.incidents() == {answer(by_password)["incident"], answer(by_token)["incident"]}
        authority = ["--ca-file", str(shop.lock.authority)]
        for where, says in (
            (["--prometheus", prometheus], "--bearer-token-file"),
            (["--prometheus", shop.url, *authority], "--bearer-token-file"),
            (["--prometheus", other.replace(str(manager.port), shop.url.rpartition(":")[2]), *authority], "401"),
            (["--prometheus", shop.url.replace("://", "://operator:test@")], "--ca-file"),
        ):
            refused = guard_at(shop, where, "broken")
            assert refused.exit_code == 2, refused.output
            assert says in refused.output
            assert "s3cret" not in refused.output
        assert "s3cret" not in by_token.output
