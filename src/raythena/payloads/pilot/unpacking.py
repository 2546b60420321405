"""The archive of a release becomes a directory: files and directories, below one place, and nothing else.

`TarFile.extractall` is not used: its filters exist from Python 3.11.4 on only, and what they let pass differs between releases.
A release of the pilot consists of plain files, so the rules here are narrower, and the same everywhere: links, devices, sparse
files, absolute names and names with `..` are refused; no owner and no special mode bits are taken over. A process that dies
half-way leaves a directory under a temporary name, which the next one removes.
"""

from __future__ import annotations

import lzma
import os
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from raythena.domain.errors import PayloadError

LIMIT_BYTES = 1 << 30
"""Most that an archive may become; a release has a few MB."""
_BLOCK_BYTES = 512
"""What a header takes, and the least a member counts: a flood of empty files has an end too."""
_READ_BYTES = 1 << 20
_DAMAGED = (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError, ValueError, OverflowError, RecursionError)
"""What the standard library raises for archives that are torn or made up."""


def unpack(archive: Path, place: Path, limit_bytes: int = LIMIT_BYTES) -> Path:
    """Make `place` the content of a tar archive, compressed or not, and return it; what was there before is replaced.

    Raises PayloadError when the archive is damaged, holds something that is refused, or would become larger than `limit_bytes`;
    `place` is then absent.
    """
    part = place.with_name(f".{place.name}.part")
    try:
        _remove(part)
        _remove(place)
        part.mkdir(parents=True)
        with tarfile.open(archive) as stream:
            for member in _admitted(stream, limit_bytes):
                _write(stream, member, part)
        part.rename(place)
    except _DAMAGED as problem:
        raise PayloadError(f"pilot: {archive} cannot be unpacked: {problem}") from problem
    finally:
        _remove(part)
    return place


def _admitted(stream: tarfile.TarFile, limit_bytes: int) -> Iterator[tarfile.TarInfo]:
    """The members one by one, each looked at before the next one is read: a negative size would send the reader backwards."""
    left_bytes = limit_bytes
    for member in stream:
        if problem := _problem(member):
            raise tarfile.TarError(f"{member.name!r} {problem}; expected files and directories below one directory")
        left_bytes -= max(member.size, _BLOCK_BYTES)
        if left_bytes < 0:
            raise tarfile.TarError(f"its content is larger than {limit_bytes} bytes; expected a release of the pilot, a few MB")
        yield member
    _expect_end(stream)


def _expect_end(stream: tarfile.TarFile) -> None:
    """Refuse an archive whose members are followed by no block of zeros: it is torn, or has a header that cannot be read.

    The standard library takes either for the end.
    """
    assert stream.fileobj is not None, "an archive that is read has a file"  # noqa: S101
    stream.fileobj.seek(stream.offset)
    if stream.fileobj.read(_BLOCK_BYTES) != bytes(_BLOCK_BYTES):
        raise tarfile.TarError(f"it is damaged after {stream.offset} bytes of its content")
    while stream.fileobj.read(_READ_BYTES):
        pass  # compressed archives have a checksum behind their content


def _problem(member: tarfile.TarInfo) -> str:
    """Why a member is refused; empty when it is not."""
    name = PurePosixPath(member.name)
    if member.issym() or member.islnk():
        return f"is a link to {member.linkname!r}"
    if member.issparse() or not (member.isdir() or member.type in (tarfile.REGTYPE, tarfile.AREGTYPE)):
        return "is neither a file nor a directory"
    if name.is_absolute() or ".." in name.parts:
        return "has a name that leads elsewhere"
    return "has a negative size" if member.size < 0 else ""


def _write(stream: tarfile.TarFile, member: tarfile.TarInfo, place: Path) -> None:
    path = place / member.name
    if member.isdir():
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    content = stream.extractfile(member)
    assert content is not None, "a regular file has content"  # noqa: S101
    with content, path.open("wb") as target:
        shutil.copyfileobj(content, target)
        os.fchmod(target.fileno(), 0o755 if member.mode & 0o100 else 0o644)


def _remove(path: Path) -> None:
    """Take away what an earlier start left; a path that is not there is no error."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)
