"""Whose schemas are observed: the application's own, not those of the libraries it uses."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from .. import faults
from . import request
from .application import Application, is_stdlib
from .distributions import Distributions, file_of
from .left_out import LeftOut

if TYPE_CHECKING:
    from ..settings import Settings


MAX_MODULES = 10_000
"""Modules whose owner is remembered."""


class Ownership:
    """Decides, when a schema is bound, whether it is the application's own.

    A module that a distribution lists, or that lies in `site-packages`, is third-party, unless that distribution was
    installed from a folder or a repository, makes the application, or a pattern of `include` matches.

    Args:
        settings: `include` and `exclude`.

    Attributes:
        application: The distributions that make the application.
        left_out: The schemas that are not observed.
    """

    installed: Distributions
    left_out: LeftOut
    application: Application

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._own: dict[str, bool] = {}
        self._forget: list[Callable[[], object]] = []
        self.installed = Distributions()
        self.left_out = LeftOut(self.installed, settings.cardinality_limit)
        self.application = Application(self.installed, self._decide_again)

    def __call__(
        self, module: str | None, name: str, framework: bool = False, behalf: Iterable[str | None] = ()
    ) -> bool:
        """Whether the schema `module:name` is observed.

        Args:
            module: Its Python module, None where there is none.
            name: Its qualified name.
            framework: Whether a web framework uses it for a request or response.
            behalf: The modules of its bases, and the one on whose behalf a library's function made it.
        """
        full = f"{module or ''}:{name}"
        if self._settings.excluded(full):
            return False
        if framework or module is None or self._settings.included(full):
            return True
        if self.is_own(module) or any(each is not None and self.is_own(each) for each in behalf):
            return True
        self.left_out.add(module, name, request.current_request.get().counted)
        return False

    def is_own(self, module: str) -> bool:
        """Whether a module is the application's own."""
        own = self._own.get(module)
        if own is None:
            own = self._look(module)
            if len(self._own) < MAX_MODULES:  # a class that is made at run time may name any module
                self._own[module] = own
        return own

    @faults.guarded("ownership", True)
    def _look(self, module: str) -> bool:
        file = file_of(module)
        if file is None:
            return module not in sys.builtin_module_names
        if is_stdlib(file):
            return False
        if not self.installed.third_party(file):
            return True
        return self.installed.among(file, self.installed.from_sources | self.application.distributions)

    def on_change(self, forget: Callable[[], object]) -> None:
        """Call `forget` whenever a schema may have come to be the application's own, or to be used in a request."""
        self._forget.append(forget)

    def _decide_again(self) -> None:
        self._own.clear()
        self.left_out.clear()
        for forget in self._forget:
            forget()
