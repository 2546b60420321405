"""What was said between a session and whoever it works for: how often, how much, when last.

Four things are said about event ranges and files: they are *asked* for, they are *given*, what became of them is *told*, and
what was told is *acknowledged*. A gateway counts; whoever watches the job reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Saying(StrEnum):
    """What is said."""

    ASKED = "asked"
    GIVEN = "given"
    TOLD = "told"
    ACKNOWLEDGED = "acknowledged"


@dataclass(frozen=True, slots=True)
class Said:
    """How often one of them was said, and about what."""

    times: int = 0
    items: int = 0
    """Ranges, or events and files, in all."""
    last_at: float | None = None
    """Wall-clock seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Talk:
    """Everything said in one session."""

    peer: str
    """Who is talked to."""
    place: str
    """Where: the access point."""
    said: Mapping[Saying, Said] = field(default_factory=dict)
    trouble: str = ""
    """What keeps the two from talking now."""

    def with_said(self, what: Saying, items: int, now: float) -> Talk:
        """It was said once more, about so many items."""
        before = self.said.get(what, Said())
        changed = Said(before.times + 1, before.items + items, now)
        return Talk(self.peer, self.place, {**self.said, what: changed}, self.trouble)

    def with_trouble(self, trouble: str) -> Talk:
        """This keeps the two from talking, or nothing any more."""
        return Talk(self.peer, self.place, self.said, trouble)
