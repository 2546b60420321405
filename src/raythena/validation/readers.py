"""Event numbers, read from the files themselves.

A reader is asked for the event numbers of a file, in the order in which they lie in it: it answers with an array, or with None
when the file is not of its kind. Readers of other formats are added by the entry point group `raythena.event_readers`; they are
asked before those shipped here:

    root        any ROOT file whose event tree (see `storage.root.contents`) has a branch `EventNumber`: ATLAS's
                `POOLCollectionTree`, our `HITS` and `EVNT`, TTree or RNTuple
    jsonlines   one JSON object per line with `event` or `EventNumber`

Rule: a file of its kind that a reader cannot make sense of is an error, never None.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from raythena.domain.errors import InvalidInput
from raythena.storage.root.contents import (
    NoEventTree,
    NotRoot,
    RootFileError,
    count_by_convention,
    event_branch,
    event_tree,
    opened,
)

ENTRY_POINT_GROUP = "raythena.event_readers"

Numbers = npt.NDArray[np.int64]
"""Event numbers in the order of the file."""
Reader = Callable[[Path], Numbers | None]

_BLOCK_BYTES = 4 << 20


def event_numbers(path: Path, tree: str | None = None) -> Numbers | None:
    """The event numbers in a file, in order; None when nobody can read files of this kind.

    `tree`: the event tree of a ROOT file, where somebody named it.
    Raises InvalidInput when the file is damaged, or holds event numbers that are none.
    """
    readers: tuple[Reader, ...] = (*_plugins(), partial(read_root, tree=tree), read_jsonlines)
    for reader in readers:
        try:
            numbers = reader(path)
        except InvalidInput:
            raise
        except RootFileError as error:
            raise InvalidInput(str(path), "", f"its events cannot be read: it {error}") from error
        except Exception as error:  # damaged files make libraries raise anything; it goes on as a refusal of this file
            problem = f"its events cannot be read: {type(error).__name__}: {_first_line(error)}"
            raise InvalidInput(str(path), "", problem) from error
        if numbers is not None:
            return _checked(path, np.asarray(numbers))
    return None


def read_root(path: Path, tree: str | None = None) -> Numbers | None:
    """The branch `EventNumber` of the event tree; None if it has none, or none is the event tree for certain.

    Raises RootFileError for damaged files.
    """
    try:
        with opened(path) as file:
            tree = event_tree(file, tree)
            branch = event_branch(file, tree)
            numbers: Numbers | None = None if branch is None else file[tree][branch].array(library="np")
    except (NotRoot, NoEventTree):
        return None
    return numbers


def event_count(path: Path) -> int | None:
    """How many events a file holds, where that can be known without their numbers. Raises InvalidInput for damaged files."""
    try:
        return count_by_convention(path)
    except RootFileError as error:
        raise InvalidInput(str(path), "", str(error)) from error


class _Line(msgspec.Struct):
    event: int | None = None
    EventNumber: int | None = None

    @property
    def number(self) -> int:
        value = self.event if self.EventNumber is None else self.EventNumber
        if value is None:
            raise ValueError("a line has neither `event` nor `EventNumber`")
        return value


def read_jsonlines(path: Path) -> Numbers | None:
    """`event` or `EventNumber` of each line. None unless the first line is a JSON object with one of them."""
    decoder = msgspec.json.Decoder(_Line)
    with path.open("rb") as stream:
        try:
            decoder.decode(stream.readline(_BLOCK_BYTES)).number  # noqa: B018 (asked for the error)
        except (msgspec.MsgspecError, ValueError):
            return None
    parts = [_numbers_of(decoder, block) for block in _whole_lines(path)]
    return np.concatenate(parts)


def _numbers_of(decoder: msgspec.json.Decoder[_Line], block: bytes) -> Numbers:
    lines = decoder.decode_lines(block)
    return np.fromiter((line.number for line in lines), dtype=np.int64, count=len(lines))


def _whole_lines(path: Path) -> Iterator[bytes]:
    """The file in blocks that end at the end of a line."""
    rest = b""
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            whole, newline, tail = block.rpartition(b"\n")
            if newline:
                yield rest + whole
                rest = tail
            else:
                rest += block
    if rest.strip():
        yield rest


def _plugins() -> list[Reader]:
    return [entry.load() for entry in entry_points(group=ENTRY_POINT_GROUP)]


def _checked(path: Path, numbers: npt.NDArray[Any]) -> Numbers:
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
        raise InvalidInput(
            str(path), "EventNumber", f"is {numbers.dtype} with {numbers.ndim} dimensions", expected="one integer an event"
        )
    return numbers.astype(np.int64, copy=False)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "")
