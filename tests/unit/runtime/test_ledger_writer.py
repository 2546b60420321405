"""Group commit: nothing is told as committed before it is, and a disk that refuses is asked again."""

from __future__ import annotations

import asyncio
import threading

import pytest

from raythena.domain.errors import LedgerCorrupt, StorageError
from raythena.domain.records import AttemptFailed
from raythena.domain.results import FailureKind
from raythena.engine import commands as do
from raythena.engine import events as ev
from raythena.runtime import ledger_writer
from raythena.runtime.ledger_writer import LedgerWriter


class SlowLedger:
    """Remembers what is committed; refuses the first `refusals` times; says in which thread it was used."""

    def __init__(self, refusals=0):
        self.batches = []
        self.refusals = refusals
        self.threads = set()

    def commit(self, records):
        self.threads.add(threading.get_ident())
        if self.refusals:
            self.refusals -= 1
            raise StorageError("disk full")
        self.batches.append(list(records))


def record(number):
    return AttemptFailed(number, 1, "n", FailureKind.CRASH, "", False, 0.0)


def drive(ledger, tickets, patience_s=60.0, together=True):
    """Add records, wait until all are committed; the events told, in order."""
    told = []

    async def go():
        done = asyncio.Event()

        def tell(event):
            told.append((event, len(ledger.batches)))
            committed = [ticket for event, _ in told if isinstance(event, ev.Committed) for ticket in event.tickets]
            if len(committed) == tickets:
                done.set()

        writer = LedgerWriter(ledger, 0.0, patience_s, tell)
        task = asyncio.create_task(writer.run())
        for number in range(tickets):
            writer.add(do.Commit(ticket=number, record=record(number)))
            if not together:
                await asyncio.sleep(0.005)
        waiting = asyncio.create_task(done.wait())
        finished, _ = await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED, timeout=20)
        waiting.cancel()
        if task in finished:
            await task
        task.cancel()

    asyncio.run(go())
    return told


def test_records_that_wait_are_committed_together():
    ledger = SlowLedger()
    drive(ledger, 100)
    assert len(ledger.batches) == 1


def test_every_ticket_is_told_once_and_after_its_commit():
    ledger = SlowLedger()
    told = drive(ledger, 20, together=False)
    tickets = [ticket for event, _ in told for ticket in event.tickets]
    assert sorted(tickets) == list(range(20))
    for event, batches in told:
        durable = {entry.range_index for batch in ledger.batches[:batches] for entry in batch}
        assert durable.issuperset(event.tickets)


def test_one_thread_touches_the_ledger_and_it_is_not_ours():
    ledger = SlowLedger()
    drive(ledger, 10, together=False)
    assert len(ledger.threads) == 1
    assert threading.get_ident() not in ledger.threads


def test_a_refusing_disk_is_said_asked_again_and_its_recovery_said(monkeypatch):
    monkeypatch.setattr(ledger_writer, "_RETRY_PAUSE_S", 0.01)
    told = [type(event) for event, _ in drive(SlowLedger(refusals=3), 5)]
    assert told == [ev.StorageStalled] * 3 + [ev.StorageRecovered, ev.Committed]


class BrokenLedger(SlowLedger):
    """Refuses once, and is damaged from then on, or from the beginning."""

    def commit(self, records):
        self.refusals -= 1
        raise StorageError("I/O error") if self.refusals >= 0 else LedgerCorrupt("malformed")


def test_damage_seen_after_an_error_of_the_disk_is_the_disks(monkeypatch):
    monkeypatch.setattr(ledger_writer, "_RETRY_PAUSE_S", 0.01)
    with pytest.raises(StorageError, match="I/O error"):
        drive(BrokenLedger(refusals=1), 1, patience_s=0.05)
    with pytest.raises(LedgerCorrupt, match="malformed"):
        drive(BrokenLedger(), 1, patience_s=0.05)


def test_patience_ends(monkeypatch):
    monkeypatch.setattr(ledger_writer, "_RETRY_PAUSE_S", 0.01)
    with pytest.raises(StorageError, match="disk full"):
        drive(SlowLedger(refusals=10**6), 1, patience_s=0.05)
