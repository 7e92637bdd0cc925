"""Whose schemas are observed: the application's own, not those of the libraries it uses."""

from __future__ import annotations

import logging
import site
import sys
import sysconfig
import threading
from collections.abc import Set
from importlib.metadata import PathDistribution
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from .. import faults

if TYPE_CHECKING:
    from ..settings import Settings

_log = logging.getLogger(__name__)
FIRST_MINUTE = 60.0


class Ownership:
    """Decides, when a schema is bound, whether it is the application's own.

    A module under site-packages is third-party, unless its distribution was installed from a path or a repository
    (PEP 610: it has a `direct_url.json`) or a pattern of `include` matches.

    Args:
        settings: `include` and `exclude`.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._started = monotonic()
        self._packages: dict[str, bool] = {}
        self._lock = threading.Lock()
        self._left_out: dict[str, int] = {}
        self._logged: set[str] = set()
        self._seen_own = False
        # Read now: the first to ask may be on an event loop.
        self._site_packages = _site_packages()
        self._direct = _direct(self._site_packages)

    def __call__(self, module: str | None, name: str, framework: bool = False) -> bool:
        """Whether the schema `module:name` is observed.

        Args:
            module: Its Python module, None where there is none.
            name: Its qualified name.
            framework: Whether a web framework uses it for a request or response.
        """
        full = f"{module or ''}:{name}"
        if self._settings.excluded(full):
            return False
        if framework or module is None or self._settings.included(full) or self.own(module):
            self._seen_own = True
            return True
        self._leave_out(module.partition(".")[0])
        return False

    def own(self, module: str) -> bool:
        """Whether a module is the application's own."""
        package = _package(module)
        own = self._packages.get(package)
        if own is None:
            own = self._packages[package] = self._look(package)
        return own

    def _look(self, package: str) -> bool:
        file = getattr(sys.modules.get(package), "__file__", None)
        if file is None:
            return package not in sys.builtin_module_names
        path = Path(file)
        for folder in self._site_packages:
            if path.is_relative_to(folder):
                return path in self._direct
        stdlib = Path(sysconfig.get_path("stdlib"))
        return not path.is_relative_to(stdlib) or path.is_relative_to(stdlib / "site-packages")

    def _leave_out(self, top: str) -> None:
        with self._lock:
            self._left_out[top] = self._left_out.get(top, 0) + 1

    def forked(self) -> None:
        """In a forked child: nobody holds the lock."""
        self._lock = threading.Lock()

    def report(self) -> None:
        """Log what was left out, once per distribution; called by each collection, from the first minute's end on."""
        if len(self._logged) == len(self._left_out) or monotonic() - self._started < FIRST_MINUTE:
            return
        for top, number in list(self._left_out.items()):
            if top not in self._logged:
                self._logged.add(top)
                _log.info(
                    "%d schemas of %s are left out as third-party; OTEL_PYTHON_SCHEMA_INCLUDE=%s lets them in",
                    number,
                    top,
                    _pattern(top),
                )
        if not self._seen_own:  # an application installed from a private index looks third-party
            self._seen_own = True
            _log.warning(
                "every schema of the first minute was left out as third-party: %s. If the application is among them, "
                "OTEL_PYTHON_SCHEMA_INCLUDE=%s lets it in",
                ", ".join(f"{top} ({number})" for top, number in sorted(self._left_out.items())),
                _pattern(max(self._left_out, key=self._left_out.__getitem__)),
            )


def _site_packages() -> set[Path]:
    folders = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()}
    if site.ENABLE_USER_SITE:
        folders.add(site.getusersitepackages())
    return {Path(folder) for folder in folders}


@faults.guarded("recorder", frozenset[Path]())
def _direct(site_packages: set[Path]) -> Set[Path]:
    """The files that were installed from a path or a repository.

    An editable install keeps them elsewhere, so its modules are not under site-packages anyway.
    """
    told = [file for folder in site_packages for file in folder.glob("*.dist-info/direct_url.json")]
    return {
        Path(str(dist.locate_file(file)))
        for dist in (PathDistribution(each.parent) for each in told)
        for file in dist.files or ()
    }


def _pattern(top: str) -> str:
    return f"{top}:*,{top}.*"


def _package(module: str) -> str:
    """The outermost package with a file; a namespace above it may be shared with other distributions."""
    parts = module.split(".")
    for number in range(1, len(parts)):
        package = ".".join(parts[:number])
        if getattr(sys.modules.get(package), "__file__", None) is not None:
            return package
    return module
