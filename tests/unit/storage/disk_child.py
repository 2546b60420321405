"""Programs that work on a ledger in a process of their own, to be killed, recorded, or refused by the disk."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from pathlib import Path

from ledger_kit import contents, failed, job, merged, stored

from raythena.domain.errors import StorageError
from raythena.storage.ledger import Ledger

JOB = job(100_000)
GROUP = 50


def batch(number: int) -> list[object]:
    """What the n-th commit holds: a group, a failure, sometimes a merged output."""
    first = number * GROUP
    records: list[object] = [stored(f"g{number}", range(first, first + GROUP)), failed(99_000 + number)]
    return [*records, merged(number)] if number % 7 == 3 else records


def endless(path: Path) -> None:
    """Commit for ever, telling each commit that is durable; goes on where the ledger ends."""
    ledger = Ledger.open(path, JOB)
    number = sum(1 for _ in ledger.groups())
    while True:
        ledger.commit(batch(number))
        os.write(1, f"{number}\n".encode())
        number += 1


def recorded(path: Path) -> None:
    """A short life with everything in it: creation, commits, folding in of the journal, an end, a second life."""
    told = os.open(path.with_name("told"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    number = 0
    for life in range(3):
        ledger = Ledger.open(path, JOB) if life else Ledger.create(path, JOB)
        os.write(told, b"0\n")
        ledger._connection.execute("PRAGMA wal_autocheckpoint = 12")
        for _ in range(8):
            number += 1
            ledger.commit(batch(number))
            os.write(told, f"{number}\n".encode())
        if life < 2:
            ledger.close()


def refused(directory: Path, recorder: str) -> None:
    """Have every change to the disk refused in turn, in every way; what was refused is tried again, and nothing may be amiss."""
    disk = ctypes.CDLL(recorder)
    refusals = 0
    for error in (errno.EIO, errno.ENOSPC):
        for times in (1, 4):
            for n in range(1, 14):
                refusals += _one_refusal(directory / f"{error}-{times}-{n}.sqlite", disk, n, error, times)
    print(refusals)


def _one_refusal(path: Path, disk: ctypes.CDLL, n: int, error: int, times: int) -> int:
    ledger = Ledger.create(path, JOB)
    ledger._connection.execute("PRAGMA wal_autocheckpoint = 5")
    ledger.commit(batch(0))
    disk.disk_fail(n, error, times)
    refusals = 0
    for number in range(1, 6):
        before = contents(ledger.restore())
        while True:
            try:
                ledger.commit(batch(number))
                break
            except StorageError:
                refusals += 1
                assert contents(ledger.restore()) == before
                assert refusals < 10
    disk.disk_fail(0, 0, 0)
    expected = contents(ledger.restore())
    with Ledger.read(_copy(path)) as view:
        assert contents(view.restore()) == expected, "what a crash would leave"
    ledger.close()
    with Ledger.open(path, JOB) as again:
        assert contents(again.restore()) == expected
        assert sum(1 for _ in again.groups()) == 6
    return refusals


def _copy(path: Path) -> Path:
    target = path.with_name(f"copy-of-{path.name}")
    for suffix in ("", "-wal"):
        source = path.with_name(path.name + suffix)
        if source.exists():
            target.with_name(target.name + suffix).write_bytes(source.read_bytes())
    return target


if __name__ == "__main__":
    {"endless": endless, "recorded": recorded, "refused": refused}[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])
