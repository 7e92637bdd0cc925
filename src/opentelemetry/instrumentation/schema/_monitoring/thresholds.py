"""Every threshold, `for`, label and address that rules, dashboards and Alertmanager's config depend on.

The files committed in the repository are what the defaults give.
"""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple

Kind = Literal[
    "ratio", "validation seconds", "query seconds", "slo seconds", "count", "factor", "duration", "interval",
    "text", "url", "server", "uid", "matchers", "labels", "names", "prefix", "pattern", "directory", "kubernetes name",
    "kubernetes labels",
]  # fmt: skip


class Parameter(NamedTuple):
    """Something that a user may set.

    Attributes:
        name: As in `--set name=value`.
        default: As written into the files.
        kind: Which values it takes; `values.py` checks each kind.
        why: Why this is the default, for the comments of the rules.
    """

    name: str
    default: str
    kind: Kind
    why: str


PARAMETERS: Final = (
    Parameter("error_ratio", "0.01", "ratio", "1 %, as promised. A public API gets more bad input: raise it there."),
    Parameter("error_for", "5m", "duration", "longer than one client retries"),
    Parameter("p95_seconds", "0.01", "validation seconds", "10 ms, as promised; a bucket boundary. Usual are 10 µs."),
    Parameter("p95_for", "1m", "duration", "as promised"),
    Parameter("p95_validations", "20", "count", "with fewer than 20 values the 95th percentile is the slowest value"),
    Parameter("hit_ratio", "0.85", "ratio", "85 %, as promised. A cache that works is above 95 %."),
    Parameter("hit_for", "10m", "duration", "as promised; a cache warms up faster after a deployment"),
    Parameter("hit_lookups", "20", "count", "with fewer than 20 look-ups one miss is more than 5 %"),
    Parameter("endpoint_error_ratio", "0.05", "ratio", "5 %: one endpoint varies more than all of them together."),
    Parameter("endpoint_error_for", "5m", "duration", "the window is 5 m too: it fires within 10 m of a fault"),
    Parameter("endpoint_requests", "20", "count", "with fewer than 20 requests one failure is more than 5 %"),
    Parameter("crashes", "0", "count", "A validator never crashes, whatever the input."),
    Parameter("crash_for", "0s", "duration", "one crash or error is enough"),
    Parameter("slo_objective", "0.99", "ratio", "99 % is a start; set your own objective."),
    Parameter("slo_seconds", "0.01", "slo seconds", "10 ms, as p95_seconds; must be a bucket boundary"),
    Parameter("slo_validations", "100", "count", "with fewer than 100 validations one bad one breaks the objective"),
    Parameter("burn_1h", "14.4", "factor", "2 % of a 30-day budget in 1 h: page someone."),
    Parameter("burn_1h_for", "2m", "duration", "long enough for two evaluations of the short window"),
    Parameter("burn_6h", "6", "factor", "5 % of a 30-day budget in 6 h: page someone."),
    Parameter("burn_6h_for", "15m", "duration", "half of the short window"),
    Parameter("burn_1d", "3", "factor", "10 % of a 30-day budget in a day: open a ticket."),
    Parameter("burn_1d_for", "1h", "duration", "half of the short window"),
    Parameter("burn_3d", "1", "factor", "10 % of a 30-day budget in three days: open a ticket."),
    Parameter("burn_3d_for", "3h", "duration", "half of the short window"),
    Parameter("query_seconds", "0.1", "query seconds", "100 ms: ten times p95_seconds; a bucket boundary"),
    Parameter("query_for", "5m", "duration", "longer than a database checkpoint, or the start of a backup"),
    Parameter("query_count", "20", "count", "with fewer than 20 values the 95th percentile is the slowest value"),
    Parameter("validation_queries", "5", "count", "A look-up or two is a choice; more is one for each item."),
    Parameter("validation_queries_for", "10m", "duration", "a burst of large inputs is no fault of the code"),
    Parameter("validation_queries_count", "20", "count", "a few validations say little"),
    Parameter("build_ratio", "0.5", "ratio", "A module-level validator misses once in a process."),
    Parameter("build_for", "10m", "duration", "longer than a rolling deployment needs for each schema's first use"),
    Parameter("build_count", "20", "count", "a few new processes build fewer validators"),
    Parameter("schema_versions", "1", "count", "1: with two versions, one is wrong for some client."),
    Parameter("schema_versions_for", "1h", "duration", "longer than a rolling deployment"),
    Parameter("mismatches", "0", "count", "Any: each loses data or fails requests."),
    Parameter("mismatches_for", "30m", "duration", "longer than a deployment that migrates after its code is out"),
    Parameter("pending", "0", "count", "Any: code and database are one deployment."),
    Parameter("pending_for", "30m", "duration", "longer than a deployment that migrates after its code is out"),
    Parameter("failed_for", "0s", "duration", "One failed run is enough: nobody else tries again."),
    Parameter("partial_for", "0s", "duration", "One partial run is enough: no code was written for this database."),
    Parameter("revision_for", "30m", "duration", "a rolling deployment passes through it: old code, new database"),
    Parameter("unknown_for", "30m", "duration", "six reads in a row, as one that failed is repeated after 5 m"),
    Parameter("degraded_for", "0s", "duration", "One verdict is enough: the guard has watched for minutes."),
    Parameter("migration_memory", "30d", "interval", "A run is remembered so long, if Prometheus keeps its data."),
    Parameter("missing_after", "1h", "interval", "only apps that report without a pause: no nightly worker"),
    Parameter("missing_for", "10m", "duration", "Longer than a deployment. After an hour the rule forgets an app."),
    Parameter("absent_for", "15m", "duration", "Longer than a restart of Prometheus and the collectors."),
    Parameter("dropped", "0", "count", "0: each one means that a limit was reached."),
    Parameter("dropped_for", "10m", "duration", "a short burst of failures may drop spans"),
    Parameter("internal_errors", "0", "count", "0: there should be none."),
    Parameter("internal_errors_for", "0s", "duration", "one crash or error is enough"),
    Parameter("queue_ratio", "0.5", "ratio", "Half: the queue needs as long again until it is full."),
    Parameter("queue_for", "5m", "duration", "longer than a restart of the next hop"),
    Parameter("export_failed", "0", "count", "0: telemetry that finally fails is lost."),
    Parameter("export_for", "1m", "duration", "two scrapes must show it"),
    Parameter("refused", "0", "count", "0: senders give up after 10 s."),
    Parameter("refused_for", "2m", "duration", "a short burst of load is no fault"),
    Parameter("down_for", "2m", "duration", "longer than a restart; agents keep telemetry on disk"),
    Parameter("group_wait", "30s", "duration", "alerts of one fault arrive in one message"),
    Parameter("group_interval", "5m", "interval", "wait before the next message about the same group"),
    Parameter("deadman_interval", "1m", "interval", "how often the dead-man's switch gets a message"),
    Parameter("selector", "", "matchers", 'which apps, in every query: environment="prod", team="leads"'),
    Parameter("own_labels", "job", "labels", "labels that every alert keeps; job is always among them"),
    Parameter("collector_selector", "", "matchers", "which collectors, in addition to their job"),
    Parameter("prefix", "", "prefix", "of groups, recorded names, dashboards, files: for two exports"),
    Parameter("teams", "", "names", "teams with receivers of their own: TEAM and TEAM-pager, by the label `team`"),
    Parameter("platform_team", "platform", "text", "the label `team` of the alerts about the telemetry itself"),
    Parameter("collector_job", "otelcol", "pattern", "the jobs that scrape the collectors' own metrics"),
    Parameter("runbook_url", "https://example.com/runbooks", "url", "where you serve docs/runbooks"),
    Parameter("grafana_url", "http://localhost:3000", "url", "Grafana, without a slash at the end"),
    Parameter("jaeger_url", "http://localhost:16686", "url", "Jaeger's page, if you have it"),
    Parameter("tempo_uid", "tempo", "uid", "Grafana's data source for traces in Tempo"),
    Parameter("jaeger_uid", "jaeger", "uid", "Grafana's data source for traces in Jaeger"),
    Parameter("rule_name", "opentelemetry-instrumentation-schema", "kubernetes name", "of the PrometheusRule"),
    Parameter("rule_namespace", "", "kubernetes name", "of the PrometheusRule; empty: where you apply it"),
    Parameter("rule_labels", "", "kubernetes labels", "of the PrometheusRule: release=kube-prometheus-stack"),
    Parameter("secrets_dir", "/etc/alertmanager/secrets", "directory", "where Alertmanager finds its secret files"),
    Parameter("slack_channel", "#schema-alerts", "text", "gets alerts about apps"),
    Parameter("platform_slack_channel", "#platform-alerts", "text", "gets alerts about the telemetry itself"),
    Parameter("webhook_url", "http://127.0.0.1:9095/alerts", "url", "gets every message as JSON"),
    Parameter("progress_url", "http://127.0.0.1:9095/progress", "url", "gets each phase of an incident"),
    Parameter("deadman_url", "http://127.0.0.1:9095/deadman", "url", "raises the alarm if no message arrives"),
    Parameter("mail_to", "api@example.com", "text", "gets alerts that are not urgent"),
    Parameter("mail_from", "alertmanager@example.com", "text", "the sender, and the user name at `smtp`"),
    Parameter("smtp", "smtp.example.com:587", "server", "the mail server, which must offer STARTTLS"),
)  # fmt: skip

DEFAULTS: Final = {parameter.name: parameter.default for parameter in PARAMETERS}
_WHY: Final = {parameter.name: parameter.why for parameter in PARAMETERS}
_UNITS: Final = {"d": "day", "h": "hour", "m": "minute", "s": "second"}
_SECONDS: Final = {"d": 86400, "h": 3600, "m": 60, "s": 1}


def seconds(duration: str) -> int:
    """A duration such as 1h30m in seconds."""
    return sum(int(number) * _SECONDS[unit] for number, unit in re.findall(r"([0-9]+)([dhms])", duration))


def spellings(bound: str) -> str:
    """A bucket's boundary as exporters write it in `le`: 1 or 1.0, 1e-05 or 0.00001. A pattern if there are several."""
    number = float(bound)
    return "|".join(dict.fromkeys((f"{number:.7f}".rstrip("0").rstrip("."), f"{number:g}", repr(number))))


def formatted(name: str, value: str, form: str | None) -> str:
    """A parameter's value in a form; form None is the value itself.

    Args:
        name: of the parameter.
        value: of the parameter.
        form: `percent`, `ms`, `short`, `words`; `le` (a matcher), `half` (a duration), `most` (nine tenths, in
            minutes), `above` (a number somewhat above it), `why`.
    """
    if form == "why":
        return _WHY[name]
    if form == "percent":
        return f"{float(value) * 100:g}%"
    if form == "ms":
        return f"{float(value) * 1000:g} ms"
    if form == "short":
        return f"{float(value) * 1000:g}ms"
    if form == "le":
        bound = spellings(value)
        return f'le{"=~" if "|" in bound else "="}"{bound}"'
    if form == "above":
        return f"{float(value) * 1.25 or 1:g}"
    if form == "half":
        return f"{seconds(value) // 2}s" if seconds(value) % 2 == 0 else f"{seconds(value) * 500}ms"
    if form == "most":
        return f"{seconds(value) * 9 // 600}"
    if form == "words":
        parts = [(int(number), _UNITS[unit]) for number, unit in re.findall(r"([0-9]+)([dhms])", value)]
        return " ".join(f"{number} {unit}{'s' if number != 1 else ''}" for number, unit in parts)
    return value
