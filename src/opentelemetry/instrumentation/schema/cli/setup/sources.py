"""Reads the files of a project: nothing is imported or run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

_SKIPPED: Final = {"node_modules", "site-packages", "__pycache__", "tests", "test", "docs", "build", "dist", "otel"}
_MOST_FILES: Final = 2000
_LARGEST: Final = 1_000_000


def python_files(directory: Path) -> Iterator[Path]:
    """Python files, those near the top first."""
    pending, seen = [directory], 0
    while pending and seen < _MOST_FILES:
        folder = pending.pop(0)
        for path in sorted(folder.iterdir()):
            if path.is_symlink() or path.name.startswith("."):
                continue
            if path.is_dir():
                if path.name not in _SKIPPED and not (path / "pyvenv.cfg").exists():
                    pending.append(path)
            elif path.suffix == ".py" and path.stat().st_size < _LARGEST:
                seen += 1
                yield path


def text_of(path: Path) -> str:
    """What a file holds; "" where there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    except OSError:
        return ""


def requires(root: Path, package: str) -> bool:
    """Whether a project's files name a package as a requirement."""
    files = (root / "pyproject.toml", root / "Pipfile", root / "setup.py", root / "setup.cfg")
    return any(package in text_of(path).lower() for path in (*files, *sorted(root.glob("*requirements*.txt"))))
