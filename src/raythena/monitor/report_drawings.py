"""Drawings of a report as text that stands in its HTML: bars as SVG, the heat map of occupancy as a small PNG.

No styles stand in elements, which a page that trusts nothing refuses; colours are those of classes in `page/report.css`.
"""

from __future__ import annotations

import struct
import zlib
from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
import numpy.typing as npt

_WIDTH, _HEIGHT, _EDGE = 900, 160, 20
_HEAT = (47, 129, 247)
_TALLEST = 2400


def bars(values: Sequence[float], label: str, left: str, right: str, most: str) -> str:
    """Bars from left to right, with what they stand for at both ends and the largest value; empty when there are none."""
    if not values:
        return ""
    top = max(*values, 1e-12)
    step, reach = _WIDTH / len(values), _HEIGHT - 2 * _EDGE
    drawn = "".join(
        f'<rect class="bar" x="{at * step:.2f}" y="{_HEIGHT - _EDGE - reach * value / top:.2f}" '
        f'width="{max(step - 0.5, 0.5):.2f}" height="{reach * value / top:.2f}"/>'
        for at, value in enumerate(values)
        if value > 0
    )
    words = (
        f'<text x="0" y="14">up to {escape(most)}</text><text x="0" y="{_HEIGHT - 4}">{escape(left)}</text>'
        f'<text x="{_WIDTH}" y="{_HEIGHT - 4}" text-anchor="end">{escape(right)}</text>'
    )
    name = f"{label}: up to {most}, from {left} to {right}"
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(name)}">{drawn}{words}</svg>'


def shares(parts: Mapping[str, float], whole: float, label: str) -> str:
    """One bar cut into shares of a whole, in the order given; each a class `share-<name>`. Empty without a whole."""
    if whole <= 0:
        return ""
    drawn, at = [], 0.0
    for name, value in parts.items():
        wide = _WIDTH * max(value, 0.0) / whole
        title = f"{name.replace('_', ' ')} {100 * value / whole:.1f} %"
        drawn.append(
            f'<rect class="share share-{escape(name)}" x="{at:.2f}" y="0" width="{wide:.2f}" height="24">'
            f"<title>{escape(title)}</title></rect>"
        )
        at += wide
    return f'<svg viewBox="0 0 {_WIDTH} 24" role="img" aria-label="{escape(label)}">{"".join(drawn)}</svg>'


def heat_map(cells: npt.NDArray[np.uint8], label: str) -> str:
    """A picture with a row for each node and a column for each stretch of time: the stronger, the busier. Empty without cells."""
    rows, columns = cells.shape
    if not rows or not columns:
        return ""
    tall = min(_TALLEST, rows * (16 if rows <= 40 else 6 if rows <= 200 else 2))
    source = "data:image/png;base64," + b64encode(png(cells)).decode()
    return f'<img class="heat" src="{source}" width="{_WIDTH}" height="{tall}" alt="{escape(label)}">'


def png(cells: npt.NDArray[np.uint8]) -> bytes:
    """A palette of one colour, from clear to full, as PNG (https://www.w3.org/TR/png-3/)."""
    rows, columns = cells.shape
    lines = np.zeros((rows, columns + 1), dtype=np.uint8)
    lines[:, 1:] = cells
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", columns, rows, 8, 3, 0, 0, 0)),
        (b"PLTE", bytes(_HEAT) * 256),
        (b"tRNS", bytes(range(256))),
        (b"IDAT", zlib.compress(lines.tobytes(), 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, content) for name, content in parts)


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
