"""Merging one output, in a process of its own; in a job with streams the file of each stream, of the same events.

The task takes exactly the ranges the ledger has committed out of their groups, checks each against the size and checksum the node
measured, hands them to the merger in event order, and leaves the result under a temporary name: only the coordinator moves it
into place. So a merge that is started twice, or whose coordinator has been replaced meanwhile, can overwrite nothing.

A disk that is full or broken is told as StorageError, whatever the merger made of it: nothing is wrong with the merge, and the
same one may succeed later.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from raythena.domain.errors import MergeError, StorageError
from raythena.domain.ids import OutputNumber
from raythena.domain.job import Job, MergeSpec, OutputStream
from raythena.domain.results import GroupReport, MergedOutput
from raythena.runtime.merger_interface import BadInputs, MergeContext, Merged, StoredMerger, merger_named
from raythena.runtime.scratch import scratch_directory
from raythena.runtime.stored_stream import StoredStream
from raythena.storage.atomic import adler32_of, is_disk_trouble, refusal, sync_file
from raythena.storage.groups import OpenGroups, OutputLost, StoredOutput, stored_outputs
from raythena.storage.root.contents import RootFileError, count_by_convention
from raythena.storage.taskdir import TaskDirectory

Stored = StoredOutput | StoredStream
CheckSample = Callable[[Path, MergeContext], None]
"""Of a merger: whether files like this one can be merged. Raises BadInputs, MergeError."""
LARGEST_IN_MEMORY_BYTES = 64 << 20
"""Mergers that take outputs where they lie hold one at a time in memory; where one is larger, all are unpacked into files."""


@dataclass(frozen=True, slots=True)
class MergeOrder:
    """One output to merge."""

    task_directory: str
    session: str
    scratch_directory: str
    output: OutputNumber
    lfn: str
    guid: str
    spec: MergeSpec
    groups: tuple[GroupReport, ...]
    """With exactly the entries to take."""
    expected: int
    """How many events must come out."""
    missing: tuple[int, ...]
    temporary: str
    """Where to write, relative to the task directory."""
    attempt: int = 1
    stream: str = ""
    """The name of what is merged here, where events have several outputs."""
    streams: tuple[str, ...] = ()
    """The names of all of these."""
    others: tuple[MergeOrder, ...] = ()
    """The same for each of the other streams: all are merged, or none is."""

    @property
    def all(self) -> tuple[MergeOrder, ...]:
        """One order for each file."""
        return (self, *self.others)


def for_streams(order: MergeOrder, job: Job) -> MergeOrder:
    """The order for all streams of a job, from that for the first."""
    first, *others = job.merges
    order = replace(order, stream=first.name, streams=job.stream_names)
    return replace(order, others=tuple(_for_stream(order, stream) for stream in others))


def _for_stream(order: MergeOrder, stream: OutputStream) -> MergeOrder:
    lfn = stream.outputs[order.output]
    guid, temporary = str(uuid.uuid4()).upper(), f"{order.temporary.removesuffix(order.lfn)}{lfn}"
    return replace(order, stream=stream.name, lfn=lfn, guid=guid, spec=stream.merge, temporary=temporary)


def merge_place(order: MergeOrder, here: str, nodes: Sequence[str]) -> str:
    """The node to merge on: the coordinator's, `here`; another one each time it is tried again, in case the node is to blame."""
    others = sorted(set(nodes) - {here})
    if order.attempt == 1 or not others:
        return here
    return others[(order.output + order.attempt) % len(others)]


def merge_output(order: MergeOrder) -> MergedOutput:
    """Merge and describe the result, whose `path` is the temporary one. Raises MergeError, StorageError."""
    directory = TaskDirectory(Path(order.task_directory))
    targets = [directory.root / each.temporary for each in order.all]
    place = f"merge-{order.output}"
    try:
        with scratch_directory(order.scratch_directory, order.task_directory, order.session, place) as scratch:
            try:
                first, *others = [_merge_stream(each, stream, directory, scratch) for stream, each in enumerate(order.all)]
            except Exception as problem:
                _tell_disk_trouble(order, problem, (scratch, targets[0].parent))
                raise
    except BaseException as problem:
        for target in targets:
            target.unlink(missing_ok=True)
        if is_disk_trouble(problem) and not isinstance(problem, StorageError):
            raise StorageError(f"cannot merge {order.lfn}: {problem}") from problem
        raise
    return replace(first, others=tuple(others))


def _merge_stream(order: MergeOrder, stream: int, directory: TaskDirectory, scratch: Path) -> MergedOutput:
    """The file of one stream, durable."""
    began = time.monotonic()
    target = directory.root / order.temporary
    merged = _merge(order, directory, target, _own_place(scratch, stream))
    sync_file(target)
    return MergedOutput(
        order.output,
        order.lfn,
        order.temporary,
        merged.guid or order.guid,
        target.stat().st_size,
        adler32_of(target),
        order.expected,
        order.missing,
        time.monotonic() - began,
        stream,
    )


def _own_place(scratch: Path, stream: int) -> Path:
    """Where a stream is merged; nothing else lies there."""
    place = scratch / f"stream{stream}" if stream else scratch
    place.mkdir(exist_ok=True)
    return place


def _tell_disk_trouble(order: MergeOrder, problem: Exception, directories: tuple[Path, ...]) -> None:
    """Raise StorageError when a disk is to blame for the failure of a merge, though the merger swallowed the system's words."""
    if isinstance(problem, MergeError) and problem.bad_ranges:
        return
    for directory in directories:
        trouble = refusal(directory) if directory.is_dir() else ""
        if trouble:
            raise StorageError(f"cannot merge {order.lfn}: {trouble}") from problem


def _merge(order: MergeOrder, directory: TaskDirectory, target: Path, scratch: Path) -> Merged:
    """Hand the outputs to the merger and look at what it made of them."""
    work = scratch / "work"
    target.parent.mkdir(parents=True, exist_ok=True)
    log = directory.logs / order.session / "merges" / target.name
    for place in (work, log.parent):
        place.mkdir(parents=True, exist_ok=True)
    context = MergeContext(order.lfn, order.guid, order.spec.options, order.expected, work, log)
    with OpenGroups() as groups:
        outputs = _outputs(order, directory, groups)
        try:
            merged = _merge_outputs(order, outputs, target, context, scratch) or Merged()
        except BadInputs as problem:
            raise _charged(order, outputs, problem) from problem
        except OutputLost as problem:
            raise _lost(_unreadable(outputs)) from problem
        except MergeError:
            raise
        except Exception as problem:  # a merger is foreign code: whatever it raises is told as its failure
            raise MergeError(
                f"{order.lfn}: the {order.spec.kind} merger failed: {type(problem).__name__}: {problem}"
            ) from problem
    _check_merged(order, merged, target)
    return merged


def _outputs(order: MergeOrder, directory: TaskDirectory, groups: OpenGroups) -> list[Stored]:
    """Every event's output, in event order. Raises MergeError when some are lost, or not those that were expected."""
    bad: dict[int, str] = {}
    outputs: list[Stored] = []
    for group in order.groups:
        stored = stored_outputs(directory.root / group.path, group.entries, bad, groups)
        outputs += [StoredStream(each, order.stream, order.streams) for each in stored] if order.stream else stored
    if bad:
        raise _lost(bad | _unreadable(outputs))
    outputs.sort(key=lambda output: output.index)
    if len(outputs) != order.expected or len({output.index for output in outputs}) != order.expected:
        raise MergeError(f"{order.lfn}: {len(outputs)} stored outputs where {order.expected} were expected")
    return outputs


def _merge_outputs(order: MergeOrder, outputs: list[Stored], target: Path, context: MergeContext, scratch: Path) -> Merged | None:
    """Merge the outputs where they lie, or as files if the merger wants files, or if one is too large to be held in memory."""
    merger = merger_named(order.spec.kind)
    if isinstance(merger, StoredMerger) and max(output.size_bytes for output in outputs) <= LARGEST_IN_MEMORY_BYTES:
        return merger.merge_stored(outputs, target, context)
    return merger(_unpacked(outputs, scratch), target, context)


def _unpacked(outputs: list[Stored], scratch: Path) -> list[Path]:
    """Every output as a file. Raises OutputLost."""
    paths = []
    for output in outputs:
        paths.append(scratch / f"{output.index:010d}")
        paths[-1].write_bytes(output.read())
    return paths


def _unreadable(outputs: list[Stored]) -> dict[int, str]:
    """Range index → why its output is lost, of all that are: they are to be computed again together."""
    bad: dict[int, str] = {}
    for output in outputs:
        try:
            output.read()
        except OutputLost as problem:
            bad[output.index] = str(problem)
    return bad


def _lost(bad: dict[int, str]) -> MergeError:
    if not bad:
        return MergeError("a stored output could not be read, and could be read again a moment later")
    first = min(bad)
    return MergeError(f"{len(bad)} stored outputs are lost, the first is of range {first}: {bad[first]}", tuple(sorted(bad)))


def _check_merged(order: MergeOrder, merged: Merged, target: Path) -> None:
    if not target.is_file() or target.stat().st_size == 0:
        raise MergeError(f"{order.lfn}: the {order.spec.kind} merger wrote nothing")
    n_events = _counted(order, target) if merged.n_events is None and merged.is_countable else merged.n_events
    if n_events not in (None, order.expected):
        raise MergeError(f"{order.lfn}: the merged file holds {n_events} events, expected {order.expected}")


def _counted(order: MergeOrder, target: Path) -> int | None:
    """The events of a merged file, whoever wrote it, if it is a ROOT file with an event tree known by its name."""
    try:
        return count_by_convention(target)
    except RootFileError as problem:
        raise MergeError(f"{order.lfn}: the merged file {problem}") from problem


def _charged(order: MergeOrder, outputs: Sequence[Stored], problem: BadInputs) -> MergeError:
    """The merger's accusation, told of event ranges instead of files."""
    faults = {outputs[position].index: reason for position, reason in problem.faults.items()}
    first = min(faults)
    counted = f"the outputs of {len(faults):,} of {len(outputs):,} events cannot be merged, the first is"
    text = f"{order.lfn}: {counted} that of range {first}: {faults[first]}"
    return MergeError(text, tuple(faults), tuple(faults.values()))


def check_sample(order: MergeOrder) -> None:
    """Show the merger the one output of `order` before there is anything to merge.

    Raises MergeError if outputs like it cannot be merged, with `bad_ranges` if it is this one that is no good; StorageError.
    """
    checks = [getattr(merger_named(each.spec.kind), "check_sample", None) for each in order.all]
    if not any(checks):
        return
    place = scratch_directory(order.scratch_directory, order.task_directory, order.session, "sample")
    with place as scratch:
        for stream, (each, check) in enumerate(zip(order.all, checks, strict=True)):
            if check is not None:
                _check_stream(each, check, _own_place(scratch, stream))


def _check_stream(order: MergeOrder, check: CheckSample, scratch: Path) -> None:
    work = scratch / "work"
    work.mkdir()
    with OpenGroups() as groups:
        outputs = _outputs(order, TaskDirectory(Path(order.task_directory)), groups)
        context = MergeContext(order.lfn, order.guid, order.spec.options, order.expected, work, scratch / "sample")
        try:
            (sample,) = _unpacked(outputs, scratch)
            check(sample, context)
        except BadInputs as problem:
            raise _charged(order, outputs, problem) from problem
        except OutputLost as problem:
            raise _lost(_unreadable(outputs)) from problem
