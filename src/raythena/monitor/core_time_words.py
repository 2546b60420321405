"""Where core-seconds went, as people read it. Pure functions from an account to text."""

from __future__ import annotations

from raythena.domain.core_time import Accounting, Share
from raythena.monitor.wording import duration, printable

_FEW = 4
_WORDS = {str(Share.KEPT): "computing", str(Share.THROWN_AWAY): "computing, thrown away"}


def in_words(category: str) -> str:
    """A category as people call it."""
    return _WORDS.get(category, category.replace("_", " "))


def core_time_line(accounting: Accounting) -> str:
    """The whole account in one line: the greatest shares; empty when nothing is known."""
    allocated_s = accounting.allocated_s
    if allocated_s <= 0:
        return ""
    shares = sorted(accounting.core_s.items(), key=lambda entry: -entry[1])
    told = [f"{_percent(seconds / allocated_s)} {in_words(name)}" for name, seconds in shares[:_FEW] if seconds > 0]
    rest_s = sum(seconds for _, seconds in shares[_FEW:])
    return ", ".join([*told, *([f"{_percent(rest_s / allocated_s)} other"] if rest_s > 0 else [])])


def core_time_rows(accounting: Accounting) -> list[tuple[str, str, str]]:
    """(category, core time, share of what was allocated), with the reasons of what was thrown away below it; the sum is last."""
    allocated_s = accounting.allocated_s
    if allocated_s <= 0:
        return []
    rows = []
    for name, seconds in accounting.core_s.items():
        rows.append((in_words(name), seconds))
        if name == Share.THROWN_AWAY:
            rows += [(f"  {printable(reason)}", thrown_s) for reason, thrown_s in accounting.thrown_away.items()]
    if accounting.accounted < 1 - 5e-4:
        rows.append(("not accounted for", accounting.unaccounted_s))
    rows.append(("allocated", allocated_s))
    return [
        (name, duration(abs(seconds)) if seconds >= 0 else f"-{duration(-seconds)}", _percent(seconds / allocated_s))
        for name, seconds in rows
    ]


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %"
