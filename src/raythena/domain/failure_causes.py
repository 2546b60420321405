"""Failures grouped by their cause: what people want to know first when events fail.

Two failures have one cause when they are of one kind and their messages are the same once paths, addresses and numbers are taken
out of what is telling. Of a traceback that is what was raised, with all its lines, so that two errors that end in the same line
stay two. The failures of a job may be a million: only so many causes are told apart, and of each only the first events are kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from raythena.domain.records import AttemptFailed
from raythena.domain.results import FailureKind
from raythena.domain.short_reason import short_reason
from raythena.domain.taxonomy import Fault, of_failure

MAX_TEXT = 300
"""Characters of a cause's text."""
MAX_CAUSES = 200
EVENTS_KEPT = 3
OTHERS = "other errors"
_TRACEBACK = "Traceback (most recent call last)"
_LOOKED_AT = 100_000
_HALF = MAX_TEXT // 2 - 2

_VARYING = re.compile(r"(?:/[^\s:,'\"]*)+|0[xX][0-9a-fA-F]+|\b[0-9a-fA-F]{8,}\b|\d+")


@dataclass(frozen=True, slots=True)
class FailureCause:
    """Why some events failed."""

    kind: FailureKind
    text: str
    """The error and its message, of the first of them."""
    count: int
    events: tuple[int, ...]
    """Range indices of the first few."""
    first: AttemptFailed
    """The first of them, which says where to look."""

    @property
    def fault(self) -> Fault:
        """Whose fault it is, and what to do."""
        return of_failure(self.kind)


def telling(message: str) -> str:
    """The telling part of a message, on one line: of a traceback what was raised, of other texts the first and the last line."""
    lines = [line for line in message[:_LOOKED_AT].splitlines() if line.strip()]
    if len(lines) > 1 and _TRACEBACK not in message:
        *_, last = [line for line in message[-_LOOKED_AT:].splitlines() if line.strip()]
        message = f"{lines[0][:_HALF]} … {last[-_HALF:]}"
    return short_reason(message, MAX_TEXT)


def normalised(kind: str, message: str) -> str:
    """What is left of a failure when paths, addresses and numbers are taken out: the same for the same error."""
    return f"{kind}: {_VARYING.sub('#', telling(message))}"


def causes_of(failures: Iterable[AttemptFailed]) -> list[FailureCause]:
    """The causes of failures, the commonest first; those beyond `MAX_CAUSES` are told together as the last of their kind."""
    causes: dict[str, FailureCause] = {}
    for failure in failures:
        key, text = normalised(failure.kind, failure.message), telling(failure.message)
        if key not in causes and len(causes) >= MAX_CAUSES:
            key, text = f"{failure.kind}: ", OTHERS
        known = causes.get(key)
        if known is None:
            causes[key] = FailureCause(failure.kind, text, 1, (failure.range_index,), failure)
        else:
            events = known.events if len(known.events) >= EVENTS_KEPT else (*known.events, failure.range_index)
            causes[key] = replace(known, count=known.count + 1, events=events)
    return sorted(causes.values(), key=lambda cause: -cause.count)
