# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""One drawing: steps over time as bars, in SVG."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

ROW, LEFT, WIDTH, RIGHT = 18, 290, 560, 70
TICKS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600)


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
