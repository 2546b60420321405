"""Merging the streams of an output: all of them, of the same events, or none."""

import asyncio
import json
from dataclasses import replace

import numpy as np
import pytest

from raythena.domain.bundle import bundled
from raythena.domain.errors import MergeError
from raythena.domain.job import InputFile, Job, MergeSpec, OutputStream, PayloadSpec
from raythena.domain.records import AttemptFailed, GroupStored, OutputMerged, RangesReopened
from raythena.domain.results import ENTRY_DTYPE, FailureKind, GroupReport
from raythena.engine import commands as do
from raythena.engine import events as ev
from raythena.engine.engine import Engine
from raythena.engine.engine_config import EngineConfig
from raythena.engine.invariants import check
from raythena.runtime.clock import SYSTEM_CLOCK
from raythena.runtime.merge_runner import MergeRunner
from raythena.runtime.merge_task import MergeOrder, check_sample, for_streams, merge_output
from raythena.runtime.replacement import put_into_place
from raythena.runtime.session_config import SessionConfig
from raythena.runtime.stored_stream import StoredStream
from raythena.storage.groups import Member, write_group
from raythena.storage.ledger import Ledger, SessionInfo
from raythena.storage.taskdir import TaskDirectory
from raythena.validation import validate

STREAMS = (
    OutputStream("HITS", ("HITS.1", "HITS.2"), MergeSpec("concat")),
    OutputStream("LOG", ("log.1", "log.2"), MergeSpec("concat")),
)


@pytest.fixture
def job(tmp_path):
    (tmp_path / "scratch").mkdir()
    file = InputFile("study", "", 8, seed=1)
    return Job("study", (file,), STREAMS[0].outputs, PayloadSpec("python"), STREAMS[0].merge, 4, streams=STREAMS)


@pytest.fixture
def task(tmp_path, job):
    task = TaskDirectory(tmp_path / "task")
    for directory in (task.outputs / ".merging", task.staging):
        directory.mkdir(parents=True)
    task.job.write_text(json.dumps(job.to_dict()))
    return task


def hit(index):
    return json.dumps({"event": index + 1, "stream": "HITS"}).encode() + b"\n"


def log(index):
    return json.dumps({"event": index + 1, "seconds": 0.5}).encode() + b"\n"


def whole(index):
    streams = {"HITS": hit(index), "LOG": log(index)}
    return bundled(streams if index % 2 else dict(reversed(streams.items())))


def group_of(task, name, indices, output=0, content=whole):
    members = []
    for index in indices:
        source = task.root.parent / f"{name}-{index}.out"
        source.write_bytes(content(index))
        members.append(Member(index, source))
    written = write_group(task.staging / f"{name}.zip", members)
    entries = np.zeros(len(indices), ENTRY_DTYPE)
    entries["range"], entries["size"], entries["adler32"] = written.indices, written.sizes, written.adlers
    return GroupReport(name, "n", output, f"staging/{name}.zip", written.size_bytes, written.adler32, entries)


def order_of(task, job, groups, expected=4, *, missing=(), output=0):
    scratch = str(task.root.parent / "scratch")
    lfn = job.outputs[output]
    places = (str(task.root), "s1", scratch, output, lfn, "GUID", job.merge)
    return for_streams(MergeOrder(*places, tuple(groups), expected, missing, f"outputs/.merging/x.{lfn}"), job)


def in_place(task, merged):
    """What the runner does once a merge is done."""
    files = []
    for file in merged.files:
        (task.root / file.path).rename(task.outputs / file.lfn)
        files.append(replace(file, path=f"outputs/{file.lfn}"))
    return replace(files[0], others=tuple(files[1:]))


def left(task):
    return sorted(path.name for path in (task.outputs / ".merging").iterdir())


def test_each_stream_is_merged_into_a_file_of_its_own(task, job):
    groups = [group_of(task, "a", [1, 3]), group_of(task, "b", [0, 2])]
    merged = merge_output(order_of(task, job, groups))
    assert [(file.lfn, file.stream, file.n_events) for file in merged.files] == [("HITS.1", 0, 4), ("log.1", 1, 4)]
    written = [(task.root / file.path).read_bytes() for file in merged.files]
    assert written == [b"".join(map(hit, range(4))), b"".join(map(log, range(4)))]
    assert [file.size_bytes for file in merged.files] == list(map(len, written))
    assert len({file.guid for file in merged.files}) == 2


def test_a_stream_that_cannot_be_merged_leaves_nothing_of_the_others(task, job):
    job = replace(job, streams=(STREAMS[0], replace(STREAMS[1], merge=MergeSpec("root"))))
    with pytest.raises(MergeError, match=r"log\.1"):
        merge_output(order_of(task, job, [group_of(task, "a", range(4))]))
    assert left(task) == []


@pytest.mark.parametrize("lost", ["HITS", "LOG"])
def test_an_event_stored_without_one_of_its_streams_is_computed_again(task, job, lost):
    def content(index):
        return whole(index) if index != 2 else bundled({name: b"x" for name in {"HITS", "LOG"} - {lost}})

    with pytest.raises(MergeError, match=f"lacks the stream {lost}") as problem:
        merge_output(order_of(task, job, [group_of(task, "a", range(4), content=content)]))
    assert problem.value.bad_ranges == (2,)
    assert left(task) == []


def test_a_merge_that_would_pass_over_partial_events_is_noticed(task, job, monkeypatch):
    """The mutant: what a bundle lacks is taken to be empty."""
    monkeypatch.setattr(StoredStream, "read", lambda stored: b"")
    with pytest.raises(MergeError, match="wrote nothing"):
        merge_output(order_of(task, job, [group_of(task, "a", range(4))]))


def test_the_first_output_is_shown_to_the_merger_of_each_stream(task, job):
    good, bad = job, replace(job, streams=(STREAMS[0], replace(STREAMS[1], merge=MergeSpec("root"))))
    sample = [group_of(task, "a", [0])]
    check_sample(order_of(task, good, sample, 1))
    with pytest.raises(MergeError, match=r"log\.1"):
        check_sample(order_of(task, bad, sample, 1))


def test_the_runner_puts_all_streams_in_their_places_and_tells_once(task, job):
    told = []
    group = group_of(task, "a", range(4))
    config = SessionConfig(
        job=job, task_directory=str(task.root), session="s1", scratch_directory=str(task.root.parent / "scratch")
    )

    async def merge(order):
        return merge_output(order)

    async def find(names):
        return [group]

    runner = MergeRunner(config, merge, find, told.append, is_over=lambda: False, clock=SYSTEM_CLOCK)
    order = do.StartMerge(merge=1, output=0, groups=("a",), expected=4, missing=(), delay_s=0.0, attempt=1, beside=False)
    merged = asyncio.run(runner.run(order))
    assert told == [ev.MergeSucceeded(merge=1, merged=merged)]
    assert [file.path for file in merged.files] == ["outputs/HITS.1", "outputs/log.1"]
    assert (task.outputs / "log.1").read_bytes() == b"".join(map(log, range(4)))
    assert left(task) == []


# ---- the ledger


def stored(task, output, indices, name):
    return GroupStored(group_of(task, name, indices, output))


def failed(index):
    return AttemptFailed(index, 3, "n", FailureKind.BAD_OUTPUT, "it lacks the stream LOG", True, 10.0)


def complete(task, job, *, last=(4, 5, 6, 7)):
    """A ledger with everything merged, as it was left behind."""
    with Ledger.create(task.ledger, job) as ledger:
        for output, indices in ((0, [0, 1, 2, 3]), (1, last)):
            missing = tuple(sorted({*range(4 * output, 4 * output + 4)} - set(indices)))
            ledger.commit([stored(task, output, indices, f"g{output}"), *map(failed, missing)])
            groups = ledger.groups_named([f"g{output}"])
            merged = in_place(task, merge_output(order_of(task, job, groups, len(indices), missing=missing, output=output)))
            ledger.commit([OutputMerged(merged, (f"g{output}",))])


def test_the_ledger_knows_every_file_and_counts_every_event_once(task, job):
    complete(task, job)
    with Ledger.read(task.ledger) as view:
        files = view.outputs()
        assert [(file.lfn, file.output, file.stream) for file in files] == [
            ("HITS.1", 0, 0),
            ("HITS.2", 1, 0),
            ("log.1", 0, 1),
            ("log.2", 1, 1),
        ]
        summary = view.summary()
        assert (summary.outputs_merged, summary.events_merged, summary.events) == (4, 8, 8)
        restored = view.restore()
    assert restored.groups == ()
    engine = Engine(job, restored, EngineConfig())
    check(engine)
    assert engine.state.merges.all_final


def test_a_ledger_of_one_output_for_each_event_is_what_it_was(task, job):
    job = replace(job, streams=())
    with Ledger.create(task.ledger, job) as ledger:
        ledger.commit([stored(task, 1, [4, 5, 6, 7], "g")])
        merged = in_place(task, merge_output(order_of(task, job, ledger.groups_named(["g"]), output=1)))
        ledger.commit([OutputMerged(merged, ("g",))])
        assert [row[2] for row in ledger.rows_after("outputs", 0)] == [1]
        assert ledger.outputs() == (merged,)


def test_an_event_given_up_is_in_no_stream_and_retried_it_is_in_all(task, job):
    complete(task, job, last=(4, 5, 7))
    assert b'"event": 7' not in (task.outputs / "HITS.2").read_bytes() + (task.outputs / "log.2").read_bytes()
    first = {path.name: path.read_bytes() for path in task.outputs.iterdir() if path.is_file()}
    with Ledger.open(task.ledger, job) as ledger:
        ledger.begin_session(SessionInfo("s2", "h", 1, 1.0), RangesReopened((6,)))
        ledger.commit([stored(task, 1, [6], "again")])
        order = order_of(task, job, ledger.groups_named(["g1", "again"]), output=1)
        task.replacing.mkdir()
        files = []
        for file in merge_output(order).files:
            (task.root / file.path).rename(task.replacing / file.lfn)
            files.append(replace(file, path=str((task.replacing / file.lfn).relative_to(task.root))))
        ledger.commit([OutputMerged(replace(files[0], others=tuple(files[1:])), ("g1", "again"))])
        assert {path.name: path.read_bytes() for path in task.outputs.iterdir() if path.is_file()} == first
        put_into_place(task, ledger.outputs())
    assert (task.outputs / "HITS.2").read_bytes() == b"".join(map(hit, range(4, 8)))
    assert (task.outputs / "log.2").read_bytes() == b"".join(map(log, range(4, 8)))
    assert (task.outputs / "log.1").read_bytes() == first["log.1"]


# ---- the proof


def errors(task):
    return {(finding.code, finding.file) for finding in validate(task.root).findings if str(finding.severity) == "error"}


def test_validate_proves_every_stream(task, job):
    complete(task, job)
    verdict = validate(task.root)
    assert [(file.lfn, str(file.standing)) for file in verdict.files] == [
        (lfn, "proven") for lfn in ("HITS.1", "HITS.2", "log.1", "log.2")
    ]
    assert verdict.proven == 8
    assert errors(task) == {("report-missing", "jobReport.json")}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda text: text.splitlines(keepends=True)[:-1], "event-lost"),
        (lambda text: [text, text.splitlines(keepends=True)[0]], "event-duplicated"),
        (lambda text: reversed(text.splitlines(keepends=True)), "order-wrong"),
    ],
)
@pytest.mark.parametrize("lfn", ["HITS.1", "log.1"])
def test_validate_notices_a_stream_with_other_events_than_the_rest(task, job, lfn, change, code):
    complete(task, job)
    path = task.outputs / lfn
    path.write_bytes(b"".join(change(path.read_bytes())))
    assert (code, lfn) in errors(task)
    assert {file for _, file in errors(task)} == {lfn, "jobReport.json"}


def test_validate_misses_a_stream_that_is_not_there(task, job):
    complete(task, job)
    (task.outputs / "log.2").unlink()
    assert ("output-missing", "log.2") in errors(task)
