"""Company directories that leads are enriched from: stand-ins that answer in JSON as the real ones do."""

import json
import zlib


def look_up(source: str, company: str) -> bytes:
    """The directory's raw answer on a company; the legacy one writes head counts as text, as it always has."""
    employees = 1 + zlib.crc32(company.encode()) % 5_000
    return json.dumps(
        {"name": company, "employees": f"about {employees}" if source == "legacy" else employees}
    ).encode()
