"""Texts and data of verdicts: for people one line per signal, for machines JSON and span attributes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from ...semconv import Signal
from .evidence import limit
from .signals import Figures, SignalState
from .watch import WatchResult

NAMES: Final[Mapping[Signal, str]] = {
    "errors": "validation errors",
    "time": "validation time",
    "queries": "linked queries",
}
"""Names of the signals for people."""


def percent(share: float) -> str:
    """A share in percent with two significant digits; "?" for NaN."""
    if math.isnan(share):
        return "?"
    shown = 100 * share
    return f"{shown:.0f} %" if shown >= 10 else f"{shown:.1f} %" if shown >= 0.1 or not shown else f"{shown:.2g} %"


def duration(seconds: float) -> str:
    """A duration with two significant digits; "?" for NaN."""
    if math.isnan(seconds):
        return "?"
    for factor, unit in ((1e6, "µs"), (1e3, "ms")):
        if seconds * factor < 999.5:
            return f"{seconds * factor:.2g} {unit}" if seconds * factor < 99.5 else f"{seconds * factor:.0f} {unit}"
    return f"{seconds:.2g} s"


def change(signal: Signal, figures: Figures) -> str:
    """Figures before and after: `1.0 % → 30 %`, `4 → 40 ms`."""
    if signal == "errors":
        return f"{percent(figures.before)} → {percent(figures.after)}"
    before, after = duration(figures.before), duration(figures.after)
    (number, _, unit), (_, _, same) = before.partition(" "), after.partition(" ")
    return f"{number if unit == same else before} → {after}"


def sentence(state: SignalState, figures: Figures) -> str:
    """One signal: `degraded: validation time 4 → 40 ms`."""
    name, judged = NAMES[state.signal], state.overall
    where = f" at {', '.join(state.degraded[:3])}" if state.degraded else ""
    if state.verdict == "degraded":
        return f"degraded: {name} {change(state.signal, figures)}{where}"
    past = state.null
    if past is None or math.isnan(judged.rate):
        return f"{state.verdict}: {name}{f' ({state.why})' if state.why else ''}"
    slow = f" slower than {duration(state.slow)}" if state.slow is not None else ""
    bound = f"{'in the last half ' if judged.late else ''}at most {percent(judged.upper_limit)}"
    text = f"{name} {percent(judged.rate)} ({bound}){slow}, before {percent(past.usual)}"
    return f"{state.verdict}: {text}{f': {state.why}' if state.why and state.verdict == 'inconclusive' else ''}"


def document(result: WatchResult) -> dict[str, Any]:
    """The numbers of a verdict as JSON data and for the history; null for an unknown number."""
    return {
        "verdict": result.verdict,
        "why": result.why,
        "seconds": round(result.seconds, 3),
        "cache_hit_rate": _finite({"before": result.hit_rates.before, "after": result.hit_rates.after}),
        "signals": {
            signal: {
                "verdict": state.verdict,
                "says": sentence(state, result.figures[signal]),
                **_finite(
                    {
                        "before": result.figures[signal].before,
                        "after": result.figures[signal].after,
                        "events": state.overall.n,
                        "bad": state.overall.x,
                        "rate": state.overall.rate,
                        "at_most": state.overall.upper_limit,
                        "evidence": state.overall.evidence,
                        **_past(state),
                    }
                ),
                "at_most_in": "last half" if state.overall.late else "watch",
                "endpoints": state.degraded,
            }
            for signal, state in result.states.items()
        },
    }


def attributes(result: WatchResult) -> dict[str, Any]:
    """The numbers of a verdict as attributes of a span."""
    found: dict[str, Any] = {}
    for signal, state in result.states.items():
        before, after = result.figures[signal]
        found[f"schema.guard.{signal}.verdict"] = state.verdict
        numbers = {"before": before, "after": after, "at_most": state.overall.upper_limit, "events": state.overall.n}
        found |= {f"schema.guard.{signal}.{name}": value for name, value in numbers.items() if math.isfinite(value)}
    return found


def _past(state: SignalState) -> dict[str, float]:
    past = state.null
    if past is None:
        return {}
    return {
        "usual": past.usual,
        "limit": limit(past.usual),
        "bar": past.bar,
        "scatter": past.scatter,
        "wander": past.wander,
        "placebos": float(past.placebos),
        "slow_seconds": math.nan if state.slow is None else state.slow,
    }


def _finite(numbers: Mapping[str, float]) -> dict[str, float | None]:
    return {name: float(f"{value:.6g}") if math.isfinite(value) else None for name, value in numbers.items()}
