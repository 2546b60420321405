"""Event ranges that somebody else handed out, packed: some ten or twenty bytes each, in memory and in the ledger alike.

What is handed out at a time is a *chunk*. It is stored in columns; a column whose values lie close together, as PanDA's do, costs
a byte or two per range, one whose values are all equal costs nothing. An id of PanDA's form is five numbers, so five columns; a
chunk that holds an id of any other form keeps its ids as text. Either way an id comes out as it went in.

Within a chunk ranges are put in order of file and event, so that the ranges of one file are neighbours: a *stretch*.
"""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from raythena.domain.errors import InvalidInput
from raythena.domain.event_range import EventRange
from raythena.domain.job import InputFile

Numbers = npt.NDArray[np.int64]

_PANDA_ID = re.compile("-".join([r"(0|[1-9]\d{0,17})"] * 5), re.ASCII)
"""Numbers as `str` writes them and 64 bits hold them: anything else would not come out as it went in."""
_PLACES = ("file", "first", "more")
"""Index of the input file, first event, events behind the first one."""
_ID_PARTS = ("task", "panda", "file_id", "process", "attempt")
_LENGTH = struct.Struct("<I")
_WIDTHS = (np.dtype("<u1"), np.dtype("<u2"), np.dtype("<u4"), np.dtype("<i8"))
_ODD = 0x9E3779B97F4A7C15
"""An odd number without pattern: 2**64 over the golden ratio."""


@dataclass(frozen=True, slots=True, eq=False)
class _Column:
    """Numbers as differences to the smallest of them, as narrow as they go; no differences at all when all are equal."""

    base: int
    rest: npt.NDArray[np.integer]

    @classmethod
    def of(cls, values: Numbers) -> _Column:
        base = int(values.min()) if len(values) else 0
        spread = int(values.max()) - base if len(values) else 0
        if spread == 0:
            return cls(base, np.empty(0, dtype=_WIDTHS[0]))
        width = next(width for width in _WIDTHS if spread <= np.iinfo(width).max)
        return cls(base, (values - base).astype(width))

    def at(self, position: int) -> int:
        return self.base + int(self.rest[position]) if len(self.rest) else self.base

    def some(self, positions: Numbers) -> list[int]:
        if not len(self.rest):
            return [self.base] * len(positions)
        values: list[int] = (self.rest[positions].astype(np.int64) + self.base).tolist()
        return values

    def values(self, count: int) -> Numbers:
        return self.rest.astype(np.int64) + self.base if len(self.rest) else np.full(count, self.base, dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class _Texts:
    """Ids of any form: text `k` is `content[bounds[k]:bounds[k + 1]]`, UTF-8."""

    bounds: npt.NDArray[np.uint32]
    content: bytes

    @classmethod
    def of(cls, texts: Iterable[str]) -> _Texts:
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
        lengths = np.fromiter((len(text) for text in encoded), dtype=np.uint32, count=len(encoded))
        return cls(np.concatenate((np.zeros(1, dtype=np.uint32), np.cumsum(lengths, dtype=np.uint32))), b"".join(encoded))

    def at(self, position: int) -> str:
        start, stop = self.bounds[position : position + 2].tolist()
        return self.content[start:stop].decode("utf-8", "surrogatepass")


@dataclass(frozen=True, slots=True, eq=False)
class GivenRanges:
    """A chunk. Positions run from 0 to `len() - 1`; `pack` makes one, `from_bytes` brings one back."""

    count: int
    columns: Mapping[str, _Column]
    texts: _Texts | None = None
    """The ids, if they are not in columns."""
    labels: Mapping[int, tuple[str, str]] = field(default_factory=dict)
    """(GUID, scope) of input files for which the chunk says something else than the job, by index of the file."""
    points: _Texts | None = None
    """Points of a hyper-parameter scan, one for each range; None: there are none."""

    @classmethod
    def pack(cls, ranges: Iterable[EventRange], inputs: Sequence[InputFile]) -> GivenRanges:
        """A chunk of `ranges`; an id that is listed twice is taken once.

        Raises InvalidInput for a range of a file that is not among `inputs`, or not at the path it has there.
        """
        known = {file.lfn: (index, file) for index, file in enumerate(inputs)}
        unique = {each.range_id: each for each in ranges}
        rows = [(_file_of(each, known), each.first_event, each.last_event - each.first_event) for each in unique.values()]
        places = np.asarray(rows, dtype=np.int64).reshape(len(rows), len(_PLACES)).T
        order = np.lexsort(places[1::-1])
        columns = {name: _Column.of(values[order]) for name, values in zip(_PLACES, places, strict=True)}
        labels = {
            known[each.lfn][0]: (each.guid, each.scope)
            for each in unique.values()
            if (each.guid or each.scope) and (each.guid, each.scope) != (known[each.lfn][1].guid, known[each.lfn][1].scope)
        }
        ordered = list(map(list(unique.values()).__getitem__, order.tolist()))
        id_columns, texts = _id_columns([each.range_id for each in ordered])
        points = _Texts.of(each.point for each in ordered) if any(each.point for each in ordered) else None
        return cls(len(ordered), {**columns, **id_columns}, texts, labels, points)

    def __len__(self) -> int:
        return self.count

    def files(self) -> Numbers:
        """Index of the input file of each range, ascending."""
        return self.columns["file"].values(self.count)

    def stretches(self) -> list[tuple[int, int]]:
        """(input file, number of ranges) of every stretch, in order."""
        files, counts = np.unique(self.files(), return_counts=True)
        return list(zip(files.tolist(), counts.tolist(), strict=True))

    def range_id(self, position: int) -> str:
        """The id, as it was given."""
        if self.texts is not None:
            return self.texts.at(position)
        return "-".join(str(self.columns[part].at(position)) for part in _ID_PARTS)

    def events(self, position: int) -> tuple[int, int]:
        """(first event, last event), counted from 1 in the file."""
        first = self.columns["first"].at(position)
        return first, first + self.columns["more"].at(position)

    def event_ranges(self, positions: Numbers, inputs: Sequence[InputFile]) -> list[EventRange]:
        """Ranges as a payload needs them; `inputs` are those the chunk was packed with."""
        columns = {name: column.some(positions) for name, column in self.columns.items()}
        if self.texts is None:
            ids = [f"{a}-{b}-{c}-{d}-{e}" for a, b, c, d, e in zip(*(columns[part] for part in _ID_PARTS), strict=True)]
        else:
            ids = [self.texts.at(position) for position in positions.tolist()]
        ranges = []
        points = self._points_at(positions)
        for range_id, index, first, more, point in zip(ids, *(columns[name] for name in _PLACES), points, strict=True):
            file = inputs[index]
            guid, scope = self.labels.get(index, (file.guid, file.scope))
            ranges.append(EventRange(range_id, file.lfn, file.pfn, guid, first, first + more, scope, point=point))
        return ranges

    def take(self, positions: Numbers) -> GivenRanges:
        """A chunk of some of the ranges, in ascending order of position."""
        columns = {name: _Column.of(np.asarray(column.some(positions))) for name, column in self.columns.items()}
        texts = None if self.texts is None else _Texts.of(self.texts.at(position) for position in positions.tolist())
        points = None if self.points is None else _Texts.of(self._points_at(positions))
        return GivenRanges(len(positions), columns, texts, self.labels, points)

    def _points_at(self, positions: Numbers) -> list[str]:
        points = self.points
        return [""] * len(positions) if points is None else [points.at(position) for position in positions.tolist()]

    def id_hashes(self) -> npt.NDArray[np.uint32]:
        """A number for each id that is the same for the same id, whatever the others in its chunk look like."""
        if self.texts is None:
            return _mixed([self.columns[part].values(self.count) for part in _ID_PARTS])
        ids = [self.texts.at(position) for position in range(self.count)]
        hashes = np.fromiter((zlib.crc32(each.encode("utf-8", "surrogatepass")) for each in ids), dtype=np.uint32, count=len(ids))
        matches = [(position, match) for position, each in enumerate(ids) if (match := _PANDA_ID.fullmatch(each))]
        if matches:
            parts = np.asarray([[int(part) for part in match.groups()] for _, match in matches], dtype=np.int64)
            hashes[[position for position, _ in matches]] = _mixed(list(parts.T))
        return hashes

    def to_bytes(self) -> bytes:
        """The chunk for the ledger: a JSON header with its length before it, then the columns, all of it compressed (zlib)."""
        texts = self.texts
        header = {
            "count": self.count,
            "columns": [[name, each.base, each.rest.dtype.str, len(each.rest)] for name, each in self.columns.items()],
            "texts": None if texts is None else len(texts.content),
            "labels": [[file, *label] for file, label in self.labels.items()],
            "points": None if self.points is None else len(self.points.content),
        }
        head = json.dumps(header, separators=(",", ":")).encode()
        blobs = [each.rest.tobytes() for each in self.columns.values()]
        for each in (texts, self.points):
            if each is not None:
                blobs += [each.bounds.astype("<u4").tobytes(), each.content]
        return zlib.compress(b"".join((_LENGTH.pack(len(head)), head, *blobs)), 1)

    @classmethod
    def from_bytes(cls, content: bytes) -> GivenRanges:
        """What `to_bytes` wrote. Trusts its input: it is our own, and its checksum was right."""
        plain = zlib.decompress(content)
        (length,) = _LENGTH.unpack_from(plain)
        position = _LENGTH.size + length
        header = json.loads(plain[_LENGTH.size : position])
        columns = {}
        for name, base, width, count in header["columns"]:
            columns[name] = _Column(base, np.frombuffer(plain, dtype=width, count=count, offset=position))
            position += columns[name].rest.nbytes
        found: dict[str, _Texts | None] = {"texts": None, "points": None}
        for name in found:
            if (length := header.get(name)) is not None:
                bounds = np.frombuffer(plain, dtype="<u4", count=header["count"] + 1, offset=position)
                position += bounds.nbytes
                found[name] = _Texts(bounds, plain[position : position + length])
                position += length
        labels = {file: (guid, scope) for file, guid, scope in header["labels"]}
        return cls(header["count"], columns, found["texts"], labels, found["points"])


def _file_of(each: EventRange, known: Mapping[str, tuple[int, InputFile]]) -> int:
    if each.lfn not in known:
        raise InvalidInput("event ranges", each.range_id, f"its file {each.lfn} is no input of the job")
    index, file = known[each.lfn]
    if each.pfn != file.pfn:
        # Athena compares this path byte for byte with the one it was started with
        raise InvalidInput("event ranges", each.range_id, f"its file is at {each.pfn}", expected=file.pfn)
    return index


def _id_columns(ids: list[str]) -> tuple[dict[str, _Column], _Texts | None]:
    matches = [_PANDA_ID.fullmatch(each) for each in ids]
    if not all(matches):
        return {}, _Texts.of(ids)
    numbers = np.asarray([match.groups() for match in matches if match], dtype=np.int64).reshape(len(ids), len(_ID_PARTS))
    return {name: _Column.of(values) for name, values in zip(_ID_PARTS, numbers.T, strict=True)}, None


def _mixed(columns: Sequence[Numbers]) -> npt.NDArray[np.uint32]:
    """The bits of several columns, stirred (multiply and fold, as in splitmix64), into 32."""
    mixed = np.zeros(len(columns[0]), dtype=np.uint64)
    for column in columns:
        mixed = (mixed ^ column.astype(np.uint64)) * np.uint64(_ODD)
        mixed ^= mixed >> np.uint64(29)
    return (mixed >> np.uint64(32)).astype(np.uint32)
