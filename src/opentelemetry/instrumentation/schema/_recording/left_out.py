"""Schemas that are left out as third-party: published as `schema.left_out`, and logged once if it may be a mistake."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from time import monotonic

from ..text import clean
from .distributions import Distribution, Distributions, file_of
from .known_distributions import TOOLS

_log = logging.getLogger(__name__)
FIRST_MINUTE = 60.0


class LeftOut:
    """Counts the schemas that were left out, by distribution.

    Args:
        installed: Finds a module's distribution.
        limit: Modules that are counted, and schemas of each.
    """

    def __init__(self, installed: Distributions, limit: int) -> None:
        self._installed, self._limit = installed, limit
        self._started, self._warned = monotonic(), False
        self._lock = threading.RLock()
        self._schemas: dict[str, dict[str, bool]] = {}  # module → name → whether a request used it
        self._published: dict[str, int] = {}

    def add(self, module: str, name: str, requested: bool) -> None:
        """Count the schema `module:name`; `requested` says whether a request used it."""
        name = clean(name)
        with self._lock:
            if module not in self._schemas and len(self._schemas) >= self._limit:
                return
            names = self._schemas.setdefault(module, {})
            if name in names or len(names) < self._limit:
                names[name] = names.get(name, False) or requested

    def clear(self) -> None:
        """Start to count again: each schema is added again when it is used next."""
        with self._lock:
            self._schemas = {}

    def reset_after_fork(self) -> None:
        """In a forked child: nobody holds the lock."""
        self._lock = threading.RLock()

    def count(self) -> dict[str, int]:
        """Distribution → number of its schemas that are left out; 0 where there were some before. Reads files."""
        counts = dict.fromkeys(self._published, 0)
        for name, _, modules in self._by_distribution():
            counts[name] = sum(map(len, modules.values()))
        self._published = counts
        return counts

    def report(self) -> None:
        """Warn once, after the first minute, of schemas that requests used and that may be the application's own."""
        if self._warned or monotonic() - self._started < FIRST_MINUTE:
            return
        self._warned = True
        listed: list[str] = []
        patterns: list[str] = []
        for name, distribution, modules in self._by_distribution():
            if name in TOOLS or not any(asked for names in modules.values() for asked in names.values()):
                continue
            number = sum(map(len, modules.values()))
            listed.append(f"{name} ({number} {'schema' if number == 1 else 'schemas'})")
            patterns += [f"{package}:*,{package}.*" for package in _packages(distribution, modules)]
        if listed:
            _log.warning(
                "requests use schemas of installed distributions, which count as third-party and are not observed: %s. "
                "If they belong to the application, set OTEL_PYTHON_SCHEMA_INCLUDE=%s",
                ", ".join(listed),
                ",".join(patterns),
            )

    def _by_distribution(self) -> Iterator[tuple[str, Distribution | None, dict[str, dict[str, bool]]]]:
        with self._lock:
            schemas = {module: dict(names) for module, names in self._schemas.items()}
        found: dict[str, tuple[Distribution | None, dict[str, dict[str, bool]]]] = {}
        for module, names in schemas.items():
            file = file_of(module)
            distribution = None if file is None else self._installed.of(file)
            top = module.partition(".")[0]
            name = distribution.name if distribution else "python" if top in sys.stdlib_module_names else top
            found.setdefault(name, (distribution, {}))[1][module] = names
        for name in sorted(found):
            yield name, *found[name]


def _packages(distribution: Distribution | None, modules: dict[str, dict[str, bool]]) -> list[str]:
    """All top-level packages of a distribution, also those whose modules are imported under a shorter name."""
    packages = set[str](() if distribution is None else distribution.packages)
    missing = {m.partition(".")[0] for m in modules if not any(m == p or m.startswith(f"{p}.") for p in packages)}
    return sorted(packages | missing)
