"""What the user may set: arguments of `instrument()` over environment variables over defaults.

Checked once, at start. A bad value warns with the variable's name and what is used instead; it never stops the app.
"""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from typing import Any, Literal, TypeVar, cast

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

PREFIX = "OTEL_PYTHON_SCHEMA_"


def _one_of(*choices: str) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        if text.lower() not in choices:
            raise ValueError(f"expected one of {', '.join(choices)}")
        return text.lower()

    return parse


# Narrower than float(), for the gateway reads the same variable: its collector checks it by the same expression.
_MILLISECONDS = re.compile(r"^ *\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,2})? *$")


def _milliseconds(text: str) -> float:
    if not _MILLISECONDS.fullmatch(text):
        raise ValueError("expected a number of milliseconds, 0 or more")
    return float(text)


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
    """

    spans: Literal["notable", "all", "off"] = _option(_one_of("notable", "all", "off"), "notable")
    slow_ms: float = _option(_milliseconds, 10.0)
    include: tuple[str, ...] = _option(_names, ())
    exclude: tuple[str, ...] = _option(_names, ())
    disabled: tuple[str, ...] = _option(_names, ())
    cardinality_limit: int = _option(_positive, 2000)
    aggregation: Literal["fold", "sdk"] = _option(_one_of("fold", "sdk"), "fold")

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
    """Settings from arguments over environment over defaults.

    Args:
        arguments: Keyword arguments of `instrument()`; those that are no setting are ignored.
        environment: Where `OTEL_PYTHON_SCHEMA_*` is looked up.
    """
    values: dict[str, Any] = {}
    for option in fields(Settings):
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


def _text(value: object) -> str:
    if isinstance(value, (list, tuple, set, frozenset)):
        return ",".join(map(str, cast("list[object]", value)))
    return str(value)
