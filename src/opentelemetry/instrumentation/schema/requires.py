"""Which versions of a library an integration is for, as its `REQUIRES` says."""

from __future__ import annotations

import re


def supports(requires: str, installed: str) -> bool:
    """Return whether a version is in a range such as `name >= 2.5, < 3`; a pre-release counts as its release."""
    found = _numbers(installed)
    clauses: list[tuple[str, str]] = re.findall(r"(>=|<)\s*([\d.]+)", requires)
    return all(found >= _numbers(bound) if sign == ">=" else found < _numbers(bound) for sign, bound in clauses)


def _numbers(version: str) -> tuple[int, ...]:
    release = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in release[0].split(".")) if release else ()
