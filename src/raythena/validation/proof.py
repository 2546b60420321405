"""The proof itself: outputs against inputs, and both against what ledger and job report claim.

The order of trust: the event numbers in the files first, then the ledger (which events failed, what each file must measure),
then the job report. A claim is only ever compared, never taken for the thing it claims.

Memory is a few arrays of one integer per event; time is that of reading every output once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from raythena.domain.errors import InvalidInput, StorageError
from raythena.domain.job import InputFile, Job, MergeSpec
from raythena.domain.outputs import OutputMap
from raythena.domain.ranges import RangeLayout
from raythena.domain.results import MergedOutput
from raythena.storage.atomic import adler32_of
from raythena.storage.groups import read_members
from raythena.storage.root.contents import NO_TREE
from raythena.storage.taskdir import TaskDirectory
from raythena.validation.comparison import Contents, Numbers, compare
from raythena.validation.evidence import Recorded, Report, Reported, read_job, read_ledger, read_report
from raythena.validation.findings import FileVerdict, Finding, Severity, Standing, Validation
from raythena.validation.provenance import EventNumbers, compare_with_upstream, numbers_taken
from raythena.validation.readers import event_count, event_numbers

MAX_LEVELS = 100
"""Tasks in a chain that are looked at."""


def validate(taskdir: Path, *, partial: bool = False) -> Validation:
    """Prove that every event of a task is in exactly one output, or recorded as failed with a reason.

    `partial`: the job has not ended; outputs that are not there yet are no error. Raises InvalidInput when `taskdir` is no
    directory; everything else that is wrong is in the result.
    """
    if not taskdir.is_dir():
        raise InvalidInput(str(taskdir), "", "is no directory", expected="the task directory of a job")
    return _proved(taskdir, partial=partial)[0]


def _proved(taskdir: Path, *, partial: bool, levels: int = MAX_LEVELS) -> tuple[Validation, EventNumbers | None]:
    """The result, and the numbers of the task's events; so many tasks of a chain are looked at."""
    task = TaskDirectory(taskdir)
    job = read_job(task)
    if isinstance(job, Finding):
        return Validation(str(taskdir), "", partial, 0, 0, 0, (), (job,)), None
    proof = _Proof(task, job, partial=partial)
    validation = proof.result()
    if job.upstream is None or proof.events is None:
        return validation, proof.events
    if not TaskDirectory(Path(job.upstream.task)).job.is_file() or not levels:
        text = f"the upstream task {job.upstream.name} is not in {job.upstream.task}: events are proved from the inputs taken on"
        findings = (*validation.findings, Finding("upstream-gone", Severity.UNPROVEN, "", text))
        return replace(validation, findings=findings), proof.events
    upstream, theirs = _proved(Path(job.upstream.task), partial=partial, levels=levels - 1)
    if theirs is not None:
        more = compare_with_upstream(proof.recorded, proof.events, theirs, job.upstream)
        validation = replace(validation, findings=(*validation.findings, *more))
    return replace(validation, upstream=upstream), proof.events


class _Proof:
    """One validation under way: collects findings as it looks at one thing after the other."""

    def __init__(self, task: TaskDirectory, job: Job, *, partial: bool) -> None:
        self._task = task
        self._job = job
        self._partial = partial
        self._findings: list[Finding] = []
        self.recorded = Recorded()
        self.events: EventNumbers | None = None
        """Once they are read."""
        self._failed = np.empty(0, dtype=np.int64)
        self._ledger_known = False
        self._verdicts: list[FileVerdict] = []
        self._contents: list[Contents] = []
        """Of the stream that is looked at, as the next three."""
        self._proven_unseen = 0
        """Events proved to be in their output though their numbers are not known."""
        self._stream = 0
        self._merging = job.merges[0]

    def result(self) -> Validation:
        """Look at everything."""
        outputs = self._plan()
        proven = 0
        if outputs is not None:
            self._read_ledger()
            self.events = self._read_inputs()
            numbers, known = self.events.numbers, self.events.known
            proven = min(self._look_at_stream(stream, outputs, numbers, known) for stream in range(len(self._job.merges)))
            self._look_for_strays()
            self._look_at_failures()
            self._look_at_report(outputs)
        return Validation(
            task=str(self._task.root),
            job_name=self._job.name,
            partial=self._partial,
            events=self._job.n_events,
            proven=proven,
            failed=len(self.recorded.failures),
            files=self._final(),
            findings=tuple(self._findings),
        )

    def _say(self, code: str, file: str, text: str, severity: Severity = Severity.ERROR, events: int = 0) -> None:
        self._findings.append(Finding(code, severity, file, text, events))

    def _plan(self) -> OutputMap | None:
        if self._job.ranges_given:
            text = "the job's ranges came from outside, and what became of them was told there: there is no output to prove"
            self._say("job-unreadable", self._task.job.name, text)
            return None
        try:
            outputs = OutputMap.plan([file.n_events for file in self._job.inputs], self._job.events_per_output)
        except (ValueError, TypeError) as error:
            self._say("job-unreadable", self._task.job.name, f"the job makes no sense: {error}")
            return None
        named = min(len(stream.outputs) for stream in self._job.merges)
        if outputs.n_outputs > named:
            text = f"the job needs {outputs.n_outputs} outputs, but names {named}"
            self._say("job-unreadable", self._task.job.name, text)
            return None
        return outputs

    def _read_ledger(self) -> None:
        recorded = read_ledger(self._task, self._job)
        if isinstance(recorded, Finding):
            self._findings.append(recorded)
        else:
            self.recorded, self._ledger_known = recorded, True
            self._failed = np.asarray(sorted(recorded.failures), dtype=np.int64)

    # ---- inputs

    def _read_inputs(self) -> EventNumbers:
        """The number of every event of the job, and for which of them it is known."""
        if self._job.upstream is not None:
            events = numbers_taken(self._task, self._job, self.recorded, self._say)
        else:
            events = self._numbers_of_files()
        sure = events.numbers[events.known]
        repeated = len(sure) - len(np.unique(sure))
        if repeated:
            text = f"{repeated:,} event numbers occur more than once in the inputs: events are told apart by their output as well"
            self._say("numbers-repeat", "", text, Severity.NOTE, repeated)
        return events

    def _numbers_of_files(self) -> EventNumbers:
        numbers = np.zeros(self._job.n_events, dtype=np.int64)
        known = np.zeros(self._job.n_events, dtype=np.bool_)
        offsets = RangeLayout(self._job.inputs).offsets
        for position, file in enumerate(self._job.inputs):
            mine = self._numbers_of(file)
            if mine is not None:
                span = slice(int(offsets[position]), int(offsets[position + 1]))
                numbers[span], known[span] = mine, True
        return EventNumbers(numbers, known)

    def _numbers_of(self, file: InputFile) -> Numbers | None:
        """Event numbers of an input, None when they cannot be known."""
        if not file.is_file:  # the numbers are all there is of the events before they are made
            return np.arange(file.first_event, file.first_event + file.n_events, dtype=np.int64)
        try:
            numbers = event_numbers(Path(file.pfn))
        except InvalidInput as error:
            self._say("input-unreadable", file.lfn, f"{error}; its events cannot be compared", Severity.UNPROVEN, file.n_events)
            return None
        if numbers is None:
            text = f"{file.lfn} is of a kind that cannot be read: its events are taken to be numbered from 1 to {file.n_events}"
            self._say("input-not-inspected", file.lfn, text, Severity.NOTE, file.n_events)
            return np.arange(1, file.n_events + 1, dtype=np.int64)
        if len(numbers) < file.n_events:
            text = f"{file.lfn} has {len(numbers):,} events, where the job counts {file.n_events:,}"
            self._say("input-count", file.lfn, text, events=file.n_events - len(numbers))
            return None
        return numbers[: file.n_events]

    # ---- outputs

    def _look_at_stream(self, stream: int, outputs: OutputMap, numbers: Numbers, known: npt.NDArray[np.bool_]) -> int:
        """The files of one stream; of how many events they are proved to hold the output."""
        self._stream, self._merging = stream, self._job.merges[stream]
        self._contents, self._proven_unseen = [], 0
        for output in range(outputs.n_outputs):
            self._look_at(output, *outputs.interval(output), numbers, known)
        self._findings += compare(self._contents)
        return sum(_proven(contents) for contents in self._contents) + self._proven_unseen

    def _look_at(self, output: int, start: int, stop: int, numbers: Numbers, known: npt.NDArray[np.bool_]) -> None:
        lfn = self._merging.outputs[output]
        merged = self.recorded.merged.get((self._stream, output))
        lost = self._failed[slice(*np.searchsorted(self._failed, (start, stop)))]
        retried = np.setdiff1d(np.asarray(merged.missing if merged else (), dtype=np.int64), lost)
        if len(retried):
            lost = np.union1d(lost, retried)
            self._say_retried(lfn, len(retried))
        lost = lost - start
        kept = np.ones(stop - start, dtype=np.bool_)
        kept[lost] = False
        mine = numbers[start:stop]
        path = self._task.output(merged) if merged else self._task.outputs / lfn
        if merged is not None:
            self._check_record(merged, lfn, stop - start, (lost + start).tolist())
        if not path.is_file():
            standing, found = self._absent(output, lfn, merged, int(kept.sum())), None
        else:
            standing, found = self._present(path, lfn, merged)
        comparable = bool(known[start:stop][kept].all())
        told_lost = lost[known[start:stop][lost]]
        if (
            standing is Standing.UNPROVEN
            and merged is not None
            and _named_tree(self._merging.merge) != NO_TREE
            and not len(retried)
        ):
            standing = self._without_reader(lfn, merged, np.flatnonzero(kept) + start)
            found = mine[kept] if standing is Standing.PROVEN else None
            self._proven_unseen += int(kept.sum()) if found is not None and not comparable else 0
        elif found is not None and not comparable:
            standing = self._count_only(lfn, found, int(kept.sum()))
        self._contents.append(Contents(lfn, mine[kept], mine[told_lost], found if comparable else None))
        self._verdicts.append(FileVerdict(lfn, standing, int(kept.sum()), None if found is None else len(found), len(lost)))

    def _say_retried(self, lfn: str, count: int) -> None:
        """Events that were given up have new attempts, and the file there is from before."""
        text = f"{count:,} events that {lfn} lacks are being tried again, or were and it is not merged again yet"
        self._say("events-retried", lfn, text, Severity.NOTE if self._partial else Severity.ERROR, count)

    def _absent(self, output: int, lfn: str, merged: MergedOutput | None, expected: int) -> Standing:
        if expected == 0 and merged is None:
            self._say("output-empty", lfn, f"{lfn} was not made: all of its events failed", Severity.NOTE)
        elif self._merging.merge.kind == "none" and merged is None:
            return self._check_groups(output, lfn, expected)
        elif merged is not None or not self._partial:
            what = "is recorded as merged, but is not there" if merged else "was not made"
            self._say("output-missing", lfn, f"{lfn} {what}", events=expected)
            return Standing.WRONG
        return Standing.ABSENT

    def _present(self, path: Path, lfn: str, merged: MergedOutput | None) -> tuple[Standing, Numbers | None]:
        if merged is not None:
            self._check_measures(path, merged)
        elif self._ledger_known:
            self._say("output-unrecorded", lfn, f"{lfn} is there, but the ledger does not know that it was merged")
        if (tree := _named_tree(self._merging.merge)) == NO_TREE:
            self._not_inspected(lfn)
            return Standing.UNPROVEN, None
        try:
            found = event_numbers(path, tree)
        except InvalidInput as error:
            self._say("output-unreadable", lfn, str(error))
            return Standing.WRONG, None
        if found is None:
            return self._counted(path, lfn, merged), None
        if merged is not None and len(found) != merged.n_events:
            self._say("output-count", lfn, f"{lfn} holds {len(found):,} events, the ledger says {merged.n_events:,}")
        return Standing.PROVEN, found

    def _counted(self, path: Path, lfn: str, merged: MergedOutput | None) -> Standing:
        """A file whose event numbers cannot be known: perhaps their count can."""
        if merged is None:
            self._not_inspected(lfn)
        elif (count := event_count(path)) not in (None, merged.n_events):
            self._say("output-count", lfn, f"{lfn} holds {count:,} events, the ledger says {merged.n_events:,}")
            return Standing.WRONG
        return Standing.UNPROVEN

    def _without_reader(self, lfn: str, merged: MergedOutput, ranges: Numbers) -> Standing:
        """A file nobody can read the events of; `ranges` are those it must hold. Proved if it is a concatenation.

        The ledger's size and checksum of the file were compared with the file itself, here they are with what the outputs of its
        events give.
        """
        joined = self.recorded.concatenations.get(merged.output)
        if joined is None:
            self._not_inspected(lfn)
            return Standing.UNPROVEN
        if not np.array_equal(joined.ranges, ranges):
            text = f"the ledger has outputs of {len(joined.ranges):,} events of {lfn}, not of the {len(ranges):,} it must hold"
            self._say("ledger-inconsistent", lfn, text)
            return Standing.WRONG
        if (joined.size_bytes, joined.adler32) != (merged.size_bytes, merged.adler32):
            text = (
                f"{lfn} is not the outputs of its events one behind the other: those give {joined.size_bytes:,} bytes with "
                f"Adler-32 {joined.adler32:08x}, it has {merged.size_bytes:,} with {merged.adler32:08x}"
            )
            self._say("output-not-its-events", lfn, text)
            return Standing.WRONG
        return Standing.PROVEN

    def _not_inspected(self, lfn: str) -> None:
        text = f"no reader for files like {lfn}: the events in it were not inspected"
        self._say("contents-not-inspected", lfn, text, Severity.UNPROVEN)

    def _count_only(self, lfn: str, found: Numbers, expected: int) -> Standing:
        """All that can be said when the numbers of the inputs are not known."""
        if len(found) != expected:
            self._say("output-count", lfn, f"{lfn} holds {len(found):,} events instead of {expected:,}")
        if len(np.unique(found)) != len(found):
            repeated = len(found) - len(np.unique(found))
            text = (
                f"{repeated:,} event numbers occur more than once in {lfn}, and its inputs cannot be read to say whether they may"
            )
            self._say("contents-not-compared", lfn, text, Severity.UNPROVEN, repeated)
        self._say("contents-not-compared", lfn, f"the events of {lfn} cannot be compared with its inputs", Severity.UNPROVEN)
        return Standing.UNPROVEN

    def _check_record(self, merged: MergedOutput, lfn: str, n_ranges: int, failed: list[int]) -> None:
        """The ledger against itself and the job."""
        if merged.lfn != lfn:
            self._say("ledger-inconsistent", lfn, f"the ledger calls the file {merged.lfn}, the job {lfn}")
        if list(merged.missing) != failed or merged.n_events != n_ranges - len(failed):
            text = (
                f"the ledger says that {lfn} holds {merged.n_events:,} events and misses {len(merged.missing):,}, but "
                f"records {len(failed):,} of its {n_ranges:,} events as failed"
            )
            self._say("ledger-inconsistent", lfn, text)
        if not merged.guid:
            self._say("guid-missing", lfn, f"{lfn} has no GUID")

    def _check_measures(self, path: Path, merged: MergedOutput) -> None:
        try:
            size_bytes, checksum = path.stat().st_size, adler32_of(path)
        except (OSError, StorageError) as error:
            self._say("output-unreadable", merged.lfn, f"{path} cannot be read: {error}")
            return
        if size_bytes != merged.size_bytes:
            self._say("output-size", merged.lfn, f"{merged.lfn} has {size_bytes:,} bytes, the ledger says {merged.size_bytes:,}")
        if checksum != merged.adler32:
            text = f"{merged.lfn} was altered: its Adler-32 is {checksum:08x}, the ledger says {merged.adler32:08x}"
            self._say("output-checksum", merged.lfn, text)

    def _check_groups(self, output: int, lfn: str, expected: int) -> Standing:
        """Outputs that are kept unmerged: every member of every group, by size and checksum."""
        bad: dict[int, str] = {}
        read = 0
        for group in self.recorded.groups:
            if group.output == output:
                read += sum(1 for _ in read_members(self._task.root / group.path, group.entries, bad))
        if bad:
            first = min(bad)
            self._say(
                "group-damaged", lfn, f"{len(bad):,} outputs of events are damaged, the first: {bad[first]}", events=len(bad)
            )
        lost = expected - read - len(bad)
        if lost and not self._partial:
            self._say("event-lost", lfn, f"{lost:,} events of {lfn} are in no group and not recorded as failed", events=lost)
        if bad or (lost and not self._partial):
            return Standing.WRONG
        self._say(
            "contents-not-inspected", lfn, f"{lfn} is kept unmerged: only sizes and checksums were proved", Severity.UNPROVEN
        )
        return Standing.UNPROVEN

    def _final(self) -> tuple[FileVerdict, ...]:
        """The verdicts; a file is wrong as soon as one error names it."""
        wrong = {finding.file for finding in self._findings if finding.severity is Severity.ERROR}
        return tuple(replace(verdict, standing=Standing.WRONG) if verdict.lfn in wrong else verdict for verdict in self._verdicts)

    # ---- the rest

    def _look_for_strays(self) -> None:
        """Files beside the outputs that nobody promised: whoever takes the directory as a whole would take them too."""
        promised = {*self._job.promised, self._job.log_file}
        if not self._task.outputs.is_dir():
            return
        for path in sorted(self._task.outputs.iterdir()):
            if path.name not in promised and not path.name.startswith("."):
                self._say("file-unknown", path.name, f"{path} is no output of this job")

    def _look_at_failures(self) -> None:
        layout = RangeLayout(self._job.inputs)
        for index, failure in self.recorded.failures.items():
            if not 0 <= index < self._job.n_events:
                self._say("ledger-inconsistent", "", f"the ledger records range {index} as failed, which the job does not have")
            elif not failure.message.strip():
                range_id = layout.range_id(index)
                self._say(
                    "failure-without-reason", range_id, f"event {range_id} is recorded as failed without a reason", events=1
                )

    def _look_at_report(self, outputs: OutputMap) -> None:
        report = read_report(self._task, partial=self._partial)
        if isinstance(report, Finding):
            self._findings.append(report)
            return
        if self._ledger_known:
            self._findings += _report_against_ledger(report, self.recorded, partial=self._partial)
            self._compare_failed(report)
        absent = any(verdict.standing is Standing.ABSENT and verdict.expected for verdict in self._verdicts)
        if report.exit_code == 0 and not self._partial and (self.recorded.failures or absent):
            text = "the job report claims success, though not every event is in an output"
            self._say("report-verdict", self._task.report.name, text)

    def _compare_failed(self, report: Report) -> None:
        if report.failed is None:
            return
        layout = RangeLayout(self._job.inputs)
        events = (layout.event_of(index) for index in self.recorded.failures if index < self._job.n_events)
        recorded = {(self._job.inputs[file].lfn, event) for file, event in events}
        unreported = set() if self._partial else recorded - report.failed
        # a report of the session before lists what has been given new attempts since
        unfounded = set() if self._partial else report.failed - recorded
        for code, events_told, text in (
            ("report-failed", unreported, "recorded as failed, but the job report does not list them"),
            ("report-failed", unfounded, "listed as failed in the job report, but not recorded so"),
        ):
            if events_told:
                lfn, event = min(events_told)
                told = f"{len(events_told):,} events are {text}, for example event {event} of {lfn}"
                self._say(code, self._task.report.name, told, events=len(events_told))


def _named_tree(merge: MergeSpec) -> str | None:
    """The event tree of the outputs, if the job names it to its merger; `NO_TREE` if it says that there is none."""
    tree = merge.options.get("tree") if merge.kind in ("root", "hadd") else None
    return tree if isinstance(tree, str) else None


def _report_against_ledger(report: Report, recorded: Recorded, *, partial: bool) -> Iterator[Finding]:
    """Each output as the job report tells it against the same output as the ledger does."""
    merged = {output.lfn: output for output in recorded.merged.values()}
    names = Counter(output.name for output in report.outputs)
    for name in sorted(name for name, count in names.items() if count > 1):
        yield Finding("report-output", Severity.ERROR, name, f"the job report lists {name} {names[name]} times")
    guids = Counter(output.guid for output in merged.values())
    for output in merged.values():
        if guids[output.guid] > 1:
            yield Finding(
                "guid-repeated", Severity.ERROR, output.lfn, f"{output.lfn} shares its GUID {output.guid} with another output"
            )
        if output.lfn not in names and not partial:
            yield Finding("report-output", Severity.ERROR, output.lfn, f"the job report does not list {output.lfn}")
    for told in report.outputs:
        if told.name in merged:
            yield from _told_against(told, merged[told.name])
        else:
            text = f"the job report lists {told.name}, which the ledger does not know as merged"
            yield Finding("report-output", Severity.ERROR, told.name, text)


def _told_against(told: Reported, merged: MergedOutput) -> Iterator[Finding]:
    checksum = f"ad:{merged.adler32:08x}"
    for code, what, claimed, recorded in (
        ("report-guid", "the GUID", told.guid, merged.guid),
        ("report-size", "the size", told.size_bytes, merged.size_bytes),
        ("report-count", "the number of events", told.n_events, merged.n_events),
        ("report-checksum", "the checksum", checksum if told.checksum is None else told.checksum, checksum),
    ):
        if claimed != recorded:
            text = f"the job report gives {what} of {merged.lfn} as {claimed}, the ledger as {recorded}"
            yield Finding(code, Severity.ERROR, merged.lfn, text)


def _proven(contents: Contents) -> int:
    """Events read from the output they belong in."""
    if contents.found is None:
        return 0
    return len(contents.expected) if contents.right else len(np.intersect1d(contents.expected, contents.found))
