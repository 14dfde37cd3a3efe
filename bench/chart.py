# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Two drawings in SVG: steps over time as bars, and how a cost grows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

ROW, LEFT, WIDTH, RIGHT = 18, 290, 560, 70
TICKS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600)
SIDE, HEIGHT, MARGIN = 560, 360, 60
COLOURS = ("#3465a4", "#4e9a06", "#cc0000", "#75507b")


def bars(title: str, steps: Sequence[tuple[str, float, float]]) -> str:
    """An SVG of `steps` (name, begin, end in seconds), from above in the order given."""
    last = max(end for _, _, end in steps)
    scale = WIDTH / last
    height = ROW * (len(steps) + 3)
    tick = next((tick for tick in TICKS if last / tick <= 10), TICKS[-1])
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + RIGHT} {height}" '
        f'font-family="sans-serif" font-size="11">',
        f'<text x="4" y="14" font-size="13">{escape(title)}</text>',
    ]
    for number in range(int(last / tick) + 1):
        x = LEFT + number * tick * scale
        lines.append(f'<path d="M{x:.1f} {ROW} V{height - ROW}" stroke="#ccc"/>')
        lines.append(f'<text x="{x:.1f}" y="{height - 4}" text-anchor="middle">{number * tick} s</text>')
    for number, (name, begin, end) in enumerate(steps, start=1):
        y, x, width = number * ROW + 6, LEFT + begin * scale, max(1.0, (end - begin) * scale)
        lines.append(f'<text x="{LEFT - 6}" y="{y + 11}" text-anchor="end">{escape(name)}</text>')
        lines.append(f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{ROW - 4}" fill="#3465a4"/>')
        lines.append(f'<text x="{x + width + 3:.1f}" y="{y + 11}">{end - begin:.1f}</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"


def growth(title: str, across: str, series: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """An SVG of each of `series` (name -> points (x, seconds)), both axes in powers of ten."""
    points = [point for line in series.values() for point in line]
    left, right = _powers([x for x, _ in points])
    low, high = _powers([y for _, y in points])

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            MARGIN + SIDE * (math.log10(x) - left) / (right - left),
            MARGIN + HEIGHT * (high - math.log10(y)) / (high - low),
        )

    width, height = SIDE + 4 * MARGIN, HEIGHT + 2 * MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'font-family="sans-serif" font-size="11">',
        f'<text x="4" y="16" font-size="13">{escape(title)}</text>',
        f'<text x="{MARGIN + SIDE / 2}" y="{height - 20}" text-anchor="middle">{escape(across)}</text>',
    ]
    for power in range(left, right + 1):
        x, y = place(10.0**power, 10.0**low)
        lines.append(f'<path d="M{x:.1f} {MARGIN} V{y:.1f}" stroke="#ccc"/>')
        lines.append(f'<text x="{x:.1f}" y="{y + 16:.1f}" text-anchor="middle">{10**power:,}</text>')
    for power in range(low, high + 1):
        x, y = place(10.0**left, 10.0**power)
        lines.append(f'<path d="M{x:.1f} {y:.1f} H{MARGIN + SIDE}" stroke="#ccc"/>')
        lines.append(f'<text x="{x - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">{10.0**power:g} s</text>')
    for number, (name, line) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        spots = [place(x, y) for x, y in line]
        path = " L".join(f"{x:.1f} {y:.1f}" for x, y in spots)
        lines.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        lines += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in spots]
        x, y = spots[-1]
        lines.append(f'<text x="{x + 8:.1f}" y="{y + 4:.1f}" fill="{colour}">{escape(name)}</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"


def _powers(values: Sequence[float]) -> tuple[int, int]:
    """The powers of ten between which all the values lie, at least one apart."""
    low = math.floor(math.log10(min(values)))
    return low, max(low + 1, math.ceil(math.log10(max(values))))
