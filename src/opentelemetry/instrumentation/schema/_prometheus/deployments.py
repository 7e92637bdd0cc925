"""What runs where, from a Prometheus: releases, commits, API versions, and the database states that apps see."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from .. import semconv
from .server import Prometheus

Labels = Mapping[str, str]


@dataclass(frozen=True)
class Deployment:
    """What the processes of one environment report.

    Attributes:
        releases: Values of `service.version`.
        commits: Values of `vcs.ref.head.revision`.
        states: (revision, state) that processes see of their database → how many of them.
        versions: Schema → its versions in use.
    """

    releases: set[str] = field(default_factory=set[str])
    commits: set[str] = field(default_factory=set[str])
    states: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict[tuple[str, str], int](int))
    versions: dict[str, set[str]] = field(default_factory=lambda: defaultdict[str, set[str]](set))


class Deployments:
    """What a Prometheus knows now, joined by job and instance.

    Args:
        prometheus: The Prometheus, which gets three queries.

    Raises:
        SourceError: if it does not answer.
    """

    def __init__(self, prometheus: Prometheus) -> None:
        selector = prometheus.selector
        self._databases = [each for each, _ in prometheus.query(f"{selector.of(semconv.DB_INFO.prometheus)} == 1")]
        self._schemas = [each for each, _ in prometheus.query(f"{selector.of(semconv.SCHEMA_INFO.prometheus)} == 1")]
        self._targets = {_process(each): each for each, _ in prometheus.query(selector.of("target_info"))}

    @property
    def environments(self) -> set[str]:
        """Values of `deployment.environment.name`."""
        return {each["deployment_environment_name"] for each in self._targets.values()
                if each.get("deployment_environment_name")}  # fmt: skip

    def of(self, environment: str | None, tool: str, namespace: str) -> Deployment:
        """What the processes of one environment report.

        Args:
            environment: Its `deployment.environment.name`; None takes every process that uses the database's name.
            tool: The migration tool.
            namespace: `db.namespace`.
        """
        named = {key for key, each in self._targets.items() if each.get("deployment_environment_name") == environment}
        mine = [
            each
            for each in self._databases
            if each.get(_label(semconv.MIGRATION_TOOL)) == tool
            and each.get(_label(semconv.DB_NAMESPACE), "") == namespace
            and (environment is None or _process(each) in named)
        ]
        found = Deployment()
        for each in mine:
            revision, state = each.get(_label(semconv.DB_REVISION), ""), each.get(_label(semconv.DB_STATE), "")
            found.states[revision, state] += 1
        processes = named if environment is not None else {_process(each) for each in mine}
        self._add(found, processes)
        return found

    def _add(self, found: Deployment, processes: Iterable[tuple[str, str]]) -> None:
        processes = set(processes)
        for process in processes:
            target = self._targets.get(process, {})
            found.releases.update(filter(None, [target.get("service_version")]))
            found.commits.update(filter(None, [target.get("vcs_ref_head_revision")]))
        for each in self._schemas:
            if _process(each) in processes:
                name = each.get(_label(semconv.SCHEMA_NAME), "")
                found.versions[name].add(each.get(_label(semconv.SCHEMA_VERSION), ""))


def _label(attribute: str) -> str:
    return attribute.replace(".", "_")


def _process(labels: Labels) -> tuple[str, str]:
    return labels.get("job", ""), labels.get("instance", "")
