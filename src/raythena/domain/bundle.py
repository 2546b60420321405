"""How the outputs of an event's streams are one: a *bundle*, which is stored, checked and lost as a whole.

A bundle begins with a line of JSON that names every stream with its size in bytes, `{"streams":[["HITS",1200],["LOG",80]]}`. The
contents follow, one right behind the other. So an event has all its streams, or it is not done; `docs/event-server-protocol.md`
is the text for people who write payloads.

Rules: every stream of the job is there, once, in any order, with at least one byte, and nothing follows the last.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass

MAX_HEADER_BYTES = 8192
"""The line with its newline."""


class BadBundle(ValueError):
    """No bundle of the streams that were expected. The text says why."""


@dataclass(frozen=True, slots=True)
class Section:
    """Where the output of one stream lies in a bundle."""

    offset: int
    size_bytes: int


def bundled(contents: Mapping[str, bytes]) -> bytes:
    """The bundle of these streams."""
    header = json.dumps({"streams": [[name, len(content)] for name, content in contents.items()]}, separators=(",", ":"))
    return b"".join((header.encode(), b"\n", *contents.values()))


def sections(head: bytes, size_bytes: int, streams: Collection[str]) -> dict[str, Section]:
    """Where each stream lies in a bundle of `size_bytes` that begins with `head`. Raises BadBundle."""
    line, newline, _ = head[:MAX_HEADER_BYTES].partition(b"\n")
    if not newline:
        raise BadBundle("is no bundle of streams: its first line does not end")
    found: dict[str, Section] = {}
    offset = len(line) + 1
    for name, size in _listed(line):
        if name in found:
            raise BadBundle(f"has the stream {name} twice")
        if size == 0:
            raise BadBundle(f"has nothing in its stream {name}")
        found[name] = Section(offset, size)
        offset += size
    _check_names(found, streams)
    if offset != size_bytes:
        raise BadBundle(f"has {size_bytes:,} bytes, where its streams take {offset:,}")
    return found


def _listed(line: bytes) -> list[tuple[str, int]]:
    try:
        listed = json.loads(line)["streams"]
        pairs = [(name, size) for name, size in listed]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise BadBundle(f"is no bundle of streams: it begins with {line[:60]!r}") from None
    for name, size in pairs:
        if not isinstance(name, str) or type(size) is not int or size < 0:
            raise BadBundle(f"is no bundle of streams: it lists {name!r} with {size!r} bytes")
    return pairs


def _check_names(found: Collection[str], streams: Collection[str]) -> None:
    for verb, names in (("lacks", sorted(set(streams) - set(found))), ("has, unexpected,", sorted(set(found) - set(streams)))):
        if names:
            raise BadBundle(f"{verb} the stream{'s' * (len(names) > 1)} {', '.join(names)}")
