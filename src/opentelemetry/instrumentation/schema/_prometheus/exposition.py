"""Reads the Prometheus text format, and OpenMetrics, whose samples look the same.

https://prometheus.io/docs/instrumenting/exposition_formats/

It reads each line from left to right once, so a malformed line takes no longer than a good one of the same length.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from .reading import Sample

_NAME: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_QUOTED: Final = re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)"')
_LABEL: Final = re.compile(rf"[ \t]*({_NAME.pattern})[ \t]*=[ \t]*{_QUOTED.pattern}[ \t]*")
_QUOTED_LABEL: Final = re.compile(rf"[ \t]*{_QUOTED.pattern}[ \t]*(?:=[ \t]*{_QUOTED.pattern}[ \t]*)?")
_NUMBER: Final = re.compile(r"[ \t]*([+-]?(?:[0-9.]+(?:[eE][+-]?[0-9]+)?|Inf|NaN))(?=[ \t]|$)", re.IGNORECASE)
_ESCAPE: Final = re.compile(r'\\([\\n"])')
_SPACE: Final = " \t"


def parse(exposition: str) -> Iterator[Sample]:
    """The samples of a /metrics answer, in their order.

    Raises:
        ValueError: if a line is neither a sample nor a comment; names the line's number.
    """
    for number, line in enumerate(exposition.split("\n"), 1):
        line = line.strip(" \t\r")
        if line and not line.startswith("#"):
            try:
                yield _sample(line)
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from None


def _sample(line: str) -> Sample:
    found = _NAME.match(line)
    name, at = (found[0], found.end()) if found else ("", 0)
    while line[at : at + 1] and line[at] in _SPACE:
        at += 1
    labels: dict[str, str] = {}
    if line[at : at + 1] == "{":
        name, at = _labels(line, at + 1, name, labels)
    elif not found or at == found.end():
        raise ValueError("no sample")
    if not name:
        raise ValueError("a sample without a name")
    value = _NUMBER.match(line, at)
    if value is None:
        raise ValueError("a sample without a value")
    return name, labels, float(value[1])


def _labels(line: str, at: int, name: str, labels: dict[str, str]) -> tuple[str, int]:
    """Fill `labels` from the character after the brace. Returns the sample's name, and where the rest begins."""
    while True:
        if found := _LABEL.match(line, at):
            labels[found[1]] = _unescaped(found[2])
        elif found := _QUOTED_LABEL.match(line, at):  # names of Prometheus 3: {"a.name", "a.label"="value"}
            if found[2] is None:
                name = _unescaped(found[1])
            else:
                labels[_unescaped(found[1])] = _unescaped(found[2])
        at = found.end() if found else at
        while line[at : at + 1] and line[at] in _SPACE:
            at += 1
        if line[at : at + 1] == "}":
            return name, at + 1
        if not found or line[at : at + 1] != ",":
            raise ValueError("labels that do not end")
        at += 1


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda found: "\n" if found[1] == "n" else found[1], text) if "\\" in text else text
