"""What pyproject.toml says of a tool."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any, cast


def read_table(root: Path, name: str) -> dict[str, Any]:
    """The table `[tool.<name>]` of the project in `root`; empty where there is none, or this Python cannot read it.

    Raises:
        OSError: if the file is there and cannot be read.
    """
    file = root / "pyproject.toml"
    if not file.is_file():
        return {}
    text = file.read_text(encoding="utf-8", errors="replace")
    if f"tool.{name}" not in text:
        return {}
    try:
        toml: Any = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
        found: Any = toml.loads(text)["tool"][name]
    except (ImportError, ValueError, KeyError, TypeError):
        return {}
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}
