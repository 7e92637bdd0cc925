"""Every time constant divided by one factor: the rules and routes that `otel-schema export` writes, only faster."""

from __future__ import annotations

import re
from dataclasses import dataclass

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_NAMES = (
    "for", "keep_firing_for", "interval", "scrape_interval", "evaluation_interval", "group_wait", "group_interval",
    "repeat_interval", "resolve_timeout",
)  # fmt: skip
_TIMES = re.compile(
    r"(?P<before>\[|:(?=\d+[smhd]\])|\boffset |\b(?:" + "|".join(_NAMES) + r"): [\"']?)"
    r"(?P<number>\d+)(?P<unit>ms|s|m|h|d)\b"
)


@dataclass(frozen=True)
class Scale:
    """How many times faster than promised.

    Attributes:
        factor: 1 for the promised times.
    """

    factor: float

    def seconds(self, promised: float) -> float:
        """A time in s."""
        return promised / self.factor

    def duration(self, promised: float) -> str:
        """A time in s, as Prometheus writes it."""
        return f"{round(self.seconds(promised) * 1000)}ms"

    def config(self, text: str) -> str:
        """A config or rule file."""
        if self.factor == 1:
            return text
        return _TIMES.sub(
            lambda found: found["before"] + self.duration(int(found["number"]) * _UNITS[found["unit"]]), text
        )
