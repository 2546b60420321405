"""Finished files of a pilot that is gone, and the check every output goes through.

A pilot reports results every few seconds; when it dies, or ends its job early, some are finished and not reported. Three
witnesses are asked, the best first: `curl_updateEventRanges.config` in the launch directory, which holds the last report as it
was to be sent, with sizes and checksums; the pilot's log, which has each message of AthenaMP; and the workers' directories,
where a ROOT file is believed when its own header says that it was closed. Files of other formats need one of the first two. Of
several files for one range none is believed.

Rules: only files inside the launch directory, and only ranges that are out; nothing here decides what becomes of a range.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import struct
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl

from raythena.payloads.pilot.pilotlog import NAME, PilotLog
from raythena.payloads.pilot.range_queue import TOKEN
from raythena.payloads.pilot.wire import BadRequest, read_fields, read_json

_CONFIG = "curl_updateEventRanges*.config"
_DATA = re.compile(r'^[ \t]*+(?:data|data-binary|data-raw)[ \t]*+=?[ \t]*+"(.*)"[ \t\r]*$', re.MULTILINE)
"""Blanks are not given back once taken, and no line reaches into the next: nothing is tried twice."""
_BLOCK = 1 << 20
_LARGE_FILE = 1_000_000
"""Versions of ROOT files from here on have positions of 8 bytes."""


class BadFile(Exception):
    """An output that is not what it was said to be; the text says why."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Somebody says that a range has this output. Size and checksum are None when nothing was said of them."""

    token: str
    path: str
    size_bytes: int | None = None
    adler32: int | None = None


def take_output(claim: Claim, inside: Path, target: Path, *, keep: bool = False) -> int:
    """Check a claimed output and move it to `target`; its size in bytes. `keep` leaves it where it is, too. Raises BadFile."""
    try:
        path = os.path.realpath(claim.path, strict=True)
        facts = os.stat(path)  # noqa: PTH116
        if not claim.path or not path.startswith(os.path.realpath(inside) + os.sep):
            raise BadFile(f"the output {claim.path!r} lies outside the pilot's directory")
        if not stat.S_ISREG(facts.st_mode):
            raise BadFile(f"the output {claim.path!r} is no file")
        if facts.st_size == 0:
            raise BadFile(f"the output {claim.path!r} is empty")
        if claim.size_bytes is not None and claim.size_bytes != facts.st_size:
            raise BadFile(f"the output {claim.path!r} has {facts.st_size} bytes, {claim.size_bytes} were reported")
        if claim.adler32 is not None and (found := adler32_of(path)) != claim.adler32:
            raise BadFile(f"the output {claim.path!r} has the checksum {found:08x}, {claim.adler32:08x} was reported")
        if _is_root_file(path) and not is_whole_root_file(Path(path)):
            raise BadFile(f"the output {claim.path!r} is a ROOT file that was not closed, or is torn")
        if keep:
            os.link(path, target)
        else:
            shutil.move(path, target)
    except (OSError, ValueError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) and problem.strerror else str(problem)
        raise BadFile(f"the output {claim.path!r} cannot be used: {reason}") from None
    return facts.st_size


def _is_root_file(path: str) -> bool:
    with Path(path).open("rb") as stream:
        return stream.read(4) == b"root"


def adler32_of(path: str | Path) -> int:
    """Checksum of a file's contents. Raises OSError."""
    value = 1
    with Path(path).open("rb") as stream:
        while block := stream.read(_BLOCK):
            value = zlib.adler32(block, value)
    return value


def claims(directory: Path, tokens: Collection[str]) -> list[Claim]:
    """What can be salvaged of `tokens` in a launch directory, one claim for each at most."""
    found: dict[str, Claim] = {}
    for witness in (_last_reports(directory), _logged(directory), _whole_files(directory)):
        for claim in witness:
            if claim.token in tokens and claim.token not in found and Path(claim.path).is_file():
                found[claim.token] = claim
    return list(found.values())


def _last_reports(directory: Path) -> Iterator[Claim]:
    for path in sorted(directory.glob(_CONFIG)):
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
            yield from _reported(text)
        except (OSError, BadRequest):
            continue  # a torn file: the next witness may know


def _reported(text: str) -> Iterator[Claim]:
    """The ranges in a body: in curl's notation, one field a line, or as it goes over the wire."""
    fields = dict(parse_qsl("&".join(_DATA.findall(text)))) or read_fields(text.encode())
    told = fields.get("eventRanges")
    entries = read_json(told) if isinstance(told, str) else told
    for entry in entries if isinstance(entries, list) else []:
        for one in entry.get("eventRanges", []) if isinstance(entry, dict) else []:
            if isinstance(one, dict) and one.get("eventStatus") == "finished":
                size, adler = one.get("fsize"), str(one.get("adler32", ""))
                yield Claim(
                    str(one.get("eventRangeID")),
                    str(one.get("pfn")),
                    size if isinstance(size, int) else None,
                    int(adler, 16) if re.fullmatch(r"[0-9a-fA-F]{1,8}", adler) else None,
                )


def _logged(directory: Path) -> Iterator[Claim]:
    log = PilotLog(directory / NAME)
    log.read()
    for facts in log.facts.values():
        if facts.finished:
            yield Claim(facts.token, facts.path)


def _whole_files(directory: Path) -> Iterator[Claim]:
    for token, paths in outputs_by_token(directory).items():
        if len(paths) == 1 and is_whole_root_file(paths[0]):
            yield Claim(token, str(paths[0]))


def outputs_by_token(directory: Path) -> dict[str, list[Path]]:
    """What lies in the workers' directories, by the token in the name: its last part, or any part of it."""
    found: dict[str, list[Path]] = {}
    for path in sorted(directory.glob("PanDA_Pilot*/athenaMP-workers-*/worker_*/*")):
        token = TOKEN.search(path.name)
        found.setdefault(token[0] if token else path.name.rpartition(".")[2], []).append(path)
    return found


def is_whole_root_file(path: Path) -> bool:
    """Whether a file is a ROOT file whose header says that it was closed, and ends where it says.

    The header (TFile): "root", version, begin, end, position of the free segments, their bytes, their number, bytes of the
    name, one byte for the size of positions, compression, position of the streamer information. ROOT writes the last positions
    on closing.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(64)
            size = os.fstat(stream.fileno()).st_size
    except OSError:
        return False
    if len(head) < 64 or not head.startswith(b"root"):
        return False
    (version,) = struct.unpack(">i", head[4:8])
    form = ">iqqiiibiq" if version >= _LARGE_FILE else ">iiiiiibii"
    _, end, free, _, _, _, _, _, info = struct.unpack_from(form, head, 8)
    return bool(end == size and 0 < free < end and 0 < info < end)
