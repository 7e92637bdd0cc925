"""Every threshold, `for`, label and address that rules, dashboards and Alertmanager's config depend on.

The files committed in the repository are what the defaults give.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

Kind = Literal["ratio", "seconds", "count", "factor", "duration", "text"]


class Parameter(NamedTuple):
    """Something that a user may set.

    Attributes:
        name: As in `--set name=value`.
        default: As written into the files.
        kind: What values it takes: `ratio` from 0 to 1, `seconds`, `count`, `factor` (numbers of at least 0),
            `duration` (Prometheus's: 5m, 1h30m), `text`.
        why: Where the default comes from, as the rules' comments say.
    """

    name: str
    default: str
    kind: Kind
    why: str


PARAMETERS: Final = (
    Parameter("error_ratio", "0.01", "ratio", "1 %: promised. Bad input is normal on a public API: there, raise it."),
    Parameter("error_for", "5m", "duration", "longer than one client's retries"),
    Parameter("p95_seconds", "0.01", "seconds", "10 ms: promised; a bucket boundary. Usual validations take 10 µs."),
    Parameter("p95_for", "1m", "duration", "promised"),
    Parameter("p95_validations", "20", "count", "below 20 values the 95th percentile is the slowest one"),
    Parameter("hit_ratio", "0.85", "ratio", "85 %: promised. A cache that works is above 95 %."),
    Parameter("hit_for", "10m", "duration", "promised; longer than the warming up after a deployment"),
    Parameter("hit_lookups", "20", "count", "one miss in fewer look-ups is more than 5 %"),
    Parameter("endpoint_error_ratio", "0.05", "ratio", "5 %: five times the limit for all; one endpoint varies more."),
    Parameter("endpoint_error_for", "5m", "duration", "its windows are of 5 m too: at most 10 m after a fault began"),
    Parameter("endpoint_requests", "20", "count", "one failure in 20 requests is 5 %, which is not above the limit"),
    Parameter("crashes", "0", "count", "A validator never crashes, whatever the input."),
    Parameter("crash_for", "0s", "duration", "one is enough"),
    Parameter("slo_objective", "0.99", "ratio", "99 %: an objective to start from; set your own."),
    Parameter("slo_seconds", "0.01", "seconds", "10 ms, as HighValidationTime; must be a bucket boundary"),
    Parameter("slo_validations", "100", "count", "one bad validation in 100 is the objective itself"),
    Parameter("burn_1h", "14.4", "factor", "2 % of a 30-day budget in 1 h: somebody must get up."),
    Parameter("burn_1h_for", "2m", "duration", "the short window has to see it twice"),
    Parameter("burn_6h", "6", "factor", "5 % of a 30-day budget in 6 h: somebody must get up."),
    Parameter("burn_6h_for", "15m", "duration", "half of the short window"),
    Parameter("burn_1d", "3", "factor", "10 % of a 30-day budget in a day: a ticket."),
    Parameter("burn_1d_for", "1h", "duration", "half of the short window"),
    Parameter("burn_3d", "1", "factor", "10 % of a 30-day budget in three days: a ticket."),
    Parameter("burn_3d_for", "3h", "duration", "half of the short window"),
    Parameter("query_seconds", "0.1", "seconds", "100 ms: ten times what a validation may take; a bucket boundary."),
    Parameter("query_for", "5m", "duration", "longer than a checkpoint or a backup's start"),
    Parameter("query_count", "20", "count", "below 20 values the 95th percentile is the slowest one"),
    Parameter("build_ratio", "0.5", "ratio", "A module-level validator misses once in a process: half is far off."),
    Parameter("build_for", "10m", "duration", "longer than a rolling deployment's first uses"),
    Parameter("build_count", "20", "count", "first uses of a schema by a few new processes are fewer"),
    Parameter("missing_for", "10m", "duration", "Longer than a deployment; the job is remembered for an hour."),
    Parameter("absent_for", "15m", "duration", "Longer than a restart of Prometheus and everything before it."),
    Parameter("dropped", "0", "count", "Any: each says that a limit was reached."),
    Parameter("dropped_for", "10m", "duration", "a burst of failures may leave out spans"),
    Parameter("internal_errors", "0", "count", "Any: there should be none."),
    Parameter("internal_errors_for", "0s", "duration", "one is enough"),
    Parameter("queue_ratio", "0.5", "ratio", "Half: as much time is left as it took to get here."),
    Parameter("queue_for", "5m", "duration", "a restart of the next hop takes less"),
    Parameter("export_failed", "0", "count", "Any: what failed for good is lost."),
    Parameter("export_for", "1m", "duration", "two scrapes must agree"),
    Parameter("refused", "0", "count", "Any: senders give up after 10 s."),
    Parameter("refused_for", "2m", "duration", "one full second under load is no fault"),
    Parameter("down_for", "2m", "duration", "A restart takes less; agents keep what they hold on disk."),
    Parameter("group_wait", "30s", "duration", "what one fault raises arrives together"),
    Parameter("group_interval", "5m", "duration", "news of a group that was told already"),
    Parameter("platform_team", "platform", "text", "`team` of the alerts about the telemetry itself"),
    Parameter("collector_job", "otelcol", "text", "the job that scrapes the collector's own series"),
    Parameter("runbook_url", "https://example.com/runbooks", "text", "where docs/runbooks is served"),
    Parameter("grafana_url", "http://localhost:3000", "text", "Grafana, without a slash at the end"),
    Parameter("jaeger_url", "http://localhost:16686", "text", "Jaeger's page, for those who have it"),
    Parameter("slack_channel", "#schema-alerts", "text", "who hears of apps"),
    Parameter("platform_slack_channel", "#platform-alerts", "text", "who hears of the telemetry"),
    Parameter("webhook_url", "http://127.0.0.1:9095/alerts", "text", "takes every message as JSON"),
    Parameter("progress_url", "http://127.0.0.1:9095/progress", "text", "takes the progress of incidents"),
    Parameter("deadman_url", "http://127.0.0.1:9095/deadman", "text", "raises the alarm when it hears nothing"),
    Parameter("mail_to", "api@example.com", "text", "who reads what is not urgent"),
    Parameter("mail_from", "alertmanager@example.com", "text", "the sender, and the account at `smtp`"),
    Parameter("smtp", "smtp.example.com:587", "text", "mail server with STARTTLS"),
)  # fmt: skip

DEFAULTS: Final = {parameter.name: parameter.default for parameter in PARAMETERS}
_WHY: Final = {parameter.name: parameter.why for parameter in PARAMETERS}
_DURATION: Final = re.compile(r"(\d+d)?(\d+h)?(\d+m)?(\d+s)?")
_UNITS: Final = {"d": "day", "h": "hour", "m": "minute", "s": "second"}


class ParameterError(Exception):
    """A value that no file can hold; the message names the parameter and what it takes."""


def checked(given: Mapping[str, str]) -> dict[str, str]:
    """All values, the given ones over the defaults.

    Raises:
        ParameterError: if there is no such parameter, or it does not take the value.
    """
    kinds: dict[str, Kind] = {parameter.name: parameter.kind for parameter in PARAMETERS}
    for name, value in given.items():
        if name not in kinds:
            raise ParameterError(f"{name}: no such parameter; `otel-schema export --list` names them")
        _check(name, value, kinds[name])
    return {**DEFAULTS, **given}


def _check(name: str, value: str, kind: Kind) -> None:
    if kind == "text":
        if not value.isprintable() or set(value) & set("\"\\'`{}"):
            raise ParameterError(f"{name}: {value!r} has a quote, a brace, a backslash or an unprintable character")
    elif kind == "duration":
        if not value or not _DURATION.fullmatch(value):
            raise ParameterError(f"{name}: {value!r} is not a duration such as 90s, 5m or 1h30m")
    elif not is_number(value) or float(value) < 0 or (kind == "ratio" and float(value) > 1):
        raise ParameterError(
            f"{name}: {value!r} is not a number {'from 0 to 1' if kind == 'ratio' else 'of at least 0'}"
        )


def is_number(text: str) -> bool:
    """Whether a text is a plain decimal number."""
    return re.fullmatch(r"\d+(\.\d+)?", text) is not None


def formatted(name: str, value: str, form: str | None) -> str:
    """A parameter's value in a form: `percent`, `ms`, `short`, `words`, `why`; None for the value itself."""
    if form == "why":
        return _WHY[name]
    if form == "percent":
        return f"{float(value) * 100:g}%"
    if form == "ms":
        return f"{float(value) * 1000:g} ms"
    if form == "short":
        return f"{float(value) * 1000:g}ms"
    if form == "words":
        parts = [(int(number), _UNITS[unit]) for number, unit in re.findall(r"(\d+)([dhms])", value)]
        return " ".join(f"{number} {unit}{'s' if number != 1 else ''}" for number, unit in parts)
    return value
