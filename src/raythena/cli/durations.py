"""Durations as people write them: `90s`, `30m`, `1h30m`, `2d`, and as Slurm does: `1:30:00`, `2-12:00:00`.

A bare number is refused: to Slurm it means minutes, to everybody else seconds.
"""

from __future__ import annotations

import re

from raythena.domain.errors import InvalidInput

_SECONDS = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0}
_PARTS = re.compile(r"(?:(\d+(?:\.\d+)?)d)?(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?", re.ASCII)
_CLOCK = re.compile(r"(?:(\d+)-)?(\d+):([0-5]\d):([0-5]\d)", re.ASCII)


def parse_duration(text: str, source: str) -> float:
    """Seconds. Raises InvalidInput naming `source`, the option at fault."""
    cleaned = text.strip().lower()
    if clock := _CLOCK.fullmatch(cleaned):
        days, hours, minutes, seconds = (int(part or 0) for part in clock.groups())
        return days * 86_400.0 + hours * 3_600.0 + minutes * 60.0 + seconds
    parts = _PARTS.fullmatch(cleaned)
    if not cleaned or parts is None:
        raise InvalidInput(source, "", f"{text!r} is no duration", expected="for example 90s, 30m, 1h30m or 1:30:00")
    return sum(float(number) * factor for number, factor in zip(parts.groups(), _SECONDS.values(), strict=True) if number)
