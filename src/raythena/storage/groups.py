"""Group archives: the outputs of many events in one file, so that a shared file system sees few files, not millions.

A group is a plain ZIP archive without compression, one member per range, named by `member_name`, in the order given; `unzip`
opens it. Nothing in it depends on when or where it was written: the same outputs give the same bytes.

The archive is composed here rather than by `zipfile`, which spends three times as long on a tiny member as all of this.
Format: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, sections 4.3 and 4.5.3.

Rule: one bad member costs itself, never its neighbours, on the way in as on the way out.
"""

from __future__ import annotations

import os
import shutil
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
import numpy.typing as npt

from raythena.domain.results import Entries, member_name
from raythena.storage.atomic import CHUNK_BYTES, make_directory, replacing

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR64 = struct.Struct("<4sIQI")
_EXTRA64 = struct.Struct("<2H2Q")
_LOCAL_MAGIC, _CENTRAL_MAGIC, _END_MAGIC = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_END64_MAGIC, _LOCATOR64_MAGIC = b"PK\x06\x06", b"PK\x06\x07"
_NAME_BYTES = len(member_name(0))
_IN_EXTRA_32, _IN_EXTRA_16 = 0xFFFFFFFF, 0xFFFF
"""Stand in a short field for: see the 64-bit one."""
_LIMIT_BYTES, _LIMIT_COUNT = _IN_EXTRA_32, _IN_EXTRA_16
_MOST_OPEN = 200
"""Groups of one merge that are open at a time."""
_PLAIN, _ZIP64 = 20, 45
"""Versions of the format needed to read a member."""
_MIDNIGHT, _NEW_YEAR_1980 = 0, 0x21
_MADE_BY_UNIX = 3 << 8
_READABLE_FILE = 0o100644 << 16


@dataclass(frozen=True, slots=True)
class Member:
    """The output of one range, to be put into a group: `size_bytes` at `offset` of `path`; None: all that follows `offset`."""

    index: int
    path: Path
    offset: int = 0
    size_bytes: int | None = None
    name: str = ""
    """What it is to be called; empty: `member_name(index)`, the only name `read_members` finds."""


@dataclass(frozen=True)
class WrittenGroup:
    """A group as it lies on the disk. The arrays run over the members taken, in the order given."""

    size_bytes: int
    adler32: int
    """Of the whole file."""
    indices: npt.NDArray[np.uint32]
    sizes: npt.NDArray[np.uint64]
    adlers: npt.NDArray[np.uint32]
    bad: dict[int, str] = field(default_factory=dict)
    """Range index → why its output could not be taken."""


class _NothingToWriteError(Exception):
    """Every member was bad."""


def write_group(path: Path, members: Iterable[Member]) -> WrittenGroup:
    """Write a group, whole and durable, creating its directory if need be.

    Outputs that are missing, empty or too short are left out and named in `bad`; if none is left, no file is written. Raises
    StorageError, after which nothing is left at `path`.
    """
    make_directory(path.parent)
    bad: dict[int, str] = {}
    archive = None
    try:
        with Sources() as sources, replacing(path) as stream:
            archive = _Archive(stream)
            for member in members:
                try:
                    descriptor, size_bytes = sources.locate(member)
                    archive.add(member, descriptor, size_bytes)
                except SourceError as problem:
                    bad[member.index] = str(problem)
            if not archive.indices:
                raise _NothingToWriteError
            archive.finish()
    except _NothingToWriteError:
        return WrittenGroup(0, 1, *columns_of([], [], []), bad)
    return WrittenGroup(archive.position, archive.adler32, *columns_of(archive.indices, archive.sizes, archive.adlers), bad)


def columns_of(
    indices: list[int], sizes: list[int], adlers: list[int]
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint64], npt.NDArray[np.uint32]]:
    """The three arrays of a `WrittenGroup`."""
    return np.asarray(indices, dtype=np.uint32), np.asarray(sizes, dtype=np.uint64), np.asarray(adlers, dtype=np.uint32)


class SourceError(Exception):
    """An event's output cannot be read as promised."""


class Sources:
    """Files outputs are read from; the last one stays open, because many outputs may lie in one spool."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def locate(self, member: Member) -> tuple[int, int]:
        """(open file, size of the output). Raises SourceError."""
        try:
            descriptor = self._open(member.path)
            size_bytes = member.size_bytes
            if size_bytes is None:
                size_bytes = os.fstat(descriptor).st_size - member.offset
        except OSError as error:
            raise SourceError(f"cannot read {member.path}: {error.strerror}") from error
        if size_bytes <= 0:
            raise SourceError(f"the output {member.path} is empty")
        return descriptor, size_bytes

    def _open(self, path: Path) -> int:
        if path != self._path:
            self._close()
            self._descriptor = os.open(path, os.O_RDONLY)
            self._path = path
        return self._descriptor

    def _close(self) -> None:
        if self._path is not None:
            os.close(self._descriptor)
            self._path = None


def pieces(descriptor: int, offset: int, size_bytes: int) -> Iterator[bytes]:
    """A stretch of a file, a megabyte at a time. Raises SourceError if it ends early."""
    position, end = offset, offset + size_bytes
    while position < end:
        try:
            piece = os.pread(descriptor, min(CHUNK_BYTES, end - position), position)
        except OSError as error:
            raise SourceError(f"cannot read the output: {error.strerror}") from error
        if not piece:
            raise SourceError(f"the output ends after {position - offset} of {size_bytes} bytes")
        position += len(piece)
        yield piece


class _Archive:
    """An archive being written, front to back; collects small pieces into large writes."""

    def __init__(self, stream: BinaryIO) -> None:
        self.indices: list[int] = []
        self.sizes: list[int] = []
        self.adlers: list[int] = []
        self.position = 0
        self.adler32 = 1
        self._stream = stream
        self._directory: list[bytes] = []
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0

    def add(self, member: Member, descriptor: int, size_bytes: int) -> None:
        """Append one member. Raises SourceError; the archive is then as before."""
        index, offset = member.index, member.offset
        name = (member.name or member_name(index)).encode()
        if size_bytes <= CHUNK_BYTES:
            content = b"".join(pieces(descriptor, offset, size_bytes))
            crc, adler = zlib.crc32(content), zlib.adler32(content)
            self._begin(name, crc, size_bytes)
            self._put(content)
        else:
            crc, adler = _checksums(descriptor, offset, size_bytes)
            self._begin(name, crc, size_bytes)
            self._copy(descriptor, offset, size_bytes)
        self.indices.append(index)
        self.sizes.append(size_bytes)
        self.adlers.append(adler)

    def finish(self) -> None:
        """Write the directory of the archive."""
        start, count = self.position, len(self._directory)
        directory = b"".join(self._directory)
        self._put(directory)
        short = (count, count, len(directory), start)
        if max(start, len(directory)) >= _LIMIT_BYTES or count >= _LIMIT_COUNT:
            self._put_end64(start, len(directory), count)
            short = (_IN_EXTRA_16, _IN_EXTRA_16, _IN_EXTRA_32, _IN_EXTRA_32)
        self._put(_END.pack(_END_MAGIC, 0, 0, *short, 0))
        self._flush()

    def _begin(self, name: bytes, crc: int, size_bytes: int) -> None:
        """Put the header of a member, and its line for the directory."""
        offset = self.position
        if max(size_bytes, offset) < _LIMIT_BYTES:
            version, short, short_offset, extra = _PLAIN, size_bytes, offset, b""
        else:
            version, short, short_offset = _ZIP64, _IN_EXTRA_32, _IN_EXTRA_32
            extra = _EXTRA64.pack(1, 16, size_bytes, size_bytes)
        member = (version, 0, 0, _MIDNIGHT, _NEW_YEAR_1980, crc, short, short, len(name))
        self._put(_LOCAL.pack(_LOCAL_MAGIC, *member, len(extra)) + name + extra)
        if extra:
            extra = struct.pack("<2H3Q", 1, 24, size_bytes, size_bytes, offset)
        attributes = (len(extra), 0, 0, 0, _READABLE_FILE, short_offset)
        self._directory.append(_CENTRAL.pack(_CENTRAL_MAGIC, _MADE_BY_UNIX | version, *member, *attributes) + name + extra)

    def _copy(self, descriptor: int, offset: int, size_bytes: int) -> None:
        """Put a large member, read a second time. A source that shrinks between the readings spoils the group: OSError."""
        try:
            for piece in pieces(descriptor, offset, size_bytes):
                self._put(piece)
        except SourceError as problem:
            raise OSError(f"an output changed while it was being copied: {problem}") from problem

    def _put_end64(self, start: int, size_bytes: int, count: int) -> None:
        end = self.position
        self._put(
            _END64.pack(_END64_MAGIC, _END64.size - 12, _MADE_BY_UNIX | _ZIP64, _ZIP64, 0, 0, count, count, size_bytes, start)
        )
        self._put(_LOCATOR64.pack(_LOCATOR64_MAGIC, 0, end, 1))

    def _put(self, content: bytes) -> None:
        self._waiting.append(content)
        self._waiting_bytes += len(content)
        self.position += len(content)
        if self._waiting_bytes >= CHUNK_BYTES:
            self._flush()

    def _flush(self) -> None:
        block = b"".join(self._waiting)
        self.adler32 = zlib.adler32(block, self.adler32)
        self._stream.write(block)
        self._waiting, self._waiting_bytes = [], 0


def _checksums(descriptor: int, offset: int, size_bytes: int) -> tuple[int, int]:
    crc, adler = 0, 1
    for piece in pieces(descriptor, offset, size_bytes):
        crc, adler = zlib.crc32(piece, crc), zlib.adler32(piece, adler)
    return crc, adler


def remove_group(path: Path) -> None:
    """Remove a group's file, or its directory; it may be gone already. Raises OSError."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


class OutputLost(Exception):
    """A stored output is not what its entry promises: gone, altered or unreadable. The text says how."""


class OpenGroups:
    """Groups outputs are read from. Some stay open: the outputs of a merge alternate between the groups of its nodes."""

    def __init__(self) -> None:
        self._open: dict[Path, int] = {}
        """The one used last is the last."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        while self._open:
            os.close(self._open.popitem()[1])

    def descriptor(self, path: Path) -> int:
        """The open file. Raises OSError."""
        descriptor = self._open.pop(path, -1)
        if descriptor < 0:
            while len(self._open) >= _MOST_OPEN:
                os.close(self._open.pop(next(iter(self._open))))
            descriptor = os.open(path, os.O_RDONLY)
        self._open[path] = descriptor
        return descriptor


@dataclass(frozen=True, slots=True)
class StoredOutput:
    """The output of one range where it lies in a group. It is read, not mapped: a disk's refusal must not end the process."""

    index: int
    path: Path
    offset: int
    size_bytes: int
    adler32: int
    groups: OpenGroups = field(repr=False, compare=False)

    def __str__(self) -> str:
        return f"range {self.index} in {self.path}"

    def read(self) -> bytes:
        """All of it, checked against its entry. Raises OutputLost."""
        try:
            descriptor = self.groups.descriptor(self.path)
            content = os.pread(descriptor, self.size_bytes, self.offset)
            if len(content) != self.size_bytes:  # the kernel gives 2 GB at a time at most
                content = b"".join(pieces(descriptor, self.offset, self.size_bytes))
        except OSError as error:
            raise OutputLost(f"{self.path}: cannot read the output: {error.strerror}") from error
        except SourceError as problem:
            raise OutputLost(f"{self.path}: {problem}") from problem
        if zlib.adler32(content) != self.adler32:
            raise OutputLost(f"{self.path}: the output was altered: its checksum is wrong")
        return content


def stored_outputs(path: Path, entries: Entries, bad: dict[int, str], groups: OpenGroups) -> list[StoredOutput]:
    """Where the outputs lie that `entries` promise to be in the group, in that order; nothing of them is read yet.

    Those that are missing or of another size are put into `bad` (range index → why) and left out; all, if there is no such group.
    """
    wanted = list(zip(entries["range"].tolist(), entries["size"].tolist(), entries["adler32"].tolist(), strict=True))
    try:
        places = _places(groups.descriptor(path))
    except OSError as error:
        bad.update((index, f"cannot read {path}: {error.strerror}") for index, _, _ in wanted)
        return []
    found = []
    for index, size_bytes, adler32 in wanted:
        offset, found_bytes = places.get(index, (0, -1))
        if found_bytes == size_bytes:
            found.append(StoredOutput(index, path, offset, size_bytes, adler32, groups))
        elif found_bytes < 0:
            bad[index] = f"{path}: it holds no such output"
        else:
            bad[index] = f"{path}: the output has {found_bytes} bytes instead of {size_bytes}"
    return found


def read_members(path: Path, entries: Entries, bad: dict[int, str]) -> Iterator[tuple[int, bytes]]:
    """The outputs that `entries` promise to be in the group, as (range index, content), in that order.

    Each is checked against the size and Adler-32 of its entry; those that are missing, altered or unreadable are put into `bad`
    (range index → why) and skipped. Raises nothing for a bad group: then all of its ranges are in `bad`.
    """
    with OpenGroups() as groups:
        for output in stored_outputs(path, entries, bad, groups):
            try:
                content = output.read()
            except OutputLost as problem:
                bad[output.index] = str(problem)
            else:
                yield output.index, content


def _places(descriptor: int) -> dict[int, tuple[int, int]]:
    """Range index → (offset of the content, size). From the directory; where that is damaged, from the members' own headers."""
    try:
        return _places_by_directory(descriptor)
    except (struct.error, ValueError, OSError):
        return _places_by_headers(descriptor)


def _places_by_directory(descriptor: int) -> dict[int, tuple[int, int]]:
    size_bytes = os.fstat(descriptor).st_size
    tail_bytes = min(size_bytes, _END.size + _LOCATOR64.size)
    tail = os.pread(descriptor, tail_bytes, size_bytes - tail_bytes)
    magic, _, _, _, count, length, start, _ = _END.unpack(tail[-_END.size :])
    if magic != _END_MAGIC:
        raise ValueError("no end of archive")
    if tail.startswith(_LOCATOR64_MAGIC):
        _, _, end64, _ = _LOCATOR64.unpack(tail[: _LOCATOR64.size])
        *_, count, length, start = _END64.unpack(os.pread(descriptor, _END64.size, end64))
    if start + length > size_bytes:
        raise ValueError("the directory lies outside of the archive")
    directory = os.pread(descriptor, length, start)
    places = {}
    position = 0
    for _ in range(count):
        index, place, position = _directory_line(directory, position)
        places[index] = place
    return places


def _directory_line(directory: bytes, position: int) -> tuple[int, tuple[int, int], int]:
    """(range index, (offset of the content, size), position of the next line). Raises ValueError, struct.error."""
    fields = _CENTRAL.unpack_from(directory, position)
    magic, size_bytes, name_bytes, extra_bytes, offset = fields[0], fields[9], fields[10], fields[11], fields[16]
    if magic != _CENTRAL_MAGIC or name_bytes != _NAME_BYTES:
        raise ValueError("no line of a directory")
    name_at = position + _CENTRAL.size
    extra_at = name_at + name_bytes
    index = int(directory[name_at:extra_at])
    header_bytes = _LOCAL.size + _NAME_BYTES
    if extra_bytes:
        _, _, _, size_bytes, offset = struct.unpack_from("<2H3Q", directory, extra_at)
        header_bytes += _EXTRA64.size
    return index, (offset + header_bytes, size_bytes), extra_at + extra_bytes


def _places_by_headers(descriptor: int) -> dict[int, tuple[int, int]]:
    """Walk from member to member, as far as they can be recognised."""
    places: dict[int, tuple[int, int]] = {}
    position = 0
    while True:
        try:
            header = os.pread(descriptor, _LOCAL.size + _NAME_BYTES + _EXTRA64.size, position)
            fields = _LOCAL.unpack_from(header)
            (name,) = struct.unpack_from(f"{_NAME_BYTES}s", header, _LOCAL.size)
            index = int(name)
        except (struct.error, ValueError, OSError):
            return places
        if fields[0] != _LOCAL_MAGIC:
            return places
        content_at = position + _LOCAL.size + _NAME_BYTES + fields[10]
        size_bytes = fields[8]
        if fields[10]:
            *_, size_bytes = _EXTRA64.unpack_from(header, _LOCAL.size + _NAME_BYTES)
        places[index] = (content_at, size_bytes)
        position = content_at + size_bytes
