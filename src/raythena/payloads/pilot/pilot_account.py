"""The account of the payload `pilot`: its pilots, where their time went, what their transforms used.

`keep` writes it when it is due and `close` for the last time; the job report and `latency.json` are made of it.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import asdict
from pathlib import Path

from raythena.domain.payload_account import PayloadAccount
from raythena.payloads.account import AccountKeeper
from raythena.payloads.pilot.run_times import RunTimes, summary
from raythena.payloads.pilot.running import RunningPilot

LOG = logging.getLogger(__name__)
_MB = 1_000_000


class PilotAccount:
    """Of one payload, in its log directory. `log_limit_mb` is what is kept of each of a pilot's log files."""

    def __init__(self, log_dir: Path, log_limit_mb: int) -> None:
        self._log_dir = log_dir
        self._log_limit_bytes = log_limit_mb * _MB
        self._keeper = AccountKeeper(log_dir)
        self._times: list[RunTimes] = []
        self._transforms = 0
        """Pilots, of those that are gone, that got as far as starting one."""
        self.starts = 0
        """Of pilots."""

    async def pilot_ended(self, pilot: RunningPilot) -> None:
        """Keep what tells the story of a pilot that is gone, and remove the rest of it."""
        pilot.note_times()
        LOG.info("pilot %d: %s", pilot.number, pilot.times.in_words())
        record = pilot.panda.record
        if record.n_events > record.n_reported:
            LOG.warning("pilot %d counts %d events, reported %d", pilot.number, record.n_events, record.n_reported)
        self._times.append(pilot.times)
        await asyncio.to_thread(self._keep_files, pilot)

    def _keep_files(self, pilot: RunningPilot) -> None:
        self._transforms += pilot.has_payload
        self._keeper.take_report(pilot.job_report())
        pilot.collect(self._log_limit_bytes)
        pilot.remove()

    async def keep(self, pilot: RunningPilot | None, results: int, now: float, *, idle: bool) -> None:
        """Write it if it is due. `pilot` is the one that runs, `results` the outputs so far; `idle`: nothing is held."""
        times, transforms = self._times, self._transforms
        if pilot is not None:
            transforms += pilot.has_payload
        if not self._keeper.is_due((self.starts, transforms), results, now, idle=idle):
            return
        if pilot is not None:
            pilot.note_times()
            times = [*times, pilot.times]
        await asyncio.to_thread(self._keeper.write, self._document(times, transforms))

    def close(self) -> None:
        """Write everything for the last time."""
        account = summary(self._times)
        LOG.info("latency: %s", account.in_words())
        try:
            account.write(self._log_dir)
        except OSError as problem:
            LOG.warning("the account of latencies was not kept: %s", problem)
        self._keeper.write(self._document(self._times, self._transforms))

    def _document(self, times: list[RunTimes], transforms: int) -> PayloadAccount:
        waiting = asdict(summary(times))
        return PayloadAccount("pilot", transforms, self.starts, waiting, self._keeper.reports, self._keeper.resource)
