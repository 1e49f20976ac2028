"""Line charts as SVG inside a page: they follow its colours, light and dark, and its width."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

WIDTH, HEIGHT = 440, 260
LEFT, RIGHT, TOP, BOTTOM = 52, 24, 12, 44
COLOURS = ("a", "b", "c")
TICKS = 5
Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Chart:
    """Lines (x, y) by name, at most three, drawn where they are finite.

    `y` and `x` bound the axes; where they are None, the points do.
    diagonal: a dashed line from corner to corner, where x equals y.
    """

    title: str
    x_label: str
    y_label: str
    lines: Mapping[str, Points]
    x: tuple[float, float] | None = None
    y: tuple[float, float] | None = None
    percent: bool = False
    diagonal: bool = False

    def __post_init__(self) -> None:
        if not any(self.lines.values()):
            raise ValueError("a chart needs a point")

    def svg(self) -> Markup:
        """The chart; its title is what screen readers say."""
        lines = {
            name: [(x, y) for x, y in line if math.isfinite(x) and math.isfinite(y)]
            for name, line in self.lines.items()
        }
        if not any(lines.values()):
            return Markup("<p>Nothing to draw: no value is finite.</p>")
        low_x, high_x = self.x or _range([x for line in lines.values() for x, _ in line])
        low_y, high_y = self.y or _range([y for line in lines.values() for _, y in line])

        def place(x: float, y: float) -> tuple[float, float]:
            across = (x - low_x) / (high_x - low_x)
            up = (y - low_y) / (high_y - low_y)
            return (
                round(LEFT + across * (WIDTH - LEFT - RIGHT), 1),
                round(HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM), 1),
            )

        parts = [f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
                 f'aria-label="{escape(self.title)}">']  # fmt: skip
        for value in _ticks(low_y, high_y):
            _, up = place(low_x, value)
            parts.append(
                f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{up}" y2="{up}"/>'
            )
            parts.append(_text(LEFT - 6, up + 4, self._told(value, high_y - low_y), "end"))
        for value in _ticks(low_x, high_x):
            across, _ = place(value, low_y)
            parts.append(_text(across, HEIGHT - BOTTOM + 16, self._told_x(value), "middle"))
        if self.diagonal:
            (x1, y1), (x2, y2) = place(low_x, low_x), place(high_x, high_x)
            parts.append(f'<line class="diagonal" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>')
        for colour, (name, points) in zip(COLOURS, lines.items(), strict=False):
            placed = [place(x, y) for x, y in points]
            path = " ".join(f"{x},{y}" for x, y in placed)
            parts.append(f'<polyline class="line {colour}" points="{path}"/>')
            for (x, y), (value_x, value_y) in zip(placed, points, strict=True):
                told = f"{name}: {self._told(value_y, 0.1)} at {self._told_x(value_x)}"
                parts.append(f'<circle class="dot {colour}" cx="{x}" cy="{y}" r="3">'
                             f"<title>{escape(told)}</title></circle>")  # fmt: skip
        middle = LEFT + (WIDTH - LEFT - RIGHT) / 2
        parts.append(_text(middle, HEIGHT - 6, self.x_label, "middle"))
        return Markup("".join(parts) + "</svg>")  # noqa: S704 (all text in it is escaped)

    def _told(self, value: float, spread: float) -> str:
        if self.percent:
            return f"{100 * value:.0f} %" if spread >= 0.08 else f"{100 * value:.1f} %"
        return f"{value:.2f}"

    def _told_x(self, value: float) -> str:
        if self.x is not None and self.percent:
            return f"{100 * value:.0f} %"
        return f"{value:.0f}" if value == int(value) else f"{value:.1f}"


def _ticks(low: float, high: float) -> list[float]:
    """Round values between the bounds, about five of them."""
    rough = (high - low) / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * by for by in (1, 2, 2.5, 5, 10) if power * by >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(number * step, 10) for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _range(values: list[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    margin = 0.05 * (high - low) or 0.5
    whole = all(value == int(value) for value in values)
    return (low, high) if whole and high > low else (low - margin, high + margin)


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
