"""Keeps a payload's account on disk, where the job report finds it.

Rules: written when something was started, when the payload has nothing left to compute, as before the end of a job, and otherwise
every half minute, if there is something new; whole, or not at all; a disk that refuses costs the account and nothing else.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Hashable
from pathlib import Path

from raythena.domain.errors import StorageError
from raythena.domain.payload_account import FILE_NAME, PayloadAccount, added, transform_resource
from raythena.storage.atomic import write_atomically

LOG = logging.getLogger(__name__)
INTERVAL_S = 30.0


class AccountKeeper:
    """The account of one payload, in its log directory. Times are monotonic seconds."""

    def __init__(self, log_dir: Path) -> None:
        self._path = log_dir / FILE_NAME
        self._starts: Hashable = None
        self._progress: Hashable = None
        self._written_at = float("-inf")
        self.reports = 0
        self.resource: dict[str, float] = {}

    def is_due(self, starts: Hashable, progress: Hashable, now: float, *, idle: bool) -> bool:
        """Whether to write: something is new since the last time this said so. Both values change with every news of theirs."""
        started = starts != self._starts
        if not started and (progress == self._progress or not (idle or now - self._written_at >= INTERVAL_S)):
            return False
        self._starts, self._progress, self._written_at = starts, progress, now
        return True

    def take_report(self, report: object) -> None:
        """Take in the job report of a transform that has ended; anything else has no effect."""
        resource = transform_resource(report)
        if resource is not None:
            self.reports += 1
            self.resource = added(self.resource, resource)

    def write(self, account: PayloadAccount) -> None:
        """Replace the account on disk; for a thread."""
        try:
            write_atomically(self._path, json.dumps(account.to_dict()) + "\n")
        except StorageError as problem:
            LOG.warning("the payload's account was not kept: %s", problem)


def read_report(path: Path) -> object:
    """A transform's jobReport.json; None when there is none that can be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
