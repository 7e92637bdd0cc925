"""The dashboards' Python is imported from where it stands."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
for folder in ("dashboards", "tests/pipeline"):
    sys.path.insert(0, str(ROOT / folder))
