"""Casting ROOT files of one event: a model file with other numbers in it.

Writing a small file, uproot spends 6 ms on describing the tree again, an event in. A `RootTemplate` is made once from a model
that uproot has written: its description stays, the data of the event are put at the end, and the numbers that say where and how
large they are, are filled in. That takes a tenth of the time.

Rules: one entry, no compression, columns as in the model; what was in the model's own baskets stays in the file as unused bytes,
so a model should hold no rows. Layouts are those of ROOT's documented format, as in `fast_reader`.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt
import uproot

from raythena.storage.root.columns import Branch
from raythena.storage.root.fast_reader import BranchOffsets, RootLayout, learn

_FILE_END_AT = 12
_KEY_BIG = struct.Struct(">ihiIhhqq")
_LARGE_KEYS = 1000
"""Added to the version of a key whose positions take eight bytes."""
_BASKET = struct.Struct(">hiiii")
_BASKET_FROM_KEY_END = _BASKET.size + 1


@dataclass(frozen=True)
class RootTemplate:
    """What every file cast from it shares."""

    layout: RootLayout
    content: bytes = field(repr=False)
    """The model file."""
    record_at: int
    """Where the description of the tree is in the file."""
    free_at: int
    """Where the list of unused stretches says that the file ends."""
    identity_at: tuple[int, ...]
    """Where the file's UUID is."""

    def cast(self, columns: Mapping[str, npt.NDArray[Any]], identity: UUID) -> bytes:
        """The file with one event. `columns` has an array for each branch of the twin: the rows, or one value of its shape."""
        content = bytearray(self.content)
        total = 0
        for counter, count in self._counts(columns).items():
            total += self._add(content, counter, np.array([count], dtype=">i4"), jagged=False)
            struct.pack_into(">ii", content, self.record_at + self.layout.places[counter].limits_at, 0, count)
        for branch in self.layout.branches:
            values = columns[branch.name].astype(branch.dtype.base.newbyteorder(">"), copy=False)
            total += self._add(content, branch.name, values, jagged=bool(branch.counter))
        struct.pack_into(">qq", content, self.record_at + self.layout.totals_at, total, total)
        struct.pack_into(">i", content, _FILE_END_AT, len(content))
        struct.pack_into(">i", content, self.free_at, len(content))
        for at in self.identity_at:
            content[at : at + 16] = identity.bytes
        return bytes(content)

    def _counts(self, columns: Mapping[str, npt.NDArray[Any]]) -> dict[str, int]:
        counts: dict[str, int] = {}
        for branch in self.layout.branches:
            if branch.counter and counts.setdefault(branch.counter, len(columns[branch.name])) != len(columns[branch.name]):
                raise ValueError(f"column {branch.name} has {len(columns[branch.name])} rows, others {counts[branch.counter]}")
        return counts

    def _add(self, content: bytearray, branch: str, values: npt.NDArray[Any], *, jagged: bool) -> int:
        """Put the values of a branch at the end and say so in the record; returns the bytes taken."""
        place = self.layout.places[branch]
        key = self._basket_key(place)
        data = values.tobytes()
        last = len(key) + len(data)
        if jagged:
            data += struct.pack(">Iii", 2, len(key), last)
        seek, size = len(content), len(key) + len(data)
        _, version, _, date, key_size, cycle, _, parent = _KEY_BIG.unpack_from(key)
        _KEY_BIG.pack_into(key, 0, size, version, len(data), date, key_size, cycle, seek, parent)
        basket_at = len(key) - _BASKET_FROM_KEY_END
        version, buffer_size, row_size, number, _ = _BASKET.unpack_from(key, basket_at)
        _BASKET.pack_into(key, basket_at, version, buffer_size, row_size, number, last)
        content += key + data
        struct.pack_into(">qq", content, self.record_at + place.totals_at, size, size)
        struct.pack_into(">i", content, self.record_at + place.size_at, size)
        struct.pack_into(">q", content, self.record_at + place.seek_at, seek)
        return size

    def _basket_key(self, place: BranchOffsets) -> bytearray:
        (seek,) = struct.unpack_from(">q", self.content, self.record_at + place.seek_at)
        key_size = _KEY_BIG.unpack_from(self.content, seek)[4]
        return bytearray(self.content[seek : seek + key_size])


def template_of(model: Path, branches: tuple[Branch, ...]) -> RootTemplate:
    """Make a template from a file with one entry in its only tree. Raises ValueError when the file does not serve."""
    layout = learn(model, branches)
    if layout is None or layout.n_entries != 1:
        raise ValueError(f"{model} is no model: it must hold one tree with one entry and the branches")
    content = model.read_bytes()
    with uproot.open(model) as file:
        key = file.key(layout.tree)
        record_at, identity = key.fSeekKey + key.fKeylen, file.file.uuid.bytes
    (end, free, free_size) = struct.unpack_from(">iii", content, _FILE_END_AT)
    free_at = free + free_size - 8
    if content[record_at : record_at + len(layout.record)] != layout.record.tobytes():
        raise ValueError(f"{model} is no model: its tree is compressed")
    if end != len(content) or struct.unpack_from(">i", content, free_at)[0] != end:
        raise ValueError(f"{model} is no model: its end is not where it says")
    template = RootTemplate(layout, content, record_at, free_at, _everywhere(content, identity))
    for place in layout.places.values():
        (seek,) = struct.unpack_from(">q", content, record_at + place.seek_at)
        if _KEY_BIG.unpack_from(content, seek)[1] < _LARGE_KEYS:
            raise ValueError(f"{model} is no model: it has small keys")
    return template


def _everywhere(content: bytes, wanted: bytes) -> tuple[int, ...]:
    places, at = [], content.find(wanted)
    while at >= 0:
        places.append(at)
        at = content.find(wanted, at + 1)
    return tuple(places)
