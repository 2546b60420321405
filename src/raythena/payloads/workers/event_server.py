"""Client of the event-server protocol for Python programs: one file, standard library only; it may be copied elsewhere.

    from raythena.client import EventServer

    for event in EventServer():
        path = event.new_output(".dat")
        path.write_bytes(simulate(event.pfn, event.first, event.last))
        event.done(path)

The loop ends when the server asks the worker to drain, or is gone; leave the program then with status 0. An event must be
answered with `done`, `done_bytes`, `done_streams`, `done_each` or `failed` before the next one is asked for.

With `events_per_range` an "event" is a range of several, `first` to `last`, answered by `done_each` with an output for each. With
`ranges_in_flight` so many threads may loop over one `EventServer`, each over events of its own.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

LOOK_EVERY_S = 0.0005
"""Very short events do not look for news between any two of them."""
SPOOL_BYTES = 64 << 20
SPOOL_EVENTS = 20_000
"""A spool is closed at either limit, so that the server can delete those it no longer needs."""


class Event:
    """One range of events to compute: `first` to `last`, both included, of the file `pfn`.

    In a job without input files `pfn` is empty, and `seeds` holds a seed for each event.
    """

    __slots__ = (
        "_answered",
        "_cpu",
        "_server",
        "_start",
        "attempt",
        "first",
        "guid",
        "id",
        "last",
        "lfn",
        "pfn",
        "point",
        "seeds",
        "started_at",
        "token",
    )

    def __init__(self, server: EventServer, message: dict[str, Any]) -> None:
        self._server = server
        self.token: str = message["range"]
        self.id: str = message["id"]
        self.lfn: str = message["lfn"]
        self.pfn: str = message["pfn"]
        self.guid: str = message["guid"]
        self.first: int = message["first"]
        self.last: int = message["last"]
        self.attempt: int = message["attempt"]
        self.seeds: tuple[int, ...] = tuple(message.get("seeds", ()))
        self.point: str = message.get("point", "")
        self.started_at = time.time()
        self._start = time.perf_counter()
        self._cpu = server.cpu_s()
        self._answered = False

    @property
    def seed(self) -> int:
        """The seed of the first event. Raises ValueError in a job with input files, whose events have none."""
        if not self.seeds:
            raise ValueError(f"event range {self.id} has no seed: its events come from a file")
        return self.seeds[0]

    def new_output(self, suffix: str = "") -> Path:
        """A path in the scratch directory that no other event uses."""
        return self._server.scratch / f"{self.token}{suffix}"

    def done(self, output: Path | str) -> None:
        """The output is complete in the file `output`, written for this event alone."""
        self._answer(self._result(str(output)))

    def done_bytes(self, data: bytes) -> None:
        """Append `data` to the worker's spool and report that stretch: much cheaper than a file for each small event."""
        with self._server.spooling:
            path, offset = self._server.append(data)
            self._answer(f'{self._result(path)},"offset":{offset},"size":{len(data)}')

    def done_streams(self, outputs: Mapping[str, bytes | str | Path]) -> None:
        """The output of each stream of the job, by its name, as bytes or as a file in the scratch directory, which is removed."""
        self.done_bytes(bundled({name: _content(output) for name, output in outputs.items()}))
        for output in outputs.values():
            if not isinstance(output, bytes):
                os.unlink(output)  # noqa: PTH108

    def done_each(self, outputs: Sequence[bytes]) -> None:
        """The outputs of the range's events, one for each from `first` to `last`: appended to the worker's spool."""
        sizes = ",".join(str(len(output)) for output in outputs)
        with self._server.spooling:
            path, offset = self._server.append(b"".join(outputs))
            self._answer(f'{self._result(path)},"offset":{offset},"sizes":[{sizes}]')

    def failed(self, reason: str) -> None:
        """The event could not be computed."""
        self._answer(f'"type":"failed","range":{json.dumps(self.token)},"reason":{json.dumps(reason[-8000:])}')

    @property
    def is_answered(self) -> bool:
        """Whether the server was told what became of it."""
        return self._answered

    def _answer(self, fields: str) -> None:
        """Sent at once: a worker that dies with results unsent would be blamed on the wrong event."""
        if self._answered:
            raise RuntimeError(f"event {self.id} is not the current one: it was answered before")
        self._answered = True
        self._server.say(fields)

    def _result(self, output: str) -> str:
        wall_s = time.perf_counter() - self._start
        cpu_s = max(0.0, self._server.cpu_s() - self._cpu)
        names = f'"type":"done","range":{json.dumps(self.token)},"output":{json.dumps(output)}'
        return f'{names},"cpu_s":{cpu_s:.6f},"wall_s":{wall_s:.6f},"started_at":{self.started_at:.6f}'


def bundled(contents: Mapping[str, bytes]) -> bytes:
    """The outputs of an event in each stream as one, as `done_each` takes it: a line of JSON with names and sizes, and they."""
    header = json.dumps({"streams": [[name, len(content)] for name, content in contents.items()]}, separators=(",", ":"))
    return b"".join((header.encode(), b"\n", *contents.values()))


def _content(output: bytes | str | Path) -> bytes:
    if isinstance(output, bytes):
        return output
    with open(output, "rb") as file:  # noqa: PTH123
        return file.read()


class EventServer:
    """The connection of this worker to its server; iterate over it to get events, in one thread or in several."""

    def __init__(self, path: str | None = None, scratch: str | None = None) -> None:
        self.scratch = Path(scratch or os.environ["RAYTHENA_SCRATCH"])
        self.worker = int(os.environ.get("RAYTHENA_WORKER", "0"))
        self.cores = int(os.environ.get("RAYTHENA_WORKER_CORES", "1"))
        self.ranges_in_flight = int(os.environ.get("RAYTHENA_RANGES_IN_FLIGHT", "1"))
        self.cpu_s = time.process_time if self.ranges_in_flight == 1 else time.thread_time
        self._path = path or os.environ["RAYTHENA_SOCKET"]
        self._ranges: deque[dict[str, Any]] = deque()
        self._pending = b""
        self._draining = False
        self._looked = 0.0
        self._spool: IO[bytes] | None = None
        self._spools = self._spool_events = self._spool_end = 0
        self._socket: socket.socket | None = None
        self._receiving, self._sending = threading.Lock(), threading.Lock()
        self.spooling = threading.Lock()
        """Held from the writing of an output to its report: stretches are reported in the order in which they lie there."""
        self._loops = 0

    def __iter__(self) -> Iterator[Event]:
        self._begin()
        try:
            while (message := self._next()) is not None:
                event = Event(self, message)
                yield event
                if not event.is_answered:
                    raise RuntimeError(f"event {event.id} was answered with neither done nor failed")
        finally:
            self._end()

    def _begin(self) -> None:
        """One more thread asks for events; the first connects."""
        with self._receiving:
            self._loops += 1
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX)
                self._socket.connect(self._path)
                self.say(f'"type":"ready","version":1,"pid":{os.getpid()}')

    def _end(self) -> None:
        """A thread asks no more; the last hangs up."""
        with self._receiving:
            self._loops -= 1
            if self._loops == 0 and self._socket is not None:
                self._socket.close()

    def append(self, data: bytes) -> tuple[str, int]:
        """Append to the spool: its path, and where the data begins."""
        if self._spool is None or self._spool_end >= SPOOL_BYTES or self._spool_events >= SPOOL_EVENTS:
            self._new_spool()
        assert self._spool is not None  # noqa: S101
        offset = self._spool_end
        view = memoryview(data)
        try:
            while view:
                view = view[self._spool.write(view) :]
        except OSError:
            self._close_spool()  # it may have taken a part: nothing must be appended to that
            raise
        self._spool_end += len(data)
        self._spool_events += 1
        return self._spool.name, offset

    def _new_spool(self) -> None:
        self._close_spool()
        self._spools += 1
        self._spool = open(os.fspath(self.scratch / f"spool-{self._spools}"), "ab", buffering=0)  # noqa: PTH123, SIM115
        self._spool_end = self._spool_events = 0

    def _close_spool(self) -> None:
        if self._spool is not None:
            self._spool.close()
            self._spool = None

    def _next(self) -> dict[str, Any] | None:
        """The next range to compute; None at the end."""
        with self._receiving:
            now = time.perf_counter()
            if now - self._looked > LOOK_EVERY_S:
                self._looked = now
                self._receive(wait=False)
            while not self._ranges and not self._draining:
                self._receive(wait=True)
            return None if self._draining else self._ranges.popleft()

    def _receive(self, wait: bool) -> None:
        assert self._socket is not None  # noqa: S101
        try:
            data = self._socket.recv(1 << 16, 0 if wait else socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            self._draining = True
            return
        *lines, self._pending = (self._pending + data).split(b"\n")
        for line in lines:
            self._obey(json.loads(line))

    def _obey(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "range":
            self._ranges.append(message)
        elif kind == "cancel":
            self._release(set(message["ranges"]))
        elif kind == "drain":
            self._draining = True
            self._release({entry["range"] for entry in self._ranges})

    def _release(self, tokens: set[str]) -> None:
        for entry in [entry for entry in self._ranges if entry["range"] in tokens]:
            self._ranges.remove(entry)
            self.say(f'"type":"released","range":{json.dumps(entry["range"])}')

    def say(self, fields: str) -> None:
        """Send a message."""
        assert self._socket is not None  # noqa: S101
        try:
            with self._sending:
                self._socket.sendall(f"{{{fields}}}\n".encode())
        except ConnectionError:
            self._draining = True
