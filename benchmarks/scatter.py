"""A scatter plot of predicted over measured latency as an SVG file, with logarithmic axes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

_SIZE, _MARGIN = 560, 70
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_BANDS = ((0.15, "#eeeeee"), (0.05, "#d8d8d8"))


def scatter(rows: Sequence[Mapping[str, Any]], colour_by: str) -> str:
    """The plot of rows with `measured_s` and `predicted_s`; bands are 5 and 15 %."""
    values = [float(row[key]) for row in rows for key in ("measured_s", "predicted_s")]
    low, high = math.log10(min(values)) - 0.1, math.log10(max(values)) + 0.1

    def at(seconds: float) -> float:
        return (math.log10(seconds) - low) / (high - low) * _SIZE

    def point(x_s: float, y_s: float) -> str:
        return f"{_MARGIN + at(x_s):.1f},{_MARGIN + _SIZE - at(y_s):.1f}"

    ends = 10**low, 10**high
    parts = [f'<rect x="{_MARGIN}" y="{_MARGIN}" width="{_SIZE}" height="{_SIZE}" class="frame"/>']
    for width, colour in _BANDS:
        corners = [
            *(point(x, x * (1 + width)) for x in ends),
            *(point(x, x / (1 + width)) for x in reversed(ends)),
        ]
        parts.append(f'<polygon points="{" ".join(corners)}" fill="{colour}" clip-path="url(#c)"/>')
    for decade in range(math.ceil(low), math.floor(high) + 1):
        seconds = 10.0**decade
        x, y = _MARGIN + at(seconds), _MARGIN + _SIZE - at(seconds)
        label = f"{seconds * 1e3:g} ms" if decade < 0 else f"{seconds:g} s"
        bottom = _MARGIN + _SIZE
        parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{label}</text>')
        parts.append(f'<text x="{_MARGIN - 6}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
        parts.append(f'<path d="M{x:.1f} {bottom}v5M{_MARGIN} {y:.1f}h-5" class="frame"/>')
    kinds = list(dict.fromkeys(str(row[colour_by]) for row in rows))
    for row in rows:
        colour = _COLOURS[kinds.index(str(row[colour_by])) % len(_COLOURS)]
        x, y = point(row["measured_s"], row["predicted_s"]).split(",")
        title = escape(f"{row['network']} {row['link']} {row['plan']}")
        parts.append(
            f'<circle cx="{x}" cy="{y}" r="3.5" fill="{colour}"><title>{title}</title></circle>'
        )
    for index, kind in enumerate(kinds):
        y = _MARGIN + 18 + 18 * index
        colour = _COLOURS[index % len(_COLOURS)]
        parts.append(f'<circle cx="{_MARGIN + 14}" cy="{y - 4}" r="4" fill="{colour}"/>')
        parts.append(f'<text x="{_MARGIN + 24}" y="{y}">{escape(kind)}</text>')
    middle, whole = _MARGIN + _SIZE / 2, _SIZE + 2 * _MARGIN
    parts.append(f'<text x="{middle}" y="{whole - 20}" text-anchor="middle">measured</text>')
    turned = f'transform="translate(18 {middle}) rotate(-90)" text-anchor="middle"'
    parts.append(f"<text {turned}>predicted; bands: 5 and 15 %</text>")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole} {whole}">'
        "<style>text{font:13px sans-serif}.frame{fill:none;stroke:#888}</style>"
        f'<clipPath id="c"><rect x="{_MARGIN}" y="{_MARGIN}" width="{_SIZE}" height="{_SIZE}"/>'
        f"</clipPath>{''.join(parts)}</svg>\n"
    )
