"""What a worker says it has written, checked before anybody relies on it.

An output is a whole file, or a stretch of a *spool*: a file to which a worker appends the outputs of many events. Rules: it
lies in the worker's own directory once symbolic links are resolved, is a regular file, is not empty, and was not the output of
another event. Spools grow: stretches of one spool never overlap and come in order, and a worker has one spool at a time.

The cost is one `lstat` for a file directly in the worker's directory, and less for a spool.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path

from raythena.domain.bundle import MAX_HEADER_BYTES, BadBundle, sections
from raythena.payloads.workers.protocol import DoneMessage

REMEMBERED_NAMES = 256
"""Names of a worker's latest outputs, to notice one that is used again; more than are ever in flight."""


class BadOutput(Exception):
    """The output cannot be used. The text says why."""


@dataclass(slots=True)
class Spool:
    """One spool file: how far it has been reported, and how many stretches are still to be collected."""

    path: Path
    end: int = 0
    known_size: int = 0
    uncollected: int = 0
    closed: bool = False
    """No further stretch will be reported."""


@dataclass(frozen=True, slots=True)
class Output:
    """A checked output: `size_bytes` bytes at `offset` of `path`."""

    path: Path
    size_bytes: int
    offset: int = 0
    spool: Spool | None = None


class OutputInspector:
    """Checks the outputs of one worker, from its start to its end. `scratch` is its directory.

    With `streams` each output is a bundle of exactly these.
    """

    def __init__(self, scratch: Path, streams: tuple[str, ...] = ()) -> None:
        self.scratch = scratch
        self._streams = streams
        self._root = os.path.realpath(scratch)
        self._names: set[str] = set()
        self._order: deque[str] = deque()
        self.spools: dict[str, Spool] = {}
        """Spools by the name the worker gives them."""
        self.retired: list[Spool] = []
        """Spools closed since somebody last took them from this list."""

    def inspect(self, message: DoneMessage) -> Output:
        """The output a message tells of. Raises BadOutput."""
        (output,) = self.inspect_each(message, 1)
        return output

    def inspect_each(self, message: DoneMessage, n_events: int) -> list[Output]:
        """The outputs of a range of `n_events` events, one for each. Raises BadOutput."""
        outputs = self._outputs(message, n_events)
        if self._streams:
            for output in outputs:
                self._check_streams(message.output, output)
        return outputs

    def _check_streams(self, name: str, output: Output) -> None:
        try:
            with output.path.open("rb", buffering=0) as file:
                head = os.pread(file.fileno(), min(output.size_bytes, MAX_HEADER_BYTES), output.offset)
            sections(head, output.size_bytes, self._streams)
        except BadBundle as problem:
            raise BadOutput(f"output {name!r} {problem}") from None
        except OSError as problem:
            raise BadOutput(f"output {name!r}: {_reason(problem)}") from None

    def _outputs(self, message: DoneMessage, n_events: int) -> list[Output]:
        try:
            if message.sizes is not None:
                return self._stretches(message, message.sizes, n_events)
            if n_events > 1:
                raise BadOutput(f"one output for {n_events} events: expected `offset` and `sizes`, one for each event")
            if message.offset is not None and message.size is not None:
                return [self._stretch(message.output, message.offset, message.size)]
            if message.offset is not None or message.size is not None:
                raise BadOutput("offset and size must be given together")
            return [self._whole_file(message.output)]
        except (OSError, ValueError) as problem:
            raise BadOutput(f"output {message.output!r}: {_reason(problem)}") from None

    def _whole_file(self, name: str) -> Output:
        path, size = self._locate(name)
        if path in self._names or path in self.spools:
            raise BadOutput(f"output {name!r} is the output of an earlier event: every event needs a name of its own")
        if size == 0:
            raise BadOutput(f"output {name!r} is empty")
        self._remember(path)
        return Output(Path(path), size)

    def _stretch(self, name: str, offset: int, size: int) -> Output:
        if size == 0:
            raise BadOutput(f"output {name!r}: a stretch of 0 bytes")
        spool = self.spools.get(name)
        if spool is None or spool.closed or offset + size > spool.known_size:
            spool = self._open_spool(name, spool)
        if offset < spool.end:
            raise BadOutput(f"output {name!r}: the stretch at {offset} overlaps the one before, which ends at {spool.end}")
        if offset + size > spool.known_size:
            raise BadOutput(f"output {name!r} ends at {spool.known_size}, but a stretch of {size} bytes at {offset} was reported")
        spool.end = offset + size
        return Output(spool.path, size, offset, spool)

    def _stretches(self, message: DoneMessage, sizes: list[int], n_events: int) -> list[Output]:
        """Stretches one right behind the other, checked as the one they are together."""
        if message.offset is None or message.size is not None:
            raise BadOutput("sizes go with offset, and not with size")
        if len(sizes) != n_events:
            raise BadOutput(f"{len(sizes)} sizes for {n_events} events")
        if 0 in sizes:
            raise BadOutput(f"output {message.output!r}: a stretch of 0 bytes, for event {sizes.index(0) + 1} of {n_events}")
        whole = self._stretch(message.output, message.offset, sum(sizes))
        starts = accumulate(sizes, initial=message.offset)
        return [replace(whole, size_bytes=size, offset=start) for size, start in zip(sizes, starts, strict=False)]

    def _open_spool(self, name: str, spool: Spool | None) -> Spool:
        """Measure a spool anew; the first time, close the one before it."""
        path, size = self._locate(name)
        if path in self._names:
            raise BadOutput(f"output {name!r} was reported as a whole file before and cannot become a spool")
        if spool is None:
            self._retire_spools()
            spool = self.spools[name] = Spool(Path(path))
        elif spool.closed:
            raise BadOutput(f"output {name!r}: another spool was begun since; a worker has one at a time")
        spool.known_size = size
        return spool

    def _retire_spools(self) -> None:
        for spool in self.spools.values():
            if not spool.closed:
                spool.closed = True
                self.retired.append(spool)

    def _locate(self, name: str) -> tuple[str, int]:
        """Path without symbolic links, and size, of a regular file in the scratch directory."""
        path = os.path.join(self._root, name)  # noqa: PTH118
        if os.path.dirname(path) != self._root or path.endswith("/.."):  # noqa: PTH120
            path = os.path.realpath(path)
        facts = os.lstat(path)
        if stat.S_ISLNK(facts.st_mode):
            path = os.path.realpath(path)
            facts = os.stat(path)  # noqa: PTH116
        if not path.startswith(self._root + "/"):
            raise BadOutput(f"output {name!r} lies outside the worker's scratch directory {self._root}")
        if not stat.S_ISREG(facts.st_mode):
            raise BadOutput(f"output {name!r} is not a regular file")
        if not os.access(path, os.R_OK):
            raise BadOutput(f"output {name!r} cannot be read: permission denied")
        return path, facts.st_size

    def _remember(self, path: str) -> None:
        self._names.add(path)
        self._order.append(path)
        if len(self._order) > REMEMBERED_NAMES:
            self._names.discard(self._order.popleft())


def _reason(problem: OSError | ValueError) -> str:
    return (problem.strerror if isinstance(problem, OSError) else str(problem)) or type(problem).__name__
