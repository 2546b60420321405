"""The parts of a merged ROOT file, each made of the objects of one path in all inputs.

A `Part` is shown one open input after the other and writes what they give together. Rules: memory is bounded by `CHUNK_BYTES` of
columns, whatever the number of inputs; what a part cannot keep as it is, it refuses by name (`Unsupported`), never changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from raythena.domain.errors import RaythenaError
from raythena.storage.root.contents import RootFileError, in_one_line

CHUNK_BYTES = 32 << 20
"""Columns are written once this much has been collected: about the size of a cluster in ROOT's own files."""


class Unsupported(RootFileError):
    """The file is sound, but something in it cannot be merged without changing what it is."""


class Part(Protocol):
    """What becomes of one object."""

    def add(self, file: Any) -> None:
        """Take what an open input has of it. Raises RootFileError naming what is wrong with the input."""

    def finish(self) -> None:
        """Write what was not written yet. Raises RootFileError, OSError."""


@contextmanager
def writing(what: str) -> Iterator[None]:
    """Whatever the library makes of an attempt to write is told as Unsupported; what the disk says passes as it is."""
    try:
        yield
    except (OSError, RootFileError, RaythenaError):
        raise
    except Exception as error:  # uproot refuses with errors of any class what it cannot write
        raise Unsupported(f"{what} cannot be written: {in_one_line(error)}") from error
