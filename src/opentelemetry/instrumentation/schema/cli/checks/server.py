"""Checks a Prometheus: its scrapes, its storage, its rules, and series of other programs with our names."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any, Final

from ... import semconv
from ..._monitoring import rendering, thresholds
from ..._prometheus.http import SourceError
from ..._prometheus.server import Prometheus, duration, shaped
from ..._prometheus.text import cleaned
from . import stack
from .check import LONGEST_SCRAPE, Check
from .environment import Export, intervals

RESTARTS: Final = 5
"""More resets of one process in five minutes are not restarts."""

_HISTOGRAM: Final = semconv.VALIDATION_DURATION.prometheus
_COUNT: Final = f"{_HISTOGRAM}_count"
_NOT_OVERFLOWN: Final = f'{semconv.OVERFLOW.replace(".", "_")}=""'
_STRANGERS: Final = {
    semconv.VALIDATION_ERRORS.prometheus: ('schema_name=""',),
    semconv.API_REQUESTS.prometheus: ('http_request_method=""', 'schema_endpoint=""'),
    semconv.CACHE_HITS.prometheus: ('schema_cache_name=""',),
    semconv.CACHE_MISSES.prometheus: ('schema_cache_name=""',),
}
"""Metric names that other programs may use → matchers of series that are not ours."""


def checks(server: Prometheus, export: Export | None) -> Iterator[Check]:
    """All checks. If an API is missing (Mimir, Thanos, managed services), only its check is unknown.

    Args:
        server: The Prometheus.
        export: How the app exports; None without an app's environment.
    """
    each: dict[str, Callable[[], Iterator[Check]]] = {
        "exemplars": lambda: exemplars(server),
        "interval": lambda: scrapes(server, export),
        "labels": lambda: labels(server),
        "paths": lambda: paths(server),
        "histograms": lambda: histograms(server),
        "identity": lambda: identities(server),
        "rules": lambda: rules(server),
        "strangers": lambda: strangers(server),
        "retention": lambda: stack.retention(server),
        "clock": lambda: stack.clock(server),
        "collector": lambda: stack.collectors(server),
        "progress": lambda: stack.progress(server),
        "traffic": lambda: stack.traffic(server),
    }
    for name, look in each.items():
        try:
            yield from list(look())
        except SourceError as error:
            yield Check(name, "unknown", f"cannot check {name} of {server.name}: {error}")
        except ValueError as error:
            yield Check(name, "unknown", f"cannot check {name} of {server.name}: {server.odd(error)}")


def exemplars(server: Prometheus) -> Iterator[Check]:
    """Whether it keeps exemplars."""
    flags = shaped(server.api("status/flags"), dict[str, Any])
    if "exemplar-storage" in str(flags.get("enable-feature", "")):
        yield Check("exemplars", "fine", f"{server.name} keeps exemplars")
    else:
        message = f"{server.name} drops exemplars: start it with --enable-feature=exemplar-storage"
        yield Check("exemplars", "finding", message)


def scrapes(server: Prometheus, export: Export | None) -> Iterator[Check]:
    """Whether Prometheus scrapes the apps or collectors often enough for windows of one minute."""
    kept = server.selector.of(_COUNT, 'exported_instance=""')
    own = {
        (series.get("job", ""), series.get("instance", ""))
        for series, _ in server.query(f"count by (job, instance) ({kept})")
    }
    direct, others = set[float](), list[dict[str, Any]]()
    for target in shaped(server.api("targets", state="active"), list[Any], "activeTargets"):
        its = shaped(target, dict[str, Any], "labels")
        # series of an app's own endpoint have the labels of the target, series of a collector those of the apps
        if (its.get("job", ""), its.get("instance", "")) in own:
            direct.add(duration(shaped(target, str, "scrapeInterval")))
        else:
            others.append(target)
    collected = _exposing(server, others) if others or not direct else set[float]()
    for scrape in sorted(direct):
        yield _often_enough(server, scrape, "the app")
    for scrape in sorted(collected):
        if export is not None and export.pushed:
            yield from intervals(export, scrape, f" by {server.name}")
        else:
            yield _often_enough(server, scrape, "the collector")
    if not direct | collected and export is not None:
        # remote write and OTLP push: there is no scrape
        yield from intervals(export, None, "")


def _exposing(server: Prometheus, targets: list[dict[str, Any]]) -> set[float]:
    """Seconds between the scrapes of those targets that expose our metric."""
    metadata = shaped(server.api("targets/metadata", metric=_HISTOGRAM), list[Any])
    exposing = [shaped(row, dict[str, Any], "target") for row in metadata]
    return {
        duration(shaped(target, str, "scrapeInterval"))
        for target in targets
        if shaped(target, object, "labels") in exposing
    }


def _often_enough(server: Prometheus, scrape: float, what: str) -> Check:
    if scrape > LONGEST_SCRAPE:
        message = (
            f"{server.name} scrapes {what} every {scrape:g} s: some one-minute windows contain a single sample, so "
            "rate() returns nothing and pending alerts start over. Set scrape_interval: 10s"
        )
        return Check("interval", "finding", message)
    return Check("interval", "fine", f"{server.name} scrapes {what} every {scrape:g} s")


def labels(server: Prometheus) -> Iterator[Check]:
    """Whether scrapes of a collector keep the apps' own job and instance."""
    exported = [server.selector.of(_COUNT, f'{name}!=""') for name in ("exported_instance", "exported_job")]
    if server.query(f"count({' or '.join(exported)})"):
        message = (
            f"{server.name} renames the apps' own job and instance to exported_job and exported_instance, which no "
            "query reads: set honor_labels: true for the job that scrapes the collector"
        )
        yield Check("labels", "finding", message)


def paths(server: Prometheus) -> Iterator[Check]:
    """Whether a process arrives twice, such as by its own endpoint and by a collector: then all its counts double."""
    ours = {
        (series.get("job", ""), series.get("instance", ""))
        for series, _ in server.query(f"count by (job, instance) ({_of(server, _COUNT)})")
    }
    identity = "job, instance, service_name, service_instance_id"
    rows = [row for row, _ in server.query(f"count by ({identity}) ({_of(server, 'target_info')})")]
    found: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
    for row in rows:
        at = row.get("job", ""), row.get("instance", "")
        if at in ours:
            # a scraped app has its resource in labels; a collector makes job and instance of it
            service = row.get("service_name") or at[0].rpartition("/")[2]
            instance = row.get("service_instance_id") or ("" if row.get("service_name") else at[1])
            found[instance or service].add(at)
    for identified, twice in sorted(found.items()):
        if len(twice) > 1:
            names = " and ".join(f"job {job}, instance {instance}" for job, instance in sorted(twice))
            message = (
                f"{server.name} has the process {identified} twice, as {names}: every count is doubled. Scrape the "
                "app or its collector, not both"
            )
            yield Check("paths", "finding", message)


def histograms(server: Prometheus) -> Iterator[Check]:
    """Whether there are classic buckets, which the rules read."""
    bare = _of(server, _HISTOGRAM)  # the whole of a native histogram, also of one converted from buckets (NHCB)
    either = f"count by (job) ({bare}) or count by (job) ({_of(server, _COUNT)})"
    buckets = _of(server, f"{_HISTOGRAM}_bucket")
    for series, _ in server.query(f"({either}) unless count by (job) ({buckets})"):
        message = (
            f"{server.name} has no {_HISTOGRAM}_bucket of job {series.get('job', '')}, which every p95 query reads: "
            "native histograms replace it, or relabeling drops it. Set always_scrape_classic_histograms: true and "
            "convert_classic_histograms_to_nhcb: false; for OTLP, no exponential histograms"
        )
        yield Check("histograms", "finding", message)


def identities(server: Prometheus) -> Iterator[Check]:
    """Whether each process has series of its own. Counters that several write seem to restart at every scrape."""
    nameless = server.selector.of(_COUNT, 'instance=""')
    for series, _ in server.query(f"count by (job) ({nameless})"):
        message = (
            f"{server.name}: the processes of {series.get('job', 'a job')} have no instance and write into one series: "
            "set service.instance.id in each, or use an SDK since 1.44"
        )
        yield Check("identity", "finding", message)
    resets = f"max by (job, instance) (resets({_of(server, _COUNT)}[5m])) > {RESTARTS}"
    for series, number in server.query(resets):
        message = (
            f"{server.name}: the counters of {series.get('job', '')} {series.get('instance', '')} restarted "
            f"{number:g} times in five minutes: several processes share one service.instance.id, or Prometheus "
            "scrapes several gateways without a label for each (docs/pipeline.md)"
        )
        yield Check("identity", "finding", message)


def rules(server: Prometheus) -> Iterator[Check]:
    """Whether Prometheus has loaded our alerts, and can evaluate them."""
    ours = {
        name
        for _, text in rendering.rules(thresholds.DEFAULTS)
        for name in re.findall(r"^ *- alert: (\w+)", text, re.MULTILINE)
    }
    loaded, failing = set[str](), dict[str, str]()
    for group in shaped(server.api("rules"), list[Any], "groups"):
        for rule in shaped(group, list[Any], "rules"):
            name = shaped(rule, str, "name")
            if shaped(rule, dict[str, Any]).get("type") == "alerting" and name in ours:
                loaded.add(name)
                if error := rule.get("lastError"):
                    failing[name] = cleaned(str(error), 200)
    if not loaded:
        message = (
            f"{server.name} has none of our alerts, so nobody is notified. Write the rules with `otel-schema export "
            "DIRECTORY`, and list them in rule_files"
        )
        yield Check("rules", "finding", message)
    for name, error in sorted(failing.items()):
        yield Check("rules", "finding", f"{server.name} cannot evaluate {name}: {error}")
    if loaded and (missing := sorted(ours - loaded)):
        named = ", ".join(missing[:3]) + (" …" if missing[3:] else "")
        message = (
            f"{server.name} has {len(loaded)} of our {len(ours)} alerts; missing: {named}. Its rules are older "
            "than this package, or somebody left them out: write them again by `otel-schema export DIRECTORY`"
        )
        yield Check("rules", "note", message)
    elif loaded and not failing:
        yield Check("rules", "fine", f"{server.name} has our {len(ours)} alerts loaded")


def strangers(server: Prometheus) -> Iterator[Check]:
    """Whether other programs use our metric names."""
    jobs: defaultdict[str, set[str]] = defaultdict(set)
    for metric, without in _STRANGERS.items():
        for series, _ in server.query(f"count by (job) ({server.selector.of(metric, *without, _NOT_OVERFLOWN)})"):
            jobs[series.get("job", "")].add(metric)
    for job, metrics in sorted(jobs.items()):
        message = (
            f"{server.name}: job {job or '(none)'} has a {' and a '.join(sorted(metrics))} that this instrumentation "
            "did not count; the alert schema-monitoring adds it to ours. Limit alerts and panels with `otel-schema "
            "export --set selector=…`, and doctor with --match"
        )
        yield Check("strangers", "finding", message)


def _of(server: Prometheus, metric: str) -> str:
    return server.selector.of(metric)
