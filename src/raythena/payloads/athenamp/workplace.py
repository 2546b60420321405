"""The directory a transform works in: finding what its workers left there.

The layout of AthenaMP's directories (see `athena_workers`) and the names of outputs are all that is relied on here. Inside a
container the same paths are expected; where they differ, the part below the top directory counts.

Rules: an output counts only when it is a regular file below the directory, not empty, and as long as its own header says; one
that was never reported counts only when it also was closed properly and nobody has it open.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Mapping
from pathlib import Path

from raythena.payloads.athena_workers import WORKER_LOG, AthenaWorkers
from raythena.payloads.workers.output_inspection import BadOutput, Output, OutputInspector
from raythena.payloads.workers.protocol import DoneMessage
from raythena.payloads.workers.slot import tail_of
from raythena.runtime.process_guard_main import descendants

_TOP = "athenaMP-workers-"
_HEADER = struct.Struct(">4sii")
_SMALL_ENDS, _LARGE_ENDS = struct.Struct(">iiiiiBii"), struct.Struct(">qqiiiBiq")
_LARGE_VERSION = 1_000_000
"""Added to the version of a file whose positions take eight bytes."""


class Workplace:
    """One run's directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._inspector = OutputInspector(directory)
        self.workers = AthenaWorkers(directory)

    def inspect(self, name: str) -> Output:
        """The output a report tells of. Raises BadOutput."""
        path = name if name.startswith(f"{self.directory}/") else self._relocated(name)
        output = self._inspector.inspect(DoneMessage("", path, 0.0, 0.0, 0.0))
        ends = root_ends(output.path)
        if ends is not None and ends[0] > output.size_bytes:
            raise BadOutput(f"output {name!r} is truncated: it has {output.size_bytes} bytes of {ends[0]}")
        return output

    def _relocated(self, name: str) -> str:
        """The path on this side of a container's mounts."""
        at = name.rfind(f"/{_TOP}")
        return str(self.directory / name[at + 1 :]) if at >= 0 else name

    def outputs(self) -> dict[str, list[Path]]:
        """What lies in the workers' directories, by the last part of its name, which is the range's token: one look for all."""
        found: dict[str, list[Path]] = {}
        for place in self.workers.places():
            for path in place.glob("*.*"):
                found.setdefault(path.name.rpartition(".")[2], []).append(path)
        return found

    def salvaged(
        self, token: str, root_pid: int | None, before: float = math.inf, outputs: Mapping[str, list[Path]] | None = None
    ) -> Output | None:
        """The output of a range nobody has reported, if it is complete and was written before `before` (seconds since the epoch).

        `root_pid` is the transform, when it may still run. `outputs` is what `outputs` has found for many ranges.
        """
        found = (self.outputs() if outputs is None else outputs).get(token, [])
        try:
            if (
                len(found) == 1
                and is_complete(found[0], before)
                and not (root_pid is not None and is_open_in(root_pid, found[0]))
            ):
                return self.inspect(str(found[0]))
        except (OSError, BadOutput):
            return None
        return None

    def worker_of(self, token: str) -> Path | None:
        """The directory of the worker that received this range last of all; None when no log says so."""
        return self.workers.worker_of(token)

    def log_of(self, token: str) -> str:
        """The last lines of the log of the worker that has this range, on one line."""
        place = self.worker_of(token)
        return "" if place is None else tail_of(place / WORKER_LOG, 0)


def root_ends(path: Path) -> tuple[int, bool] | None:
    """(where a ROOT file says that it ends, whether it was closed properly); None when it is no ROOT file.

    The header is that of ROOT's documented format: a file is closed when the description of its classes has been written.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(_HEADER.size + _LARGE_ENDS.size)
    except OSError:
        return None
    if len(content) < _HEADER.size + _LARGE_ENDS.size or not content.startswith(b"root"):
        return None
    large = _HEADER.unpack_from(content)[1] >= _LARGE_VERSION
    end, _, _, _, _, _, _, info_at = (_LARGE_ENDS if large else _SMALL_ENDS).unpack_from(content, _HEADER.size)
    return end, 0 < info_at < end


def is_complete(path: Path, before: float) -> bool:
    """Whether a ROOT file was closed, is as long as it says, and was written before `before`. Raises OSError."""
    ends, facts = root_ends(path), path.stat()
    return ends is not None and ends[1] and ends[0] <= facts.st_size and facts.st_mtime < before


def is_open_in(root_pid: int, path: Path) -> bool:
    """Whether a process at or below `root_pid` has the file open, or cannot be asked."""
    try:
        wanted = path.stat()
        return any(_has_open(pid, wanted) for pid in (root_pid, *descendants(root_pid)))
    except PermissionError:
        return True
    except FileNotFoundError:
        return False


def _has_open(pid: int, wanted: os.stat_result) -> bool:
    """Raises PermissionError when the process does not let itself be asked."""
    try:
        entries = list(Path(f"/proc/{pid}/fd").iterdir())
    except (FileNotFoundError, ProcessLookupError):
        return False
    for entry in entries:
        try:
            facts = entry.stat()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if (facts.st_dev, facts.st_ino) == (wanted.st_dev, wanted.st_ino):
            return True
    return False
