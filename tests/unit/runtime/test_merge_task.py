"""Merging one output: exactly the committed members, in event order, each as it was measured."""

from __future__ import annotations

import errno
import os
import pickle
import shutil
import zlib
from dataclasses import replace

import numpy as np
import pytest
import uproot

from raythena.domain.errors import MergeError, StorageError
from raythena.domain.job import MergeSpec
from raythena.domain.results import ENTRY_DTYPE, GroupReport
from raythena.runtime import merge_task
from raythena.runtime.merge_task import MergeOrder, check_sample, merge_output, merge_place
from raythena.runtime.merger_interface import Merged, StoredMerger, merger_named
from raythena.runtime.scratch import scratch_directory
from raythena.storage import groups as storage_groups
from raythena.storage.groups import Member, write_group

GUID = "0B6C2D2E-6E0B-4E5C-8A4C-5B1B6A1C7D11"


@pytest.fixture
def task(tmp_path):
    (tmp_path / "task").mkdir()
    (tmp_path / "scratch").mkdir()
    return tmp_path


def content(index):
    return f"event {index}\n".encode()


def group_of(task, name, indices):
    """A group on disk and its report."""
    members = []
    for index in indices:
        source = task / f"{index}.out"
        source.write_bytes(content(index))
        members.append(Member(index, source))
    path = task / "task" / "staging" / f"{name}.zip"
    written = write_group(path, members)
    entries = np.zeros(len(indices), ENTRY_DTYPE)
    entries["range"], entries["size"], entries["adler32"] = written.indices, written.sizes, written.adlers
    return GroupReport(name, "n", 0, f"staging/{name}.zip", written.size_bytes, written.adler32, entries)


def order_of(task, groups, expected, kind="concat"):
    return MergeOrder(
        str(task / "task"),
        "s1",
        str(task / "scratch"),
        0,
        "OUT",
        "GUID",
        MergeSpec(kind),
        tuple(groups),
        expected,
        (),
        "outputs/.merging/x.OUT",
    )


def test_events_are_merged_in_their_order_whoever_stored_them(task):
    groups = [group_of(task, "a", [1, 4, 5]), group_of(task, "b", [0, 2, 3])]
    merged = merge_output(order_of(task, groups, 6))
    written = (task / "task" / merged.path).read_bytes()
    assert written == b"".join(content(index) for index in range(6))
    assert (merged.size_bytes, merged.adler32) == (len(written), zlib.adler32(written))
    assert (merged.n_events, merged.guid) == (6, "GUID")


class Reader:
    """A merger that takes outputs where they lie, and tells how it was called."""

    def __init__(self):
        self.calls = []

    def __call__(self, inputs, output, context):
        self.calls.append("files")
        output.write_bytes(b"".join(path.read_bytes() for path in inputs))

    def merge_stored(self, outputs, output, context):
        self.calls.append("stored")
        assert [path.name for path in context.directory.parent.iterdir()] == ["work"]
        output.write_bytes(b"".join(stored.read() for stored in outputs))


def test_a_merger_that_wants_no_files_reads_the_outputs_where_they_lie(task, monkeypatch):
    reader = Reader()
    monkeypatch.setattr(merge_task, "merger_named", lambda kind: reader)
    groups = [group_of(task, "a", [1, 3]), group_of(task, "b", [0, 2])]
    merged = merge_output(order_of(task, groups, 4))
    assert (task / "task" / merged.path).read_bytes() == b"".join(map(content, range(4)))
    monkeypatch.setattr(merge_task, "LARGEST_IN_MEMORY_BYTES", len(content(0)) - 1)
    merge_output(order_of(task, groups, 4))
    assert reader.calls == ["stored", "files"]


@pytest.mark.parametrize("kind", ["concat", "root"])
def test_the_mergers_for_many_small_events_want_no_files(kind):
    assert isinstance(merger_named(kind), StoredMerger)


def test_outputs_that_turn_out_to_be_lost_while_they_are_merged_are_all_named(task, monkeypatch):
    def spoil(self, outputs, output, context):
        path = task / "task" / groups[0].path
        path.write_bytes(path.read_bytes().replace(b"event 1", b"EVENT 1").replace(b"event 3", b"EVENT 3"))
        return Reader.merge_stored(reader, outputs, output, context)

    reader = Reader()
    monkeypatch.setattr(merge_task, "merger_named", lambda kind: type("Spoiling", (Reader,), {"merge_stored": spoil})())
    groups = [group_of(task, "a", [1, 3]), group_of(task, "b", [0, 2])]
    with pytest.raises(MergeError, match="2 stored outputs are lost, the first is of range 1") as problem:
        merge_output(order_of(task, groups, 4))
    assert problem.value.bad_ranges == (1, 3)


def test_a_merge_of_more_groups_than_may_be_open_at_a_time(task, monkeypatch):
    monkeypatch.setattr(storage_groups, "_MOST_OPEN", 2)
    groups = [group_of(task, f"g{first}", [first, first + 5]) for first in range(5)]
    merged = merge_output(order_of(task, groups, 10))
    assert (task / "task" / merged.path).read_bytes() == b"".join(map(content, range(10)))


def test_what_a_killed_merge_left_is_removed_by_the_next_attempt(task):
    scratch = task / "scratch"
    order = order_of(task, [group_of(task, "a", [0, 1])], 2)
    for output in (0, 1):
        with scratch_directory(str(scratch), order.task_directory, "s1", f"merge-{output}") as left:
            shutil.copytree(left, f"{left}-killed")  # stays, as the directory itself does after a kill
    merge_output(order)
    (other,) = scratch.iterdir()
    merge_output(replace(order, output=1))
    assert not other.exists()


def test_members_that_were_not_accepted_stay_out(task):
    group = group_of(task, "a", [0, 1, 2, 3])
    accepted = GroupReport(group.name, group.node, 0, group.path, group.size_bytes, group.adler32, group.entries[[0, 2]])
    merged = merge_output(order_of(task, [accepted], 2))
    assert (task / "task" / merged.path).read_bytes() == content(0) + content(2)


def test_an_altered_member_is_named_and_nothing_is_left(task):
    groups = [group_of(task, "a", [0, 1]), group_of(task, "b", [2, 3])]
    path = task / "task" / groups[1].path
    path.write_bytes(path.read_bytes().replace(b"event 3", b"EVENT 3"))
    with pytest.raises(MergeError) as problem:
        merge_output(order_of(task, groups, 4))
    assert problem.value.bad_ranges == (3,)
    assert not (task / "task" / "outputs" / ".merging" / "x.OUT").exists()


def test_a_missing_group_names_all_its_ranges(task):
    groups = [group_of(task, "a", [0, 1]), group_of(task, "b", [2, 3])]
    (task / "task" / groups[0].path).unlink()
    with pytest.raises(MergeError) as problem:
        merge_output(order_of(task, groups, 4))
    assert problem.value.bad_ranges == (0, 1)


def test_a_wrong_number_of_events_is_never_merged(task):
    with pytest.raises(MergeError, match="2 stored outputs where 3"):
        merge_output(order_of(task, [group_of(task, "a", [0, 1])], 3))
    group = group_of(task, "b", [0, 1])
    with pytest.raises(MergeError, match="expected"):
        merge_output(order_of(task, [group, group], 4))


@pytest.mark.parametrize(
    ("merger", "said"),
    [
        (lambda inputs, output, context: None, "wrote nothing"),
        (lambda inputs, output, context: output.write_bytes(b""), "wrote nothing"),
        (lambda inputs, output, context: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_a_merger_that_fails_is_named_and_leaves_nothing(task, monkeypatch, merger, said):
    monkeypatch.setattr(merge_task, "merger_named", lambda kind: merger)
    with pytest.raises(MergeError, match=said) as problem:
        merge_output(order_of(task, [group_of(task, "a", [0])], 1))
    assert problem.value.bad_ranges == ()
    assert list((task / "scratch").iterdir()) == []
    assert not (task / "task" / "outputs" / ".merging" / "x.OUT").exists()


def no_space(inputs, output, context):
    output.write_bytes(b"half")
    try:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as problem:
        raise MergeError("the merger's own words") from problem


def test_a_full_disk_is_not_the_mergers_fault(task, monkeypatch):
    monkeypatch.setattr(merge_task, "merger_named", lambda kind: no_space)
    with pytest.raises(StorageError, match="own words"):
        merge_output(order_of(task, [group_of(task, "a", [0])], 1))
    assert not (task / "task" / "outputs" / ".merging" / "x.OUT").exists()


def test_a_full_disk_that_the_merger_does_not_speak_of_is_found(task, monkeypatch):
    monkeypatch.setattr(merge_task, "merger_named", lambda kind: lambda inputs, output, context: None)
    monkeypatch.setattr(merge_task, "refusal", lambda directory: "no space left")
    with pytest.raises(StorageError, match="no space left"):
        merge_output(order_of(task, [group_of(task, "a", [0])], 1))


def test_a_merger_is_told_what_is_expected_and_where_it_may_work_and_log(task, monkeypatch):
    seen = []

    def merger(inputs, output, context):
        seen.append((context.expected, list(context.directory.iterdir()), context.log.parent.is_dir()))
        context.log.with_name(context.log.name + ".log").write_text("story")
        output.write_bytes(b"x")

    monkeypatch.setattr(merge_task, "merger_named", lambda kind: merger)
    merged = merge_output(order_of(task, [group_of(task, "a", [0, 1])], 2))
    assert seen == [(2, [], True)]
    assert merged.guid == "GUID"
    (log,) = (task / "task" / "logs").glob("*/merges/*.log")
    assert log.read_text() == "story"
    assert list((task / "scratch").iterdir()) == []


def test_the_guid_a_merger_found_inside_the_file_counts(task, monkeypatch):
    def merger(inputs, output, context):
        output.write_bytes(b"x")
        return Merged("INSIDE", 1)

    monkeypatch.setattr(merge_task, "merger_named", lambda kind: merger)
    assert merge_output(order_of(task, [group_of(task, "a", [0])], 1)).guid == "INSIDE"
    with pytest.raises(MergeError, match="holds 1 events, expected 2"):
        merge_output(order_of(task, [group_of(task, "b", [0, 1])], 2))


def test_a_merge_is_tried_again_on_another_node(task):
    order = order_of(task, [], 0)
    nodes = ["c", "here", "a", "b"]
    assert merge_place(order, "here", nodes) == "here"
    again = [merge_place(replace(order, attempt=attempt), "here", nodes) for attempt in (2, 3)]
    assert len(set(again)) == 2
    assert "here" not in again
    assert merge_place(replace(order, attempt=2), "here", ["here"]) == "here"


def root_group_of(task, entries, **trees):
    """A group of outputs that are ROOT files, one for each item of `entries`, with so many entries."""
    members = []
    for index, count in enumerate(entries):
        with uproot.recreate(task / f"{index}.root") as file:
            for tree, entry_count in ({"HITS": count} | trees).items():
                file.mktree(tree, {"EventNumber": "int64"}).extend({"EventNumber": np.arange(entry_count)})
        members.append(Member(index, task / f"{index}.root"))
    written = write_group(task / "task" / "staging" / "r.zip", members)
    report = np.zeros(len(members), ENTRY_DTYPE)
    report["range"], report["size"], report["adler32"] = written.indices, written.sizes, written.adlers
    return GroupReport("r", "n", 0, "staging/r.zip", written.size_bytes, written.adler32, report)


def test_outputs_without_an_event_or_with_two_are_charged_and_nothing_is_merged(task):
    order = order_of(task, [root_group_of(task, [1, 2, 1, 0, 1])], 5, "root")
    with pytest.raises(MergeError, match="outputs of 2 of 5 events cannot be merged, the first is that of range 1") as problem:
        merge_output(replace(order, guid=GUID))
    assert dict(zip(problem.value.bad_ranges, problem.value.reasons, strict=True)) == {
        1: "tree 'HITS' has 2 entries, where one event has 1",
        3: "tree 'HITS' has 0 entries, where one event has 1",
    }
    assert not (task / "task" / order.temporary).exists()


def test_a_mergers_accusation_crosses_processes(task):
    with pytest.raises(MergeError) as problem:
        merge_output(replace(order_of(task, [root_group_of(task, [2, 1])], 2, "root"), guid=GUID))
    assert pickle.loads(pickle.dumps(problem.value)).reasons == problem.value.reasons != ()


@pytest.mark.parametrize("count", [0, 2, 4])
def test_whoever_wrote_it_a_root_file_with_another_number_of_events_is_not_committed(task, monkeypatch, count):
    def merger(inputs, output, context):
        with uproot.recreate(output) as file:
            file.mktree("reco/HITS", {"x": "int64"}).extend({"x": np.arange(count)})

    monkeypatch.setattr(merge_task, "merger_named", lambda kind: merger)
    with pytest.raises(MergeError, match=f"the merged file holds {count} events, expected 3"):
        merge_output(order_of(task, [group_of(task, "a", [0, 1, 2])], 3))


def test_what_is_written_beside_events_is_no_wrong_number_of_events(task, monkeypatch):
    def merger(inputs, output, context):
        with uproot.recreate(output) as file:
            file.mktree("summary", {"EventNumber": "int64"}).extend({"EventNumber": [1]})

    monkeypatch.setattr(merge_task, "merger_named", lambda kind: merger)
    assert merge_output(order_of(task, [group_of(task, "a", [0, 1, 2])], 3)).n_events == 3


def test_rows_that_are_no_events_are_not_counted_where_the_job_says_so(task):
    order = replace(order_of(task, [root_group_of(task, [3, 0, 2])], 3, "root"), guid=GUID)
    with pytest.raises(MergeError):
        merge_output(order)
    merged = merge_output(replace(order, spec=MergeSpec("root", {"tree": "none"})))
    assert merged.n_events == 3
    with uproot.open(task / "task" / merged.path) as file:
        assert file["HITS"].num_entries == 5


def test_a_merger_that_left_half_a_root_file_is_refused(task, monkeypatch):
    def merger(inputs, output, context):
        output.write_bytes(b"root" + bytes(60))

    monkeypatch.setattr(merge_task, "merger_named", lambda kind: merger)
    with pytest.raises(MergeError, match="the merged file is a damaged ROOT file"):
        merge_output(order_of(task, [group_of(task, "a", [0])], 1))


def test_a_sample_is_shown_to_the_merger_that_wants_one(task):
    order = replace(order_of(task, [root_group_of(task, [1])], 1, "root"), guid=GUID)
    check_sample(order)
    check_sample(replace(order, spec=MergeSpec("python")))  # has no use for samples
    with pytest.raises(MergeError, match="ROOT files one behind the other are no ROOT file") as problem:
        check_sample(replace(order, spec=MergeSpec("concat")))
    assert problem.value.bad_ranges == ()
    with pytest.raises(MergeError, match="tree 'HITS' has 2 entries") as problem:
        check_sample(replace(order, groups=(root_group_of(task, [2]),)))
    assert problem.value.bad_ranges == (0,)
    assert list((task / "scratch").iterdir()) == []
