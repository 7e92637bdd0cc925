"""What the user may set: arguments of `instrument()` win over environment variables, and those over defaults.

Read and checked once, at start. A value that is not valid logs a warning with the variable's name and the value used
instead. An unknown name logs a warning with the name that is probably meant. Neither stops the app.
"""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar, cast

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

PREFIX = "OTEL_PYTHON_SCHEMA_"
FRAMEWORKS = ("django", "fastapi", "flask", "starlette")
"""Frameworks with excluded URLs of their own, in the variables of opentelemetry-instrumentation-<framework>."""


class Arguments(TypedDict, total=False):
    """The arguments of `instrument()`; `Settings` explains them."""

    meter_provider: MeterProvider | None
    tracer_provider: TracerProvider | None
    spans: Literal["notable", "all", "off"]
    slow_ms: float
    include: str | Iterable[str]
    exclude: str | Iterable[str]
    disabled: str | Iterable[str]
    cardinality_limit: int
    aggregation: Literal["fold", "sdk"]
    revision_interval: float
    migrations: str | Iterable[str]
    excluded_urls: str | Iterable[str]
    skip_dep_check: bool
    raise_exception_on_conflict: bool


def _one_of(*choices: str) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        if text.lower() not in choices:
            raise ValueError(f"expected one of {', '.join(choices)}")
        return text.lower()

    return parse


# Stricter than float(): the gateway's collector reads the same variable, and checks it by the same expression.
_MILLISECONDS = re.compile(r"^ *\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,2})? *$")


def _milliseconds(text: str) -> float:
    if not _MILLISECONDS.fullmatch(text):
        raise ValueError("expected a number of milliseconds, 0 or more")
    return float(text)


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < math.inf:
        raise ValueError("expected a number of seconds, 0 or more")
    return value


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError("expected a whole number, 1 or more")
    return value


def _names(text: str) -> tuple[str, ...]:
    return tuple(part for part in (piece.strip() for piece in text.split(",")) if part)


def _option(parse: Callable[[str], _T], default: _T) -> _T:
    return field(default=default, metadata={"parse": parse})


@dataclass(frozen=True)
class Settings:
    """One run's settings; each is also the variable `OTEL_PYTHON_SCHEMA_<NAME>` and an argument of `instrument()`.

    Attributes:
        spans: Which validations get a span: `notable` (failed, slow, or ran a query), `all` or `off`.
        slow_ms: Milliseconds above which a validation is notable.
        include: Patterns over `module:QualName`; a third-party schema that matches is observed.
        exclude: Patterns over `module:QualName`; a schema that matches is left out.
        disabled: Libraries to leave alone, such as `marshmallow` or `flask`.
        cardinality_limit: Attribute sets per instrument.
        aggregation: `fold` (buffer, and fold into the SDK at collection) or `sdk` (each measurement through the SDK).
        revision_interval: Seconds between two reads of a database's revision; 0 reads none.
        migrations: Directories of migrations, where they are not what alembic.ini, pyproject.toml or DBMate's settings
            in the working directory say.
        excluded_urls: Framework → comma-separated regular expressions of URLs whose requests do not count. Like
            contrib's: the argument replaces OTEL_PYTHON_<FRAMEWORK>_EXCLUDED_URLS, that OTEL_PYTHON_EXCLUDED_URLS.
    """

    spans: Literal["notable", "all", "off"] = _option(_one_of("notable", "all", "off"), "notable")
    slow_ms: float = _option(_milliseconds, 10.0)
    include: tuple[str, ...] = _option(_names, ())
    exclude: tuple[str, ...] = _option(_names, ())
    disabled: tuple[str, ...] = _option(_names, ())
    cardinality_limit: int = _option(_positive, 2000)
    aggregation: Literal["fold", "sdk"] = _option(_one_of("fold", "sdk"), "fold")
    revision_interval: float = _option(_seconds, 30.0)
    migrations: tuple[str, ...] = _option(_names, ())
    excluded_urls: Mapping[str, str] = field(default_factory=lambda: dict.fromkeys(FRAMEWORKS, ""))

    @property
    def slow(self) -> float:
        """Seconds above which a validation leaves the fast path: never with spans off, always with all of them."""
        if self.spans == "off":
            return math.inf
        return -1.0 if self.spans == "all" else self.slow_ms / 1e3

    def included(self, name: str) -> bool:
        """Whether `module:QualName` matches a pattern of `include`."""
        return any(fnmatchcase(name, pattern) for pattern in self.include)

    def excluded(self, name: str) -> bool:
        """Whether `module:QualName` matches a pattern of `exclude`."""
        return any(fnmatchcase(name, pattern) for pattern in self.exclude)


def load(arguments: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> Settings:
    """Load the settings: arguments win over the environment, the environment over defaults.

    Args:
        arguments: Keyword arguments of `instrument()`.
        environment: The environment variables.
    """
    _warn_of_unknown(arguments, environment)
    values: dict[str, Any] = {"excluded_urls": _excluded_urls(arguments.get("excluded_urls"), environment)}
    for option in fields(Settings):
        if "parse" not in option.metadata:
            continue
        variable = PREFIX + option.name.upper()
        used, bad = option.default, list[tuple[str, object, Exception]]()
        for source, raw in ((option.name, arguments.get(option.name)), (variable, environment.get(variable))):
            if raw is None or raw == "":
                continue
            try:
                used = option.metadata["parse"](raw if isinstance(raw, str) else _text(raw))
                break
            except (TypeError, ValueError) as reason:
                bad.append((source, raw, reason))
        for each in bad:
            _log.warning("%s=%r is not valid (%s): using %r", *each, used)
        values[option.name] = used
    return Settings(**values)


def _excluded_urls(argument: object, environment: Mapping[str, str]) -> dict[str, str]:
    everywhere = environment.get("OTEL_PYTHON_EXCLUDED_URLS", "")
    if argument is not None:
        return dict.fromkeys(FRAMEWORKS, _text(argument))
    return {each: environment.get(f"OTEL_PYTHON_{each.upper()}_EXCLUDED_URLS", everywhere) for each in FRAMEWORKS}


def _warn_of_unknown(arguments: Mapping[str, Any], environment: Mapping[str, str]) -> None:
    """Warn of each argument and variable that is no setting, and name the one that is probably meant."""
    variables = [PREFIX + option.name.upper() for option in fields(Settings) if "parse" in option.metadata]
    passed_on = {"logger_provider"}  # what others pass to every instrumentor
    for given, known in (
        (set(arguments) - passed_on, list(Arguments.__annotations__)),
        ({name for name in environment if name.startswith(PREFIX)}, variables),
    ):
        for name in sorted(given - set(known)):
            import difflib

            meant = difflib.get_close_matches(name, known, 1, 0.5)
            hint = f"did you mean {meant[0]}?" if meant else f"choose from {', '.join(known)}"
            _log.warning("%s is not a setting of the schema instrumentation and is ignored: %s", name, hint)


def _text(value: object) -> str:
    if isinstance(value, (list, tuple, set, frozenset)):
        return ",".join(map(str, cast("list[object]", value)))
    return str(value)
