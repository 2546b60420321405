"""The plug-in point for merging: what turns the outputs of many events into one file.

A merger is a callable. It is handed the outputs of single events as files, in the order the events have in the input, and
writes one file. It runs in a Ray task of its own and may take its time; it must not look at anything but its arguments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol

from raythena.domain.errors import InvalidInput

ENTRY_POINT_GROUP = "raythena.mergers"


@dataclass(frozen=True, slots=True)
class MergeContext:
    """What a merger is told besides its files."""

    lfn: str
    guid: str
    """GUID the merged file will be known by; a merger may record it inside."""
    options: dict[str, Any]


class Merger(Protocol):
    """Merge `inputs` (at least one, in event order) into the new file `output`. Raises MergeError."""

    def __call__(self, inputs: Sequence[Path], output: Path, context: MergeContext) -> None:
        """Do it."""


def merger_named(kind: str) -> Merger:
    """The merger registered under `kind`. Raises InvalidInput naming those that exist."""
    known = {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP)}
    if kind not in known:
        raise InvalidInput("job", "merge.kind", f"no merger called {kind!r}", expected="one of " + ", ".join(sorted(known)))
    merger: Merger = known[kind].load()
    return merger
