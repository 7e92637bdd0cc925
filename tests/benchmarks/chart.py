"""Pictures as SVG: bars and small plots on logarithmic axes, readable on light and dark pages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

_STYLE = """<style>
text { font: 12px system-ui, sans-serif; fill: #333 } .title { font-weight: 600 } .small { font-size: 10px; fill: #777 }
.grid { stroke: #ddd } .s0 { fill: #2563eb; stroke: #2563eb } .s1 { fill: #9ca3af; stroke: #9ca3af }
path { fill: none !important; stroke-width: 2 }
@media (prefers-color-scheme: dark) { text { fill: #ddd } .small { fill: #999 } .grid { stroke: #444 } }
</style>"""
_ROW, _LEFT, _BAR, _WIDE = 22, 190, 360, 720
_PLOT_WIDTH, _PLOT_HEIGHT, _MARGIN = 260, 120, 64


class Plot(NamedTuple):
    """One small plot.

    Attributes:
        title: What it shows.
        x: What grows.
        lines: Label → points of (x, y); all above 0.
    """

    title: str
    x: str
    lines: Mapping[str, Sequence[tuple[float, float]]]


def bars(title: str, values: Mapping[str, float], emphasised: str, unit: str) -> str:
    """Horizontal bars on a logarithmic axis, the smallest value's a tenth as long as the longest at least."""
    low = min(values.values()) / 2
    scale = _BAR / math.log(max(values.values()) / low)
    parts = [f'<text class="title" x="10" y="20">{escape(title)}</text>']
    for number, (label, value) in enumerate(values.items()):
        y, length = 36 + number * _ROW, scale * math.log(value / low)
        series = "s0" if label == emphasised else "s1"
        parts += [
            f'<text x="{_LEFT - 8}" y="{y + 12}" text-anchor="end">{escape(label)}</text>',
            f'<rect class="{series}" x="{_LEFT}" y="{y}" width="{length:.1f}" height="{_ROW - 6}"/>',
            f'<text x="{_LEFT + length + 8:.1f}" y="{y + 12}">{number_of(value)} {unit}</text>',
        ]
    return _svg(_WIDE, 48 + len(values) * _ROW, parts)


def plots(drawn: Sequence[Plot], columns: int = 2) -> str:
    """Small plots side by side, both axes logarithmic."""
    parts: list[str] = []
    width, height = _PLOT_WIDTH + 2 * _MARGIN, _PLOT_HEIGHT + 2 * _MARGIN
    for number, plot in enumerate(drawn):
        left, top = (number % columns) * width, (number // columns) * height
        parts.append(f'<g transform="translate({left + _MARGIN},{top + 40})">{"".join(_plot(plot))}</g>')
    return _svg(columns * width, math.ceil(len(drawn) / columns) * height, parts)


def number_of(value: float) -> str:
    """Three significant digits, thousands apart."""
    if value >= 100:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.3g}"


def _plot(plot: Plot) -> list[str]:
    points = [point for line in plot.lines.values() for point in line]
    x_low, x_high = min(x for x, _ in points), max(x for x, _ in points)
    y_low = 10 ** math.floor(math.log10(min(y for _, y in points)))
    y_high = 10 ** math.ceil(math.log10(max(y for _, y in points) * 1.0001))

    def at(x: float, y: float) -> str:
        right = math.log(x / x_low) / math.log(x_high / x_low) * _PLOT_WIDTH
        down = (1 - math.log(y / y_low) / math.log(y_high / y_low)) * _PLOT_HEIGHT
        return f"{right:.1f},{down:.1f}"

    parts = [f'<text class="title" x="-40" y="-20">{escape(plot.title)}</text>']
    for power in range(round(math.log10(y_low)), round(math.log10(y_high)) + 1):
        y = at(x_low, 10.0**power).split(",")[1]
        parts.append(f'<line class="grid" x1="0" x2="{_PLOT_WIDTH}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text class="small" x="-6" y="{float(y) + 3}" text-anchor="end">{_tick(power)}</text>')
    bottom = _PLOT_HEIGHT + 14
    parts += [
        f'<text class="small" x="0" y="{bottom}">{x_low:,.0f}</text>',
        f'<text class="small" x="{_PLOT_WIDTH / 2}" y="{bottom}" text-anchor="middle">{escape(plot.x)}</text>',
        f'<text class="small" x="{_PLOT_WIDTH}" y="{bottom}" text-anchor="end">{x_high:,.0f}</text>',
    ]
    series, above = {label: f"s{number}" for number, label in enumerate(plot.lines)}, -math.inf
    for label, line in sorted(plot.lines.items(), key=lambda each: -each[1][-1][1]):  # labels from the top down
        places = [at(x, y) for x, y in line]
        parts.append(f'<path class="{series[label]}" d="M{" L".join(places)}"/>')
        parts += [
            f'<circle class="{series[label]}" cx="{place.split(",")[0]}" cy="{place.split(",")[1]}" r="2.5"/>'
            for place in places
        ]
        above = down = max(float(places[-1].split(",")[1]), above + 11)
        parts.append(f'<text class="small" x="{_PLOT_WIDTH + 5}" y="{down + 3}">{escape(label)}</text>')
    return parts


def _tick(power: int) -> str:
    return f"{10**power:,}" if power >= 0 else f"{10.0**power:g}"


def _svg(width: float, height: float, parts: Sequence[str]) -> str:
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>\n{_STYLE}\n' + "\n".join(parts) + "\n</svg>\n"
