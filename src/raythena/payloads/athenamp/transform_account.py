"""The account of the payload `athenamp`: how often the transform was started, what its cores waited for, what it used.

`keep` writes it when it is due and `close` for the last time; the job report and `latency.json` are made of it.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import asdict
from pathlib import Path

from raythena.domain.payload_account import PayloadAccount
from raythena.payloads.account import AccountKeeper, read_report
from raythena.payloads.latency import IdleClock

LOG = logging.getLogger(__name__)


class TransformAccount:
    """Of one payload, in its log directory."""

    def __init__(self, log_dir: Path, waiting: IdleClock) -> None:
        self._log_dir = log_dir
        self._waiting = waiting
        self._keeper = AccountKeeper(log_dir)
        self.runs = 0
        """Starts of the transform."""

    def run_ended(self, directory: Path) -> None:
        """Take in the job report of a run that worked in `directory`, if it left one."""
        self._keeper.take_report(read_report(directory / "jobReport.json"))

    def keep(self, finished: int, now: float, *, idle: bool) -> None:
        """Write it, in a thread, if it is due: `finished` ranges have come back. `idle`: the payload holds none."""
        if self._keeper.is_due(self.runs, finished, now, idle=idle):
            asyncio.get_running_loop().run_in_executor(None, self._keeper.write, self._document())

    def close(self) -> None:
        """Write everything for the last time."""
        summary = self._waiting.summary()
        LOG.info("AthenaMP: %s", summary.in_words())
        try:
            summary.write(self._log_dir)
        except OSError as problem:
            LOG.warning("the account of waiting times could not be written: %s", problem)
        self._keeper.write(self._document())

    def _document(self) -> PayloadAccount:
        waiting = asdict(self._waiting.summary())
        return PayloadAccount("athenamp", self.runs, None, waiting, self._keeper.reports, self._keeper.resource)
