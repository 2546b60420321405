"""Merging by a program: how it is started, watched, and believed.

The program runs in a directory of its own that holds the inputs (hard links, or copies) and into which it writes. It leads a
process group; a process guard kills whatever is left of it when the merge ends, however it ends. Its output goes into log files
that are kept, and when it fails their last lines are part of the error, with what its job report says.

Rules: success is exit code 0, the output there and not empty, and the number of events right wherever it can be counted: in the
job report, and in the file itself if it is a ROOT file with a tree we know. Everything else is a MergeError.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raythena.domain.container import Container, Engine
from raythena.domain.container_command import Place, engine_program, launch
from raythena.domain.errors import MergeContainerError, MergeError, PayloadError
from raythena.payloads.container_files import engine_complaint, engine_failed, write_scripts
from raythena.payloads.last_words import end_of
from raythena.payloads.workers.program import find_program
from raythena.payloads.workers.slot import describe_status
from raythena.runtime.merger_interface import MergeContext, Merged
from raythena.runtime.process_guard import ProcessGuard
from raythena.storage.root.contents import RootFileError, count_by_convention

DEFAULT_LIMIT_S = 6 * 3600.0
GRACE_S = 10.0
"""Between SIGTERM and SIGKILL, for a program that took too long."""
TAIL_BYTES = 2000
"""Of the program's output in an error."""
MAX_KEPT_BYTES = 64 << 20
"""A log file larger than this is not kept."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """How a merging program is started: inside what, behind which words, with which variables, and how long it may take."""

    container: Container = field(default_factory=Container)
    wrapper: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    limit_s: float = DEFAULT_LIMIT_S


@dataclass(frozen=True, slots=True)
class Program:
    """A merging program: its command, the files it finds in its directory, and the name of what it writes there."""

    argv: tuple[str, ...]
    files: tuple[tuple[str, str], ...]
    output: str


@contextlib.contextmanager
def work_directory(context: MergeContext) -> Iterator[Path]:
    """The directory to work in: the one given, or a temporary one."""
    if context.directory is not None:
        yield context.directory
    else:
        with tempfile.TemporaryDirectory(prefix="raythena-merge-") as name:
            yield Path(name)


def lay_out(inputs: Sequence[Path], directory: Path, lfn: str) -> list[str]:
    """Put the inputs into the directory; their names there, in order. Raises MergeError."""
    names = [f"{number:06d}.{lfn}" for number in range(1, len(inputs) + 1)]
    for path, name in zip(inputs, names, strict=True):
        # never write into what is there: it may be a hard link to an input
        (directory / name).unlink(missing_ok=True)
        try:
            (directory / name).hardlink_to(path)
        except OSError:  # another file system, or one without hard links
            try:
                shutil.copyfile(path, directory / name)
            except OSError as problem:
                raise MergeError(f"{lfn}: {path} cannot be put into {directory}: {problem.strerror}") from problem
    return names


def run_program(
    program: Program,
    directory: Path,
    surroundings: Surroundings,
    output: Path,
    context: MergeContext,
    *,
    count: Callable[[Path], int | None] = count_by_convention,
) -> Merged:
    """Run the program in `directory` and move what it wrote to `output`. Raises MergeError saying what went wrong.

    `count` looks at what was written: it returns the number of events, None if it cannot, and raises RootFileError.
    """
    logs = _Logs(context.log or directory / "merge")
    try:
        status = asyncio.run(_ran(program, directory, surroundings, logs, context.lfn))
        report = _Report.read(directory / "jobReport.json", program.output)
        _check_entered(surroundings.container, status, directory, logs, context.lfn)
        _check_status(program, status, report, logs, context.lfn)
        merged = _check_output(directory / program.output, report, logs, context, count)
        shutil.move(directory / program.output, output)
    except MergeError:
        logs.keep(directory)
        raise
    except (OSError, PayloadError) as problem:
        logs.keep(directory)
        raise MergeError(f"{context.lfn}: {program.argv[0]} could not be run: {problem}") from problem
    logs.drop_empty()
    return merged


@dataclass(frozen=True, slots=True)
class _Logs:
    """The files a program's output goes to; their names begin with `base`."""

    base: Path

    @property
    def stdout(self) -> Path:
        return self.base.with_name(f"{self.base.name}.out.log")

    @property
    def stderr(self) -> Path:
        return self.base.with_name(f"{self.base.name}.err.log")

    def tail(self) -> str:
        """The last lines of standard error, or of standard output when there is nothing else."""
        for path in (self.stderr, self.stdout):
            with contextlib.suppress(OSError), path.open("rb") as stream:
                stream.seek(max(0, path.stat().st_size - TAIL_BYTES))
                text = stream.read().decode(errors="replace").strip()
                if text:
                    return f"the end of its output: {text} (all of it: {path})"
        return "it said nothing"

    def drop_empty(self) -> None:
        """Remove log files without a word in them."""
        for path in (self.stdout, self.stderr):
            with contextlib.suppress(OSError):
                if path.stat().st_size == 0:
                    path.unlink()

    def keep(self, directory: Path) -> None:
        """Save the program's own logs (`log.*`, `jobReport.json`) from a directory that will go away."""
        for path in sorted({*directory.glob("log.*"), *directory.glob("jobReport.json")}):
            with contextlib.suppress(OSError):  # they explain a failure; that they cannot be kept is not another one
                if path.is_file() and path.stat().st_size <= MAX_KEPT_BYTES:
                    shutil.copyfile(path, self.base.with_name(f"{self.base.name}.{path.name}"))


@dataclass(frozen=True, slots=True)
class _Report:
    """What a transform's job report says of a run; empty or None where it says nothing."""

    message: str = ""
    guid: str = ""
    n_events: int | None = None

    @classmethod
    def read(cls, path: Path, output: str) -> _Report:
        """The report, as far as there is one and it can be read: it is worth having, not worth failing for."""
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return cls()
        if not isinstance(document, dict):
            return cls()
        told = " ".join(str(document[key]) for key in ("exitAcronym", "exitMsg", "exitMsgExtra") if document.get(key))
        described = _described(document, output)
        n_events, guid = described.get("nentries"), described.get("file_guid")
        is_count = isinstance(n_events, int) and not isinstance(n_events, bool)
        return cls(
            (told or "its job report calls it failed") if document.get("exitCode") else "",
            guid.upper() if isinstance(guid, str) else "",
            n_events if is_count else None,
        )


def _described(document: dict[str, Any], output: str) -> dict[str, Any]:
    """What a job report says of one output file; empty when it says nothing, or nothing that can be understood."""
    try:
        files = [sub for file in document["files"]["output"] for sub in file["subFiles"]]
        (found,) = [dict(sub) for sub in files if str(sub["name"]).rpartition("/")[2] == output]
    except (KeyError, TypeError, ValueError):
        return {}
    return found


async def _ran(program: Program, directory: Path, surroundings: Surroundings, logs: _Logs, lfn: str) -> int:
    """The exit status of the program. Raises MergeError when it takes too long, OSError or PayloadError when it cannot start."""
    plan = launch(surroundings.container, program.argv, Place(str(directory)), surroundings.environment, os.environ)
    for name, content in program.files:
        (directory / name).write_text(content, encoding="utf-8")
    write_scripts(directory, plan)
    argv = [*surroundings.wrapper, *plan.argv]
    argv[0] = _found(argv[0], directory, surroundings, lfn)
    process_guard = ProcessGuard()
    ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    try:
        pid = await process_guard.spawn(
            argv,
            env=plan.environment,
            cwd=directory,
            stdout=logs.stdout,
            stderr=logs.stderr,
            on_exit=lambda status: None if ended.done() else ended.set_result(status),
            sweep_group=True,
        )
        if not await _ended_in_time(ended, surroundings.limit_s):
            process_guard.kill(pid, number=signal.SIGTERM)
            await _ended_in_time(ended, GRACE_S)
            limit = f"{surroundings.limit_s:g} s"
            raise MergeError(f"{lfn}: {program.argv[0]} did not end within {limit}; {logs.tail()}")
        return ended.result()
    finally:
        await process_guard.stop()


def _found(name: str, directory: Path, surroundings: Surroundings, lfn: str) -> str:
    """Path of the program to start. Raises PayloadError, and MergeContainerError for an engine that is not there."""
    try:
        return find_program(name, directory, surroundings.environment.get("PATH", os.environ.get("PATH")))
    except PayloadError as problem:
        if name != engine_program(surroundings.container):
            raise
        raise MergeContainerError(f"{lfn}: there is no {name} on PATH here, which is to start the container") from problem


async def _ended_in_time(ended: asyncio.Future[int], limit_s: float) -> bool:
    done, _ = await asyncio.wait([ended], timeout=limit_s)
    return bool(done)


def _check_entered(container: Container, status: int, directory: Path, logs: _Logs, lfn: str) -> None:
    """Tell a failure of the engine from one of the program. Raises MergeContainerError."""
    if status != 0 and container.engine is not Engine.NONE and engine_failed(directory):
        said = end_of(logs.stderr, TAIL_BYTES) or end_of(logs.stdout, TAIL_BYTES)
        raise MergeContainerError(f"{lfn}: {engine_complaint(container, describe_status(status), said)}; {logs.tail()}")


def _check_status(program: Program, status: int, report: _Report, logs: _Logs, lfn: str) -> None:
    if status == 0 and not report.message:
        return
    how = f"was killed by signal {-status}" if status < 0 else f"ended with exit code {status}"
    told = f" ({report.message})" if report.message else ""
    raise MergeError(f"{lfn}: {program.argv[0]} {how}{told}; {logs.tail()}")


def _check_output(
    path: Path, report: _Report, logs: _Logs, context: MergeContext, count_events: Callable[[Path], int | None]
) -> Merged:
    if not path.is_file():
        raise MergeError(f"{context.lfn}: the program ended well but wrote no {path.name}; {logs.tail()}")
    if path.stat().st_size == 0:
        raise MergeError(f"{context.lfn}: the program ended well but left {path.name} empty; {logs.tail()}")
    try:
        counted = count_events(path)
    except RootFileError as problem:
        raise MergeError(f"{context.lfn}: the merged file {problem}; {logs.tail()}") from problem
    counts = (("its job report counts", report.n_events), ("the file holds", counted))
    for who, count in counts:
        if count is not None and context.expected is not None and count != context.expected:
            raise MergeError(f"{context.lfn}: {who} {count} events, expected {context.expected}; {logs.tail()}")
    return Merged(report.guid, next((count for _, count in reversed(counts) if count is not None), None))
