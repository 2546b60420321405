"""The list of what stands at the top of a small ROOT file, read straight from its bytes.

A general library spends half a millisecond on opening a file. Where each file holds one event and is like the one before, all
there is to find out is where its only tree is, and that takes some microseconds.

Rule: whatever is not just as ROOT's documented format says (TFile header, TDirectory, TKey) is `Unsuitable`: ask the library.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_HEADER = struct.Struct(">4s7i")
_FIRST_LARGE_VERSION = 1_000_000
"""Files above 2 GB have a header of wider numbers."""
_DIRECTORY = struct.Struct(">hIIii")
_KEY = struct.Struct(">ihiIhh")
_LARGE_VERSION = 1000
"""Directories and keys of a version above this have positions of eight bytes."""
_SEEK_SMALL, _SEEK_LARGE = struct.Struct(">ii"), struct.Struct(">qq")
_THREE_SEEKS_SMALL, _THREE_SEEKS_LARGE = struct.Struct(">iii"), struct.Struct(">qqq")
_LONGEST_SHORT_TEXT = 254


class Unsuitable(Exception):
    """This file is not of the kind that is read the quick way."""


@dataclass(frozen=True, slots=True)
class Key:
    """One object of the file: its class, its name, and where its bytes are, without the header of the key."""

    class_name: str
    name: str
    cycle: int
    start: int
    stop: int
    object_bytes: int
    """Of the object once it is unpacked."""

    @property
    def is_plain(self) -> bool:
        """It is not compressed."""
        return self.stop - self.start == self.object_bytes


def keys_of(content: bytes) -> list[Key]:
    """The keys at the top of a file. Raises Unsuitable, struct.error."""
    magic, version, begin, end, _, _, _, name_bytes = _HEADER.unpack_from(content)
    if magic != b"root" or not 0 < version < _FIRST_LARGE_VERSION or end != len(content):
        raise Unsuitable
    at = begin + name_bytes
    if begin < _HEADER.size or name_bytes < 0:
        raise Unsuitable
    version, *_ = _DIRECTORY.unpack_from(content, at)
    seeks = _THREE_SEEKS_LARGE if version > _LARGE_VERSION else _THREE_SEEKS_SMALL
    own_seek, _, keys_at = seeks.unpack_from(content, at + _DIRECTORY.size)
    if own_seek != begin or not begin < keys_at < end:
        raise Unsuitable
    list_key, _ = _key(content, keys_at)
    (count,) = struct.unpack_from(">i", content, list_key.start)
    keys, at = [], list_key.start + 4
    for _ in range(count):
        key, at = _key(content, at)
        keys.append(key)
    if count < 0 or at > list_key.stop:
        raise Unsuitable
    return keys


def _key(content: bytes, at: int) -> tuple[Key, int]:
    """The key whose header is at a place, and where the header ends."""
    size, version, object_bytes, _, header_bytes, cycle = _KEY.unpack_from(content, at)
    seek = _SEEK_LARGE if version > _LARGE_VERSION else _SEEK_SMALL
    start, _ = seek.unpack_from(content, at + _KEY.size)
    end = at + _KEY.size + seek.size
    class_name, end = _text(content, end)
    name, end = _text(content, end)
    _, end = _text(content, end)
    if header_bytes != end - at or not 0 < start <= start + header_bytes <= start + size <= len(content):
        raise Unsuitable
    return Key(class_name, name, cycle, start + header_bytes, start + size, object_bytes), end


def _text(content: bytes, at: int) -> tuple[str, int]:
    """A string, and where it ends."""
    if at >= len(content) or content[at] > _LONGEST_SHORT_TEXT:
        raise Unsuitable
    end = at + 1 + content[at]
    try:
        return content[at + 1 : end].decode("ascii"), end
    except UnicodeDecodeError as error:
        raise Unsuitable from error
