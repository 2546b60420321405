"""The lease: at most one coordinator works on a task, wherever it runs.

A file in the task directory names the holder. It works on any shared file system, with or without locks: the file is created by
`link`, which succeeds for exactly one of many; it is replaced by `rename`; and the holder renews it by writing into the file it
made itself, so that it can never overwrite its successor's.

Who is alive? On the same machine, the process table knows: process id and start time. Elsewhere, the holder's heartbeat: silent
for `SILENCE_S` means dead. A coordinator of the same session takes over at once: the session has one coordinator, restarted by
its supervisor, and the old one is gone or will learn from its next heartbeat that it must go.

Times compared are the file system's own time stamps where that can be done, because the clocks of two nodes may differ.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from raythena.domain.errors import InternalError, LedgerBusy
from raythena.storage.atomic import disk_errors, fsync_directory

SILENCE_S = 60.0
"""A holder on another machine that has not renewed its lease for so long is taken for dead."""
_RECORD_BYTES = 2048
"""The record is padded to a fixed size, so that it is renewed in place, also on a full disk."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a task."""

    token: str
    """Unique to one acquisition."""
    host: str
    pid: int
    process_started: str
    """Start of the process in ticks since boot: tells it from a later one of the same id."""
    boot_id: str
    """Of the machine; with `pid_namespace` it says whether its process table is the one we see."""
    pid_namespace: str
    session: str
    batch_job: str
    since: float
    """Wall-clock seconds since the epoch."""
    heartbeat: float

    @classmethod
    def here(cls, session: str, batch_job: str) -> Holder:
        """This process, now."""
        now = time.time()
        pid = os.getpid()
        return cls(
            token=uuid.uuid4().hex,
            host=socket.gethostname(),
            pid=pid,
            process_started=_process_started(pid) or "",
            boot_id=_text_of(Path("/proc/sys/kernel/random/boot_id")),
            pid_namespace=_link_of(Path("/proc/self/ns/pid")),
            session=session,
            batch_job=batch_job,
            since=now,
            heartbeat=now,
        )

    @classmethod
    def read(cls, path: Path) -> Holder | None:
        """The record in a file; None if there is none or it is no record. Raises OSError."""
        return _read(path)

    def is_dead(self) -> bool:
        """Whether the process is provably gone; one on another machine, or in another container, never is."""
        return _is_dead(self, Holder.here("", ""))

    def is_from_earlier_boot(self) -> bool:
        """Whether it was on a machine of this one's name, as that was before it was started last.

        Two machines may have the same name: this proves something only of a record on a disk that no other machine sees.
        """
        here = Holder.here("", "")
        return self.host == here.host and bool(self.boot_id and here.boot_id) and self.boot_id != here.boot_id

    def packed(self) -> bytes:
        """The record as it stands in the file."""
        return json.dumps(asdict(self)).encode().ljust(_RECORD_BYTES - 1) + b"\n"

    def story(self) -> str:
        """The holder for a person: who, where, since when."""
        batch = f", batch job {self.batch_job}" if self.batch_job else ""
        return f"process {self.pid} on {self.host}{batch}, session {self.session}, since {_clock(self.since)}"


class TaskLease:
    """The right to write one task. `acquire` it, renew it by `heartbeat`, `release` it."""

    def __init__(self, path: Path, silence_s: float = SILENCE_S) -> None:
        self.path = path
        self._silence_s = silence_s
        self._holder: Holder | None = None
        self._descriptor = -1

    def acquire(self, session: str, batch_job: str = "") -> None:
        """Become the holder.

        Raises LedgerBusy naming the holder, since when, and what to do; StorageError when the disk refuses.
        """
        if self._holder is not None:
            raise InternalError("this lease is already held")
        mine = Holder.here(session, batch_job)
        part = self.path.with_name(f".{self.path.name}.{mine.token}.part")
        try:
            with disk_errors("take the lease", self.path):
                descriptor = _write_new(part, mine.packed())
                try:
                    self._install(part, mine)
                except BaseException:
                    os.close(descriptor)
                    raise
        finally:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
        self._holder, self._descriptor = mine, descriptor

    def check_free(self, session: str = "") -> None:
        """Take nothing, but raise LedgerBusy when `acquire` for that session would be refused now. Raises StorageError."""
        with disk_errors("read the lease", self.path), contextlib.suppress(FileNotFoundError):
            self._refuse_if_alive(time.time() - self.path.stat().st_mtime, Holder.here(session, ""))

    def heartbeat(self) -> None:
        """Say that the holder is alive; every few seconds.

        Raises LedgerBusy when the lease is somebody else's or was removed: not one more byte may be written to the task. Raises
        StorageError when the disk refuses; the lease is then still held.
        """
        mine = self._held()
        self._check_still_mine(mine)
        renewed = Holder(**{**asdict(mine), "heartbeat": time.time()})
        with disk_errors("renew the lease", self.path):
            os.pwrite(self._descriptor, renewed.packed(), 0)
        self._check_still_mine(mine)

    def release(self) -> None:
        """Give the task back. Does nothing when the lease is not held, or no longer ours. Raises StorageError."""
        mine, self._holder = self._holder, None
        if mine is None:
            return
        os.close(self._descriptor)
        with disk_errors("release the lease", self.path):
            found = _read(self.path)
            if found is not None and found.token == mine.token:
                self.path.unlink(missing_ok=True)
                fsync_directory(self.path.parent)

    def holder(self) -> Holder | None:
        """Whoever the lease names now, dead or alive; None when nobody, or unreadable."""
        return _read(self.path)

    def _held(self) -> Holder:
        if self._holder is None:
            raise InternalError("the lease is not held")
        return self._holder

    def _check_still_mine(self, mine: Holder) -> None:
        with disk_errors("read the lease", self.path):
            found = _read(self.path)
        if found is None:
            raise LedgerBusy(f"the lease {self.path} was removed while this process held it: it must stop writing the task")
        if found.token != mine.token:
            raise LedgerBusy(f"the task was taken over by {found.story()}: this process must stop writing it")

    def _install(self, part: Path, mine: Holder) -> None:
        """Put the record in place if nobody holds the task, or a dead one does."""
        if not _link(part, self.path):
            with _only_one_at_a_time(self.path, part, mine, self._silence_s):
                with contextlib.suppress(FileNotFoundError):
                    self._refuse_if_alive(part.stat().st_mtime - self.path.stat().st_mtime, mine)
                part.rename(self.path)
        fsync_directory(self.path.parent)

    def _refuse_if_alive(self, silent_s: float, mine: Holder) -> None:
        found = _read(self.path)
        if found is None:
            if silent_s < self._silence_s:
                raise LedgerBusy(
                    f"the lease {self.path} is unreadable and was written {max(silent_s, 0):.0f} s ago: somebody may be at work. "
                    f"Try again in a minute; if you are certain that nobody is, remove the file"
                )
            return
        if found.session == mine.session or _is_dead(found, mine):
            return
        same_machine = _same_process_table(found, mine)
        silent_s = min(silent_s, mine.since - found.heartbeat)
        if same_machine or silent_s < self._silence_s:
            self._refuse(found, silent_s, same_machine=same_machine)

    def _refuse(self, found: Holder, silent_s: float, *, same_machine: bool) -> None:
        advice = (
            f"Stop it first (kill {found.pid}), or let it end"
            if same_machine
            else f"Stop it first, or, if it is dead, try again in {self._silence_s - silent_s:.0f} s"
        )
        heard = f"last heard of {max(silent_s, 0):.0f} s ago"
        raise LedgerBusy(f"the task {self.path.parent} is being worked on by {found.story()}, {heard}. {advice}")


@contextlib.contextmanager
def _only_one_at_a_time(lease: Path, part: Path, mine: Holder, silence_s: float) -> Iterator[None]:
    """Of several who find the same dead holder, one may replace it: the others must not replace that one in turn."""
    gate = lease.with_name(f"{lease.name}.takeover")
    if not _link(part, gate):
        with contextlib.suppress(FileNotFoundError):
            owner = _read(gate)
            if part.stat().st_mtime - gate.stat().st_mtime > silence_s or (owner is not None and _is_dead(owner, mine)):
                gate.unlink(missing_ok=True)  # whoever made it died within the few milliseconds it is needed
        if not _link(part, gate):
            raise LedgerBusy(f"another coordinator is taking the task {lease.parent} over at this moment; try again in a minute")
    try:
        yield
    finally:
        gate.unlink(missing_ok=True)


def _link(source: Path, target: Path) -> bool:
    """Create `target` as a second name of `source`; False if it exists."""
    try:
        os.link(source, target)
    except FileExistsError:
        # NFS may carry a request out, lose the answer, and refuse its own repetition: the count of names tells
        return source.stat().st_nlink > 1 and target.exists() and source.samefile(target)
    return True


def _write_new(path: Path, content: bytes) -> int:
    """A new file, durable; returns it open for writing."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        os.pwrite(descriptor, content, 0)
        os.fsync(descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _read(path: Path) -> Holder | None:
    """The record in a lease file; None if there is none or it is no record."""
    try:
        return Holder(**json.loads(path.read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _same_process_table(found: Holder, mine: Holder) -> bool:
    return bool(mine.boot_id) and (found.boot_id, found.pid_namespace) == (mine.boot_id, mine.pid_namespace)


def _is_dead(found: Holder, mine: Holder) -> bool:
    """Provably gone: its process is not in the process table we share, or its number belongs to another one now."""
    return _same_process_table(found, mine) and _process_started(found.pid) != found.process_started


def _process_started(pid: int) -> str | None:
    """Start of a process in ticks since boot (proc(5), field 22 of stat); None when it does not run, zombies included."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    state, *fields = stat.rpartition(")")[2].split()
    return None if state in "ZX" else fields[18]


def _text_of(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _link_of(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""


def _clock(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
