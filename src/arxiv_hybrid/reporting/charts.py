"""Line charts as inline SVG, in the page's colours (light or dark) and as wide as the page."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from html import escape

from markupsafe import Markup

WIDTH, HEIGHT = 440, 260
LEFT, RIGHT, TOP, BOTTOM = 52, 24, 12, 44  # margins
COLOURS = ("a", "b", "c")  # CSS classes
TICKS = 5
Points = Sequence[tuple[float, float]]
Bounds = tuple[float, float]


@dataclass(frozen=True)
class Chart:
    """At most three lines of points (x, y), by name; points that are not finite are omitted.

    x, y: bounds of the axes, taken from the points if None. percent: label shares as per cent.
    diagonal: draw a dashed line where x equals y. unconnected: names of lines that are drawn as
    dots only. Raises ValueError if there is no point.
    """

    title: str
    x_label: str
    y_label: str
    lines: Mapping[str, Points]
    _: KW_ONLY
    x: Bounds | None = None
    y: Bounds | None = None
    percent: bool = False
    diagonal: bool = False
    unconnected: Collection[str] = ()

    def __post_init__(self) -> None:
        if not any(self.lines.values()):
            raise ValueError("a chart needs at least one point")

    def svg(self) -> Markup:
        """The chart as an SVG element; screen readers read its title."""
        lines = {
            name: [(x, y) for x, y in line if math.isfinite(x) and math.isfinite(y)]
            for name, line in self.lines.items()
        }
        if not any(lines.values()):
            return Markup("<p>Nothing to draw: no value is finite.</p>")
        scale = _Scale(
            self.x or _bounds([x for line in lines.values() for x, _ in line]),
            self.y or _bounds([y for line in lines.values() for _, y in line]),
        )
        parts = [f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
                 f'aria-label="{escape(self.title)}">']  # fmt: skip
        parts += self._axes(scale)
        for colour, (name, points) in zip(COLOURS, lines.items(), strict=False):
            parts += self._line(scale, colour, name, points)
        centre = LEFT + (WIDTH - LEFT - RIGHT) / 2
        parts.append(_text(centre, HEIGHT - 6, self.x_label, "middle"))
        return Markup("".join(parts) + "</svg>")  # noqa: S704 (all text in it is escaped)

    def _axes(self, scale: _Scale) -> list[str]:
        (low_x, high_x), (low_y, high_y) = scale.x, scale.y
        parts = []
        for value in _ticks(low_y, high_y):
            _, y = scale.place(low_x, value)
            parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>')
            parts.append(_text(LEFT - 6, y + 4, self._format_y(value, high_y - low_y), "end"))
        for value in _ticks(low_x, high_x):
            x, _ = scale.place(value, low_y)
            parts.append(_text(x, HEIGHT - BOTTOM + 16, self._format_x(value), "middle"))
        if self.diagonal:
            (x1, y1), (x2, y2) = scale.place(low_x, low_x), scale.place(high_x, high_x)
            parts.append(f'<line class="diagonal" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>')
        return parts

    def _line(self, scale: _Scale, colour: str, name: str, points: Points) -> list[str]:
        """A line and its dots, each dot with its values as a tooltip."""
        placed = [scale.place(x, y) for x, y in points]
        path = " ".join(f"{x},{y}" for x, y in placed)
        connected = name not in self.unconnected
        parts = [f'<polyline class="line {colour}" points="{path}"/>'] if connected else []
        for (x, y), (value_x, value_y) in zip(placed, points, strict=True):
            tooltip = f"{name}: {self._format_y(value_y, 0.1)} at {self._format_x(value_x)}"
            parts.append(f'<circle class="dot {colour}" cx="{x}" cy="{y}" r="3">'
                         f"<title>{escape(tooltip)}</title></circle>")  # fmt: skip
        return parts

    def _format_y(self, value: float, spread: float) -> str:
        if self.percent:
            return f"{100 * value:.0f} %" if spread >= 0.08 else f"{100 * value:.1f} %"
        return f"{value:.2f}"

    def _format_x(self, value: float) -> str:
        if self.x is not None and self.percent:
            return f"{100 * value:.0f} %"
        return f"{value:.0f}" if value == int(value) else f"{value:.1f}"


@dataclass(frozen=True)
class _Scale:
    """The bounds of both axes, and where a point between them is on the picture."""

    x: Bounds
    y: Bounds

    def place(self, x: float, y: float) -> tuple[float, float]:
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        return (
            round(LEFT + across * (WIDTH - LEFT - RIGHT), 1),
            round(HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM), 1),
        )


def _ticks(low: float, high: float) -> list[float]:
    """About five round values within the bounds."""
    rough = (high - low) / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * by for by in (1, 2, 2.5, 5, 10) if power * by >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(number * step, 10) for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _bounds(values: list[float]) -> Bounds:
    """The range of the values, with a margin unless all of them are integers."""
    low, high = min(values), max(values)
    margin = 0.05 * (high - low) or 0.5
    integers = all(value == int(value) for value in values)
    return (low, high) if integers and high > low else (low - margin, high + margin)


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
