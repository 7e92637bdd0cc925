"""A library author's own validator, made visible through the public API.

    pip install "opentelemetry-instrumentation-schema[quickstart]"
    OTEL_METRICS_EXPORTER=console OTEL_TRACES_EXPORTER=console opentelemetry-instrument python fixed_width.py

A library depends on `opentelemetry-instrumentation-schema` alone, not on the SDK. In an app that is not instrumented
the block costs a few hundred nanoseconds and records nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from opentelemetry.instrumentation.schema import validation


class Layout:
    """Columns of fixed width, such as `Layout("Payment", iban=22, amount=10)`."""

    def __init__(self, name: str, **widths: int) -> None:
        self._widths = widths
        # once for each schema, not for each row; the name and the columns belong to the schema, never to the data
        self._observed = validation(name, module=__name__, library="fixed_width")

    def problems(self, line: str) -> list[str]:
        """The columns of a line that are empty or cut off."""
        with self._observed() as row:
            found = []
            at = 0
            for column, width in self._widths.items():
                text = line[at : at + width]
                at += width
                if len(text) < width:
                    row.problem(column, "too_short")
                elif not text.strip():
                    row.problem(column, "required")
                else:
                    continue
                found.append(column)
            return found


def check(lines: Iterable[str]) -> int:
    """How many lines are no payment."""
    payment = Layout("Payment", iban=22, amount=10)
    return sum(bool(payment.problems(line)) for line in lines)


if __name__ == "__main__":
    print(check(["DE89370400440532013000      12.50", "DE89370400440532013000", " " * 22 + "     12.50"]))
