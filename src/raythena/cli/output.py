"""Standard output and error as a command has them: closed, full, or left by their reader.

A command that only tells something fails when it cannot tell it: with the exit code of storage and a sentence on standard error,
or quietly when its reader has seen enough (`| head`). A command that runs a job must not: what became of the job is in the ledger
and the report, and the exit code says it, whether or not somebody can be told (`be_patient`).

Rules: a stream that was closed before we were started is one that nobody reads; its descriptor is taken at once, or the next file
that is opened would get its number, and with it whatever is printed. Standard error never fails.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterator
from typing import TextIO, cast

from raythena.domain.errors import StorageError


class OutputRefused(StorageError):
    """Standard output cannot be written."""


class GuardedStream(io.TextIOBase):
    """Standard output, or error, whose failures are known by name."""

    def __init__(self, stream: TextIO | None, *, patient: bool = False) -> None:
        super().__init__()
        self._stream = stream
        self.patient = patient
        """Failures end the output and nothing else."""
        self.failure: OSError | None = None
        """Why nothing is written any more."""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Of the stream behind."""
        return (self._stream and self._stream.encoding) or "utf-8"

    def isatty(self) -> bool:
        """Whether the stream behind is a terminal."""
        return self._stream is not None and self._stream.isatty()

    def fileno(self) -> int:
        """Of the stream behind. Raises OSError when there is none."""
        if self._stream is None:
            raise io.UnsupportedOperation("fileno")
        return self._stream.fileno()

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, text: str) -> int:
        """Write what the encoding can hold. Raises OutputRefused, BrokenPipeError."""
        known = text.encode(self.encoding, "replace").decode(self.encoding)
        self._attempt(lambda stream: stream.write(known))
        return len(text)

    def flush(self) -> None:
        """Raises OutputRefused, BrokenPipeError."""
        self._attempt(lambda stream: stream.flush())

    def _attempt(self, action: Callable[[TextIO], object]) -> None:
        if self._stream is None or self.failure is not None:
            return
        try:
            action(self._stream)
        except OSError as problem:
            self.failure = problem
            if self.patient:
                return
            if isinstance(problem, BrokenPipeError):
                raise
            raise OutputRefused(f"standard output cannot be written: {problem.strerror}") from problem
        except ValueError:  # somebody has closed it
            self._stream = None


def take_descriptors() -> None:
    """Have the three standard descriptors open, on nothing where they were closed."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free


@contextlib.contextmanager
def guarded() -> Iterator[GuardedStream]:
    """Standard output and error are guarded inside the block; gives standard output."""
    before = sys.stdout, sys.stderr
    output, errors = GuardedStream(sys.stdout), GuardedStream(sys.stderr, patient=True)
    sys.stdout, sys.stderr = cast(TextIO, output), cast(TextIO, errors)
    try:
        yield output
    finally:
        sys.stdout, sys.stderr = before
        for stream in (output, errors):
            _forget(stream)


def be_patient() -> None:
    """From now on nothing that this process prints can make it fail."""
    if isinstance(sys.stdout, GuardedStream):
        sys.stdout.patient = True


def _forget(stream: GuardedStream) -> None:
    """What a stream still holds and cannot write must not be tried again when the interpreter ends, which would complain."""
    if stream.failure is not None:
        with contextlib.suppress(OSError, ValueError):
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, stream.fileno())
            os.close(nothing)
