"""Finished files of an agent that is gone.

Everything a pilot leaves on the node's disk lies in a recovery store: launch directories, and outputs that were checked and not
yet stored on the shared file system. The scratch directory of an agent that was killed is removed by its successor; the
recovery store is beside it, and the successor first looks for what is finished in there. A range it is given later, and whose
output it found, needs no core.

Rules: a recovery store belongs to a task and to the process that holds its lock, which the kernel releases however that process
ends; a recovery store nobody holds is emptied and removed. What ranges were given is written down before the pilot gets them.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import shutil
import uuid
from collections.abc import Iterable
from pathlib import Path

from raythena.payloads.pilot.range_queue import InFlight
from raythena.payloads.pilot.salvage import BadFile, claims, take_output

LOG = logging.getLogger(__name__)
_LOCK, _GIVEN, _STAGED = "lock", "given.jsonl", "staged"


class RecoveryStore:
    """The recovery store of one payload. `scratch` is the payload's scratch directory."""

    def __init__(self, scratch: Path) -> None:
        self._all = recovery_stores_of(scratch)
        self.place = self._all / uuid.uuid4().hex[:12]
        self.staged = self.place / _STAGED
        self._lock: int | None = None

    def open(self) -> dict[str, Path]:
        """Make the recovery store; outputs found in those of the dead, by the id of their range. Raises OSError."""
        self.staged.mkdir(parents=True)
        self._lock = os.open(self.place / _LOCK, os.O_RDWR | os.O_CREAT)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        found: dict[str, Path] = {}
        for place in sorted(self._all.iterdir()):
            if place != self.place:
                found.update(self._inherit(place))
        return found

    def note(self, in_flight_ranges: Iterable[InFlight]) -> None:
        """Write down what the pilot is about to get."""
        lines = [json.dumps([in_flight.token, in_flight.lease.event_range.range_id]) + "\n" for in_flight in in_flight_ranges]
        with (self.place / _GIVEN).open("a", encoding="utf-8") as stream:
            stream.writelines(lines)

    def close(self) -> None:
        """Remove everything. Safe to call twice."""
        shutil.rmtree(self.place, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        with contextlib.suppress(OSError):
            self._all.rmdir()  # unless somebody else has his here

    def _inherit(self, place: Path) -> dict[str, Path]:
        """Empty the recovery store of somebody who is dead; nothing when he is not."""
        try:
            lock = os.open(place / _LOCK, os.O_RDWR)
        except OSError:
            return {}  # it is being made, or removed
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = self._rescue(place)
            shutil.rmtree(place, ignore_errors=True)
        except BlockingIOError:
            return {}
        finally:
            os.close(lock)
        if found:
            LOG.info("%d finished outputs found in the recovery store of an agent that is gone", len(found))
        return found

    def _rescue(self, place: Path) -> dict[str, Path]:
        ranges = _given(place / _GIVEN)
        found: dict[str, Path] = {}
        for path in place.glob(f"{_STAGED}/*"):
            if path.name in ranges:
                target = self.staged / f"rescued-{path.name}"
                path.rename(target)
                found[ranges[path.name]] = target
        for directory in place.glob("run-*"):
            for claim in claims(directory, ranges):
                target = self.staged / f"rescued-{claim.token}"
                try:
                    take_output(claim, directory, target)
                    found[ranges[claim.token]] = target
                except BadFile as problem:
                    LOG.info("not rescued: %s", problem)
        return found


def recovery_stores_of(scratch: Path) -> Path:
    """Where those of a task are: beside the agents' scratch directories (`raythena-<task>-<session>-<node>-<word>`)."""
    parts = scratch.parent.name.split("-")
    if parts[0] == "raythena" and len(parts) >= 4:
        return scratch.parent.parent / f"recovery-{parts[1]}"
    return scratch / "recovery"


def _given(path: Path) -> dict[str, str]:
    """Range ids by token. A last line that is torn was never answered."""
    found = {}
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            token, range_id = json.loads(line)
            found[str(token)] = str(range_id)
    except (OSError, ValueError):
        return found
    return found
