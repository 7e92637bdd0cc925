"""Every name of the package that can be imported has a type that all type checkers read alike.

`pyright --verifytypes` takes the whole namespace `opentelemetry` for one package, so it also looks at the base class of
`SchemaInstrumentor`, which opentelemetry-instrumentation leaves without annotations. That one thing is excused.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

PACKAGE = "opentelemetry.instrumentation.schema"
SOURCE = Path(__file__).resolve().parents[2] / "src"
FOREIGN = 'Type of base class "opentelemetry.instrumentation.instrumentor.BaseInstrumentor" is partially unknown'


def main() -> int:
    """Print what is not known; 1 if there is anything."""
    scripts = Path(sys.executable).parent
    done = subprocess.run(
        [str(scripts / "pyright"), "--verifytypes", PACKAGE, "--ignoreexternal", "--outputjson"],
        cwd=tempfile.gettempdir(),  # in the checkout pyright would take the settings of `pyproject.toml` instead
        env={**os.environ, "PYTHONPATH": str(SOURCE), "PATH": f"{scripts}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    report: dict[str, Any] = json.loads(done.stdout).get("typeCompleteness", {})
    mine = [symbol for symbol in report.get("symbols", ()) if symbol["name"].startswith(PACKAGE)]
    if not mine:
        print(f"pyright found no symbol of {PACKAGE}:\n{done.stdout}{done.stderr}", file=sys.stderr)
        return 1
    unknown = [
        f"{symbol['name']}: {reason['message']}"
        for symbol in mine
        for reason in symbol["diagnostics"]
        if not symbol["isTypeKnown"] and reason["message"] != FOREIGN
    ]
    print(*unknown, sep="\n", end="\n" if unknown else "")
    print(f"verifytypes: {len(mine)} names, {len(unknown)} without a known type")
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main())
