"""Checks the values of `otel-schema export`: with those it takes, every file is valid and every alert can fire."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from .. import semconv
from .scope import Matcher, Scope, listed, matchers
from .thresholds import DEFAULTS, PARAMETERS, Kind, seconds

RESERVED: Final = frozenset(
    [
        "le",
        "job",
        "instance",
        "alertname",
        "alertstate",
        "severity",
        "long",
        "short",
        "signal",
        "notification",
        "incident_id",
        "phase",
        "exporter",
        "receiver",
        "data_type",
        "transport",
        "error_type",
        "otel_metric_overflow",
        "datasource",
        "schema",
        "resource_environment",
    ]
)
"""Labels that rules, routes and dashboards set or keep themselves. Labels of our metrics are reserved too."""
_OURS: Final = re.compile(r"__.*|schema_.*|http_.*|db_.*|otel_.*")
_LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_DURATION: Final = re.compile(r"([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?")
_LONGEST: Final = 365 * 86400
_QUOTING: Final = frozenset("\"\\'`{}")


class ParameterError(Exception):
    """A value that a file cannot hold, or with which an alert cannot fire. The message names both and the reason."""


def check_values(given: Mapping[str, str]) -> dict[str, str]:
    """Check the given values, and return them over the defaults.

    Raises:
        ParameterError: if there is no such parameter, or it does not take the value.
    """
    kinds: dict[str, Kind] = {parameter.name: parameter.kind for parameter in PARAMETERS}
    for name, value in given.items():
        if name not in kinds:
            raise ParameterError(f"{name}: no such parameter; `otel-schema export --list` lists them")
        if value == DEFAULTS[name]:
            continue
        if not value.strip():
            raise ParameterError(f"{name}: empty; leave the parameter out for its default, {DEFAULTS[name]!r}")
        if reason := _CHECKS[kinds[name]](value):
            raise ParameterError(f"{name}: {value!r} {reason}")
    values = {**DEFAULTS, **given}
    _together(values)
    return values


def check_labels(labels: Mapping[str, str], values: Mapping[str, str]) -> Mapping[str, str]:
    """Check the labels that every alert about an app is to have, and return them.

    Raises:
        ParameterError: if one is no label, or replaces one that a rule keeps.
    """
    chosen = {matcher.label: matcher for matcher in matchers(values["selector"])}
    for name, value in labels.items():
        if reason := _label(name) or _text(value):
            raise ParameterError(f"--label {name}: {reason if _label(name) else f'{value!r} {reason}'}")
        if not value:
            raise ParameterError(f"--label {name}: empty, which is no label")
        if name in Scope(values).further and chosen.get(name) != Matcher(name, "=", value):
            raise ParameterError(f"--label {name}: rules keep this label of the series; it would be overwritten")
    return labels


def _together(values: Mapping[str, str]) -> None:
    """Check values that are valid alone, but not together."""
    objective = float(values["slo_objective"])
    for name in ("burn_1h", "burn_6h", "burn_1d", "burn_3d"):
        if float(values[name]) * (1 - objective) >= 1:
            highest = 1 / (1 - objective)
            raise ParameterError(
                f"{name}: with an objective of {objective:g} all validations may be bad and still burn the budget only "
                f"{highest:.3g} times too fast; {values[name]} is never reached"
            )
    if seconds(values["missing_for"]) > 3000:
        raise ParameterError("missing_for: more than 50m; the rule sees a missing job for one hour only")
    for team in listed(values["teams"]):
        if team == values["platform_team"]:
            raise ParameterError(f"teams: {team!r} is the platform's team, which has receivers")


def _label(name: str) -> str:
    if not _LABEL.fullmatch(name):
        return "is not a label's name"
    if name in RESERVED or _OURS.fullmatch(name):
        return "a label that the rules keep or set themselves"
    return ""


def _number(value: str) -> float | None:
    """A plain decimal number, None for anything else."""
    return float(value) if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?", value) else None


def _ratio(value: str) -> str:
    number = _number(value)
    return "" if number is not None and 0 < number < 1 else "is not a number above 0 and below 1"


def _count(value: str) -> str:
    return "" if _number(value) is not None else "is not a number of at least 0"


def _factor(value: str) -> str:
    return "" if _number(value) else "is not a number above 0"


def _boundary(bounds: tuple[float, ...]) -> Callable[[str], str]:
    """Check for one of the boundaries. The caller leaves the last one out: a quantile is never above it."""
    listing = " ".join(f"{bound:.6f}".rstrip("0").rstrip(".") for bound in bounds)

    def check(value: str) -> str:
        return "" if _number(value) in bounds else f"is not a bucket boundary that a value can exceed: {listing}"

    return check


def _duration(value: str) -> str:
    if not _DURATION.fullmatch(value):
        return "is not a duration such as 90s, 5m or 1h30m"
    return "" if len(value) < 20 and seconds(value) <= _LONGEST else "is longer than a year"


def _interval(value: str) -> str:
    return _duration(value) or ("" if seconds(value) >= 1 else "must be longer than 0 s")


def _text(value: str) -> str:
    if not value.isprintable() or _QUOTING & set(value):
        return "has a quote, a brace, a backslash or an unprintable character"
    return ""


def _url(value: str) -> str:
    if not re.fullmatch(r"https?://[^\s<>|]+", value):
        return "is not an address that begins with http:// or https://"
    return "ends with a slash" if value.endswith("/") else _text(value)


def _server(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9.-]+:[0-9]{1,5}|\[[0-9A-Fa-f:.]+\]:[0-9]{1,5}", value):
        return "is not a host and a port such as smtp.example.com:587"
    return "" if 0 < int(value.rpartition(":")[2]) < 65536 else "has a port that is not one of 1 to 65535"


def _matchers(value: str) -> str:
    try:
        found = matchers(value)
    except ValueError as error:
        return f"is no selector: {error}"
    for matcher in found:
        if matcher.label != "job" and _label(matcher.label):
            return f"selects by {matcher.label}, which not every series has: select by labels of the target"
        if not matcher.value.isprintable() or set(matcher.value) & _QUOTING:
            return f"has a quote, a brace, a backslash or an unprintable character in the value of {matcher.label}"
        if matcher.operator in ("=~", "!~") and (reason := _pattern(matcher.value)):
            return f"has a value of {matcher.label} that {reason}"
        if not matcher.value and matcher.operator == "=":
            return f"asks for series without {matcher.label}"
    return ""


def _pattern(value: str) -> str:
    """Allow names, `.*`, `.+`, `.?`, `|` and groups: every engine of regular expressions reads these alike."""
    if not re.fullmatch(r"(?:[a-zA-Z0-9_/:@ -]|\.[*+?]?|\||\((?!\?)|\)[?]?)+", value) or len(value) > 500:
        return "is not a pattern of names, `.`, `.*`, `.+`, `|` and groups"
    try:
        pattern = re.compile(value)
    except re.error as error:
        return f"is not a pattern: {error}"
    return "matches the empty text, hence everything" if pattern.fullmatch("") else ""


def _names(value: str) -> str:
    for name in listed(value):
        if name != "job" and (reason := _label(name)):
            return f"names {name!r}: {reason}"
    return "" if listed(value) else "names nothing"


def _teams(value: str) -> str:
    wrong = [name for name in listed(value) if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,40}", name)]
    taken = {"chat", "pager", "platform", "mail", "progress", "deadman"} & set(listed(value))
    if wrong or taken:
        return f"names {(wrong or sorted(taken))[0]!r}, which cannot be a team's receiver"
    return "" if listed(value) else "names nothing"


def _uid(value: str) -> str:
    return "" if re.fullmatch(r"[a-zA-Z0-9_-]{1,40}", value) else "is not 1 to 40 letters, digits, - and _"


def _prefix(value: str) -> str:
    return "" if re.fullmatch(r"[a-z][a-z0-9-]{0,19}", value) else "is not a letter and up to 19 letters, digits and -"


def _directory(value: str) -> str:
    return _text(value) or ("" if value.startswith("/") else "is not absolute: Alertmanager may start anywhere")


def _kubernetes_name(value: str) -> str:
    pattern = r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?"
    return "" if re.fullmatch(pattern, value) else "is not a name as Kubernetes has them"


def _kubernetes_labels(value: str) -> str:
    name = r"[a-zA-Z0-9]([a-zA-Z0-9._-]{0,61}[a-zA-Z0-9])?"
    pairs = [pair.partition("=") for pair in listed(value)]
    good = all(re.fullmatch(rf"({name}/)?{name}", key) and re.fullmatch(name, text) for key, _, text in pairs)
    return "" if good and pairs else "is not a list such as release=kube-prometheus-stack,team=leads"


_CHECKS: Final[dict[Kind, Callable[[str], str]]] = {
    "ratio": _ratio,
    "validation seconds": _boundary(semconv.VALIDATION_BUCKETS[:-1]),
    "query seconds": _boundary(semconv.QUERY_BUCKETS[:-1]),
    "slo seconds": _boundary(semconv.VALIDATION_BUCKETS),
    "count": _count,
    "factor": _factor,
    "duration": _duration,
    "interval": _interval,
    "text": _text,
    "url": _url,
    "server": _server,
    "uid": _uid,
    "matchers": _matchers,
    "labels": _names,
    "names": _teams,
    "prefix": _prefix,
    "pattern": _pattern,
    "directory": _directory,
    "kubernetes name": _kubernetes_name,
    "kubernetes labels": _kubernetes_labels,
}
