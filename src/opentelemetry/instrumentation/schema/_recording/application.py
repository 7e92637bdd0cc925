"""Which distribution makes the application, where the application is itself installed.

Most containers hold their application as one more wheel in `site-packages`, and nothing in a wheel says which one it
is. So we look for evidence of who makes the application, from the surest kind to the weakest. The first that answers
decides; the answer may be that the application is no distribution at all.
"""

from __future__ import annotations

import functools
import os
import sys
import sysconfig
from collections.abc import Callable, Iterable
from enum import IntEnum
from importlib.machinery import PathFinder
from types import FrameType
from typing import Any, cast

from .. import faults
from .distributions import Distribution, Distributions, normalised
from .identity import WeakIdMap
from .known_distributions import COMMANDS, LAUNCHERS

IMPORT = ("importlib._bootstrap", "_frozen_importlib")
"""The module whose frames stand below those of a module that is being imported."""

_STDLIB = sysconfig.get_path("stdlib") + os.sep


class Evidence(IntEnum):
    """Kinds of evidence of who makes the application. The smallest decides."""

    SERVED = 1
    ROOT_URLCONF = 2
    JOBS = 3
    PROGRAM = 4


class Application:
    """The distributions that make the application.

    Args:
        installed: What is installed.
        changed: Called when more is known than before.

    Attributes:
        distributions: The distributions; empty if the application is none, or if nothing is known of it.
    """

    def __init__(self, installed: Distributions, changed: Callable[[], object]) -> None:
        self._installed, self._changed = installed, changed
        self._claims: dict[Evidence, set[Distribution | None]] = {}
        self._handlers: set[str] = set()
        self._makers: WeakIdMap[str] = WeakIdMap()  # an application need not be hashable
        self._asked: set[Any] = set()
        self.distributions: frozenset[Distribution] = frozenset()
        self._look_at_program()

    @faults.guarded("ownership", None)
    def note_maker(self, app: Any, frame: FrameType | None) -> None:
        """Note that the code in `frame` makes an application object."""
        file = maker(frame)
        if file is not None:
            self._makers.setdefault(app, file)
            self._read_of(file)

    @faults.guarded("ownership", None)
    def note_served_app(self, app: Any, handlers: Iterable[Any], module: str | None = None) -> None:
        """Note that a server calls this application object for the first time. No other application mounts it.

        Args:
            app: The object.
            handlers: The functions and classes that handle its routes.
            module: The module that it names as its own, for an object that was made before `instrument()`.
        """
        files = _files(handlers)
        file = self._makers.values.get(id(app)) or _file(module)
        if file is not None:
            self._claim(Evidence.SERVED, self._distribution(file))
        elif all(map(self._installed.third_party, files)):
            self._claim(Evidence.SERVED, *map(self._distribution, files))
        else:
            self._claim(Evidence.SERVED, None)
        self._handlers |= files
        self._decide()
        self._changed()  # always: schemas that were used before the first request are decided again

    @faults.guarded("ownership", None)
    def expect_urlconf(self, module: str | None) -> None:
        """Prepare for `note_urlconf`: this module will be Django's `ROOT_URLCONF`."""
        spec = None if module is None else PathFinder.find_spec(module.partition(".")[0])
        if spec is not None and spec.origin is not None:
            self._read_of(spec.origin)

    @faults.guarded("ownership", None)
    def note_urlconf(self, module: str | None, handlers: Iterable[Any]) -> None:
        """Note Django's `ROOT_URLCONF`, and the functions and classes that handle its routes."""
        file = _file(module)
        if file is not None:
            self._claim(Evidence.ROOT_URLCONF, self._distribution(file))
        self._handlers |= _files(handlers)
        self._decide()
        self._changed()

    @faults.guarded("ownership", None)
    def note_job_maker(self, _app: object, frame: FrameType) -> None:
        """Note that the code in `frame` makes a Celery application."""
        if frame.f_code not in self._asked:
            self._asked.add(frame.f_code)
            file = maker(frame)
            if file is not None:
                self._claim(Evidence.JOBS, self._distribution(file))
                self._decide()

    @faults.guarded("ownership", None)
    def _look_at_program(self) -> None:
        program = _program()
        if program is None:
            return
        name = os.path.basename(program)
        found = self._installed.of_script(name) if is_script(program) else self._distribution(program)
        if found is not None:
            self._claim(Evidence.PROGRAM, found)
            self._decide()

    def _distribution(self, file: str) -> Distribution | None:
        return self._installed.of(file) if self._installed.third_party(file) else None

    def _read_of(self, file: str) -> None:
        """Read what we will need of a file's distribution now: later, on an event loop, the reading would block it."""
        if self._installed.third_party(file):
            self._installed.read_all()
            found = self._installed.of(file)
            self._installed.required_by([found] if found is not None else [])

    def _claim(self, evidence: Evidence, *found: Distribution | None) -> None:
        for each in found:
            if each is None or each.name not in LAUNCHERS:
                self._claims.setdefault(evidence, set()).add(each)

    def _decide(self) -> None:
        claimed = self._claims[min(self._claims)] if self._claims else set[Distribution | None]()
        named = {each for each in claimed if each is not None}
        # of several, those that others require are libraries
        found = {each for each in named if each.name not in self._installed.required_by(named - {each})}
        required = self._installed.required_by(found)
        if found:
            # A plug-in requires its host, which may name it among its extras. An add-on does not know whom it serves.
            hosts = {each.name for each in found}
            handling = {each for each in map(self._distribution, self._handlers) if each is not None}
            found |= {each for each in handling if each.name not in required or not hosts.isdisjoint(each.requires)}
        decided = frozenset(found)
        if self.distributions != decided:
            self.distributions = decided
            self._changed()


def watched_init(watch: Callable[[Any, FrameType], object], original: Any) -> Any:
    """Wrap the `__init__` of a class: call `watch` with the new object and the frame that makes it."""

    @functools.wraps(original)
    def __init__(self: Any, /, *args: Any, **kwargs: Any) -> None:
        __tracebackhide__ = True
        watch(self, sys._getframe(1))  # pyright: ignore[reportPrivateUsage]
        original(self, *args, **kwargs)

    return __init__


def maker(frame: FrameType | None) -> str | None:
    """The file of the code that makes an object: of the outermost frame up to an import or a launcher.

    Code that calls a library's function makes what the function makes. Code that imports a module does not make what
    the module makes.
    """
    found = None
    while frame is not None:
        name: str = frame.f_globals.get("__name__") or ""
        if name in IMPORT or normalised(name.partition(".")[0].strip("_")) in LAUNCHERS:
            break
        file: str = frame.f_globals.get("__file__") or frame.f_code.co_filename
        between = name.startswith(("opentelemetry.", "wrapt.")) or is_stdlib(file)
        if not between and not (name == "__main__" and is_script(file)):
            found = file
        frame = frame.f_back
    return found


def is_script(path: str) -> bool:
    """Whether a path is that of a command that an installer wrote."""
    return os.path.basename(os.path.dirname(path)) in ("bin", "Scripts")


def is_stdlib(file: str) -> bool:
    """Whether this file is Python's own."""
    return file.startswith("<frozen ") or (file.startswith(_STDLIB) and "-packages" + os.sep not in file)


def _program() -> str | None:
    """The path of the program that runs: of a module's package, or of a script; None for a launcher."""
    main = sys.modules.get("__main__")
    run: str | None = getattr(getattr(main, "__spec__", None), "name", None)  # `python -m shop`
    if run is None and "-m" in sys.orig_argv[:-1] and not hasattr(main, "__file__"):  # `site` runs earlier
        run = sys.orig_argv[sys.orig_argv.index("-m") + 1]
    if run is not None:
        top = run.partition(".")[0]
        return None if normalised(top) in COMMANDS else getattr(PathFinder.find_spec(top), "origin", None)
    path: str = getattr(main, "__file__", None) or sys.argv[0]
    return None if normalised(os.path.splitext(os.path.basename(path))[0]) in COMMANDS else path


def _files(handlers: Iterable[Any]) -> set[str]:
    """The files that functions, classes and callable objects are defined in."""
    found: set[str | None] = set()
    for handler in handlers:
        while isinstance(handler, functools.partial):
            handler = cast("Any", handler).func
        found.add(_file(getattr(handler, "__module__", None)))
    return {file for file in found if file is not None}


def _file(module: str | None) -> str | None:
    return getattr(sys.modules.get(module or ""), "__file__", None)
