"""Programs and stacks of other tests are imported from where they stand."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
for folder in ("dashboards", "tests/pipeline", "tests/dashboards"):
    sys.path.append(str(ROOT / folder))
