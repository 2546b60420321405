"""The environment as one archive: made once, unpacked by each node on a disk of its own before it starts Ray.

Importing Python from a shared file system on hundreds of nodes at once is tens of thousands of small reads on each; an archive is
one large one. It is a plain tar, since reading is what costs, in this order:

    manifest.json   versions, by which the head sees that it is the same environment as its own
    environment/    the virtual environment (or whatever `sys.prefix` is), with Raythena in it if it was installed in place
    base/           the Python below a virtual environment, unless that is the system's own

Its SHA-256 is in a file beside it, goes to the nodes with their order, and is compared by each with what it has read: a copy that
broke off is refused. A virtual environment is moved by telling it where its Python is now. Other programs in `bin` begin with the
path of the old place, and are not used.
"""

from __future__ import annotations

import fnmatch
import hashlib
import io
import json
import os
import platform
import sys
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO

import raythena
from raythena.domain.errors import InvalidInput, StorageError
from raythena.storage.atomic import CHUNK_BYTES, disk_errors, replacing, write_atomically

MANIFEST, ENVIRONMENT, BASE = "manifest.json", "environment", "base"
_SYSTEM = ("/usr", "/usr/local")
_CONFIGURATION = "pyvenv.cfg"
_LIBRARY = f"lib/python{sys.version_info.major}.{sys.version_info.minor}"
_PROGRAM = f"bin/python{sys.version_info.major}.{sys.version_info.minor}"
_NOT_OF_BASE = ("site-packages", "test", "idlelib", "ensurepip")
"""In the directory of its modules."""
REMOVAL_LIMIT_S = 90.0
"""A node may take so long to end: tens of thousands of files are removed."""
_SETTING = "launch.environment"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an archive was made of."""

    raythena: str
    ray: str
    python: str
    made_of: str

    @classmethod
    def here(cls) -> Manifest:
        """Of the environment of this process."""
        return cls(raythena.__version__, version("ray"), platform.python_version(), sys.prefix)


@dataclass(frozen=True, slots=True)
class Made:
    """An archive that was made."""

    size_bytes: int
    files: int
    sha256: str


class _Hashing(io.RawIOBase):
    """A stream that remembers the checksum of what goes through it, in either direction."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.checksum = hashlib.sha256()
        self.size_bytes = 0

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._note(data)
        return self._stream.write(data)

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._note(data)
        return data

    def _note(self, data: bytes) -> None:
        self.checksum.update(data)
        self.size_bytes += len(data)


def checksum_file(archive: Path) -> Path:
    """Where the checksum of an archive is."""
    return archive.with_name(f"{archive.name}.sha256")


# ---- making


def make_archive(archive: Path, without: Sequence[str] = (), *, prefix: Path | None = None, base: Path | None = None) -> Made:
    """Write the archive of an environment, by default of this process's. Raises StorageError.

    `without`: patterns of paths in the environment that are left out; `base`: the Python below it.
    """
    prefix = prefix or Path(sys.prefix)
    base = base or Path(sys.base_prefix)
    with replacing(archive) as stream:
        hashing = _Hashing(stream)
        with tarfile.open(fileobj=hashing, mode="w|", bufsize=CHUNK_BYTES) as tar:
            _add_text(tar, MANIFEST, json.dumps({**asdict(Manifest.here()), "made_of": str(prefix)}))
            files = _add_tree(tar, prefix, ENVIRONMENT, without)
            files += _add_raythena(tar, prefix)
            if base != prefix and str(base) not in _SYSTEM:
                files += _add_base(tar, base)
    write_atomically(checksum_file(archive), f"{hashing.checksum.hexdigest()}  {archive.name}\n")
    return Made(hashing.size_bytes, files, hashing.checksum.hexdigest())


def _add_text(tar: tarfile.TarFile, name: str, text: str) -> None:
    data = text.encode()
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def _add_tree(tar: tarfile.TarFile, root: Path, name: str, without: Sequence[str]) -> int:
    """Everything below a directory, in order, but what a pattern names; how many entries that was."""
    count = 0
    for path in _walk(root, root, without):
        tar.add(path, f"{name}/{path.relative_to(root)}", recursive=False)
        count += 1
    return count


def _walk(root: Path, directory: Path, without: Sequence[str]) -> Iterator[Path]:
    for entry in sorted(os.scandir(directory), key=lambda one: one.name):
        path = Path(entry.path)
        relative = str(path.relative_to(root))
        if any(fnmatch.fnmatch(relative, pattern) for pattern in without):
            continue
        yield path
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(root, path, without)


def _add_raythena(tar: tarfile.TarFile, prefix: Path) -> int:
    """The package itself, where it is installed in place and so lies somewhere else."""
    package = Path(raythena.__file__).parent
    if package.is_relative_to(prefix):
        return 0
    return _add_tree(tar, package, f"{ENVIRONMENT}/{_LIBRARY}/site-packages/raythena", ["*__pycache__*"])


def _add_base(tar: tarfile.TarFile, base: Path) -> int:
    """The interpreter, its library and its modules."""
    program = base / _PROGRAM
    tar.add(program.resolve(), f"{BASE}/{_PROGRAM}")
    libraries = sorted((base / "lib").glob("libpython*.so*"))
    for library in libraries:
        tar.add(library, f"{BASE}/lib/{library.name}")
    return 1 + len(libraries) + _add_tree(tar, base / _LIBRARY, f"{BASE}/{_LIBRARY}", _NOT_OF_BASE)


# ---- at the head


def checked(archive: Path) -> str:
    """The checksum of an archive that is there and was made of an environment like this one. Raises InvalidInput."""
    hint = f"`raythena stage {archive}` makes it"
    try:
        words = checksum_file(archive).read_text().split()
        with archive.open("rb") as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
            manifest = _manifest(tar)
    except (OSError, tarfile.TarError, ValueError, TypeError) as problem:
        expected = "an archive of the environment"
        raise InvalidInput(_SETTING, "", f"{archive}: {problem}", expected=expected, hint=hint) from problem
    here = Manifest.here()
    for name in ("raythena", "ray", "python"):
        there, mine = getattr(manifest, name), getattr(here, name)
        if there != mine:
            problem_text = f"{archive} has {name} {there}, this environment has {mine}"
            raise InvalidInput(_SETTING, "", problem_text, expected="the same versions", hint=hint)
    if not words:
        raise InvalidInput(_SETTING, "", f"{checksum_file(archive)} is empty", expected="a checksum", hint=hint)
    return words[0]


def _manifest(tar: tarfile.TarFile) -> Manifest:
    """Raises ValueError, TypeError."""
    first = tar.next()
    content = tar.extractfile(first) if first is not None and first.name == MANIFEST else None
    if content is None:
        raise ValueError("does not begin with a manifest")
    return Manifest(**json.loads(content.read()))


# ---- on a node


class _Unfiltered(tarfile.TarFile):
    """Later versions of Python want to know whether members are to be looked at: `_extract` does."""

    extraction_filter = staticmethod(lambda member, _: member)


def unpack(archive: Path, sha256: str, target: Path) -> Path:
    """Unpack an archive below an empty directory; the Python to start there. Raises StorageError, also for a wrong checksum."""
    with disk_errors("unpack", archive), archive.open("rb") as stream:
        hashing = _Hashing(stream)
        try:
            with _Unfiltered.open(fileobj=hashing, mode="r|", bufsize=CHUNK_BYTES) as tar:
                for member in tar:
                    _extract(tar, member, target)
        except (tarfile.TarError, EOFError) as problem:
            raise StorageError(f"{archive} is damaged: {problem}") from problem
        while hashing.read(CHUNK_BYTES):
            pass  # what stands behind the end of the archive belongs to the checksum
    found = hashing.checksum.hexdigest()
    if found != sha256:
        raise StorageError(f"{archive} is damaged: its SHA-256 is {found[:12]}..., {sha256[:12]}... is expected")
    return _moved(target)


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    """One member, inside of the target only."""
    inside = _is_inside(member.name) and (not member.islnk() or _is_inside(member.linkname))
    if not inside or not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
        raise tarfile.TarError(f"{member.name!r} does not belong in an environment")
    if member.isdir():
        member.mode |= 0o700
    tar.extract(member, target, set_attrs=True, numeric_owner=True)


def _is_inside(name: str) -> bool:
    return not name.startswith("/") and ".." not in Path(name).parts


def _moved(target: Path) -> Path:
    """Tell an environment where it is now."""
    environment, base = target / ENVIRONMENT, target / BASE
    program = environment / _PROGRAM
    configuration = environment / _CONFIGURATION
    if base.exists() and configuration.exists():
        moved = {"home", "executable"}
        lines = [line for line in configuration.read_text().splitlines() if line.partition("=")[0].strip() not in moved]
        configuration.write_text("\n".join([f"home = {base / 'bin'}", *lines, ""]))
        program.unlink(missing_ok=True)
        program.symlink_to(base / _PROGRAM)
    return program
