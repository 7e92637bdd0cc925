#!/usr/bin/env python3
"""Say what keeps a tag from being released: `release_check.py v1.2.3`. Exit code 1 if anything does."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    tag = sys.argv[1] if len(sys.argv) == 2 else ""
    problems = check(tag, (ROOT / "pyproject.toml").read_text(), (ROOT / "CHANGELOG.md").read_text())
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def check(tag: str, project: str, changelog: str) -> list[str]:
    """Return what is wrong with a tag, given pyproject.toml and CHANGELOG.md."""
    if not re.fullmatch(r"v\d+\.\d+\.\d+((a|b|rc)\d+)?", tag):
        return [f"not a release's tag, such as v1.2.3 or v1.2.3rc1: {tag!r}"]
    problems = []
    version = re.findall(r'^version = "(.+)"', project, re.M)[0]
    if version != tag[1:]:
        problems.append(f"pyproject.toml has version {version}, the tag {tag[1:]}")
    if not re.search(rf"^## \[{re.escape(tag[1:])}\] - \d{{4}}-\d\d-\d\d$", changelog, re.M):
        problems.append(f"CHANGELOG.md has no line `## [{tag[1:]}] - YYYY-MM-DD`")
    urls = re.search(r"^\[project\.urls\].*\n((?:\w.*\n)+)", project, re.M)
    if urls is None or "example.com" in urls[1]:
        problems.append("[project.urls] in pyproject.toml does not name the repository")
    return problems


if __name__ == "__main__":
    sys.exit(main())
