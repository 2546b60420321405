"""What is committed is remembered, once, and told truthfully afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ledger_kit import contents, failed, files_below, job, merged, ranges_of, retracted, stored

from raythena.domain.errors import InternalError, LedgerBusy, LedgerCorrupt, LedgerError
from raythena.domain.records import RangesReopened
from raythena.domain.results import ENTRY_DTYPE, FailureKind
from raythena.storage.ledger import MAX_MESSAGE_CHARACTERS, Ledger, SessionInfo

SESSION = SessionInfo("s-1", "login1", 4711, 1000.0, "batch-9", "0.1")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "task" / "ledger.sqlite"


@pytest.fixture
def ledger(path: Path):
    path.parent.mkdir()
    with Ledger.create(path, job()) as ledger:
        ledger.begin_session(SESSION)
        yield ledger


def reopened(ledger: Ledger) -> Ledger:
    ledger.close()
    return Ledger.open(ledger.path, job())


def test_a_new_ledger_remembers_nothing_but_its_job(ledger: Ledger) -> None:
    assert contents(ledger.restore()) == ([], (), [], (), ())
    assert (ledger.job_name, ledger.n_ranges, ledger.fingerprint) == ("study", 100, job().fingerprint())


def test_what_was_committed_is_there_after_reopening(ledger: Ledger) -> None:
    ledger.commit([stored("a", [3, 1]), stored("b", [60], output=1), failed(5), failed(5, 2), failed(7, 3, final=True)])
    with reopened(ledger) as again:
        restored = again.restore()
    assert ranges_of(restored) == [1, 3, 60]
    first = restored.groups[0]
    assert first.entries.dtype == ENTRY_DTYPE
    assert (first.entries == stored("a", [3, 1]).group.entries).all()
    assert (first.name, first.node, first.output, first.path, first.size_bytes, first.adler32) == (
        "a",
        "node1",
        0,
        "staging/a.zip",
        5000,
        77,
    )
    assert restored.failed.tolist() == [7]
    assert restored.attempts == ((5, 2),)


def test_how_often_an_event_went_down_with_its_node_is_remembered_until_it_is_given_up(ledger: Ledger) -> None:
    lost = FailureKind.NODE_LOST
    ledger.commit([failed(5), failed(6, 0, kind=lost), failed(5, 1, kind=lost), failed(7, 0, kind=lost), failed(6, 0, kind=lost)])
    ledger.commit([failed(7, 0, kind=lost, final=True)])
    with reopened(ledger) as again:
        restored = again.restore()
    assert restored.losses == ((5, 1), (6, 2))
    assert restored.attempts == ((5, 1), (6, 0))


def test_groups_of_a_merged_output_are_not_restored_but_their_events_stay_known(ledger: Ledger) -> None:
    ledger.commit([stored("a", [0, 1]), stored("b", [60], output=1)])
    ledger.commit([merged(0, n_events=2, groups=("a",))])
    with reopened(ledger) as again:
        restored = again.restore()
        known = np.concatenate([chunk.events for chunk in again.iter_events()])
    assert [group.name for group in restored.groups] == ["b"]
    assert restored.merged == (merged(0, n_events=2).merged,)
    assert known["range"].tolist() == [0, 1, 60]


def test_retracted_ranges_do_not_count_and_may_be_stored_again(ledger: Ledger) -> None:
    ledger.commit([stored("a", [1, 2, 3]), stored("b", [4])])
    ledger.commit([retracted("a", 1, 3), retracted("b", 4), failed(1), failed(3, 3, final=True)])
    ledger.commit([stored("c", [1])])
    with reopened(ledger) as again:
        restored = again.restore()
        assert ranges_of(restored) == [1, 2]
        assert [group.name for group in restored.groups] == ["a", "b", "c"]
        assert sorted(np.concatenate([chunk.events["range"] for chunk in again.iter_events()])) == [1, 2]
        with pytest.raises(InternalError, match="range 3 "):
            again.commit([stored("d", [3])])


def test_a_group_stored_and_partly_retracted_in_one_commit(ledger: Ledger) -> None:
    ledger.commit([stored("a", [1, 2]), retracted("a", 1), stored("b", [1])])
    assert [(group.name, group.entries["range"].tolist()) for group in ledger.restore().groups] == [("a", [2]), ("b", [1])]


CONTRADICTIONS = {
    "a range stored twice": ([stored("b", [9, 1])], "range 1 "),
    "a range twice in a group": ([stored("b", [8, 9, 8])], "twice"),
    "a range beyond the job": ([stored("b", [100])], "range 100 "),
    "a group without entries": ([stored("b", [])], "entries"),
    "the same group name": ([stored("a", [9])], "group a was committed before"),
    "a stored range given up": ([failed(1, final=True)], "range 1 "),
    "a range given up twice": ([failed(7, final=True)], "range 7 "),
    "a failed range stored": ([stored("b", [7])], "range 7 "),
    "a failure beyond the job": ([failed(100)], "range 100 "),
    "a failure before the job": ([failed(-1)], "range -1 "),
    "an output merged twice": ([merged(1)], "output 1 was merged before"),
    "an output merged anew with fewer events": ([merged(1, missing=(60,))], "output 1 was merged before"),
    "new attempts at what is not given up": ([RangesReopened((1,))], "range 1 "),
    "new attempts at what is given up twice": ([RangesReopened((7, 7))], "range 7 "),
    "new attempts beyond the job": ([RangesReopened((100,))], "range 100 "),
    "a retraction of what is not stored": ([retracted("a", 50)], "range 50 "),
    "a retraction of a failed range": ([retracted("a", 7)], "range 7 "),
    "a retraction from an unknown group": ([retracted("nobody", 1)], "nobody"),
    "twice within one commit": ([stored("b", [9]), stored("c", [9])], "range 9 "),
    "something that is no record": (["a string"], "str"),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_a_contradiction_is_refused_and_changes_nothing(ledger: Ledger, name: str) -> None:
    records, complaint = CONTRADICTIONS[name]
    ledger.commit([stored("a", [1]), failed(7, final=True), merged(1)])
    before = contents(ledger.restore())
    with pytest.raises(InternalError, match=complaint):
        ledger.commit([stored("innocent", [20, 21]), *records])
    assert contents(ledger.restore()) == before
    ledger.commit([stored("innocent", [20, 21])])
    with reopened(ledger) as again:
        assert ranges_of(again.restore()) == [1, 20, 21]


def test_rules_hold_across_reopening(ledger: Ledger) -> None:
    ledger.commit([stored("a", [1]), failed(7, final=True)])
    with reopened(ledger) as again:
        for records in ([stored("b", [1])], [stored("b", [7])], [stored("a", [2])]):
            with pytest.raises(InternalError):
                again.commit(records)


@pytest.mark.parametrize("message", ["\udce4 not unicode", "a \0 zero", "x" * 100_000, ""])
def test_any_message_of_a_payload_can_be_stored(ledger: Ledger, message: str) -> None:
    ledger.commit([failed(1, message=message)])
    with reopened(ledger) as again:
        (record,) = again.failures()
    assert len(record.message) < MAX_MESSAGE_CHARACTERS + 100
    assert record.kind is FailureKind.CRASH
    if message.isprintable():
        assert record.message[:100] == message[:100]


def test_summary_counts_what_was_done(ledger: Ledger) -> None:
    ledger.commit([stored("a", [0, 1], start=1000.0), stored("b", [2], node="node2"), failed(3), failed(3, 2, final=True)])
    ledger.end_session("stopped", 2000.0)
    with reopened(ledger) as again:
        again.begin_session(SessionInfo("s-2", "login2", 5, 3000.0))
        again.commit([stored("c", [4], start=5000.0), merged(0, n_events=4)])
        summary = again.summary()
    assert (summary.events, summary.failed, summary.groups) == (4, 1, 3)
    assert (summary.outputs_merged, summary.events_merged) == (1, 4)
    assert (summary.cpu_s, summary.wall_s, summary.event_bytes) == (2.0, 8.0, 4007)
    assert summary.attempts_failed == {"crash": 2}
    assert [(part.session, part.node, part.events) for part in summary.nodes] == [
        (1, "node1", 2),
        (1, "node2", 1),
        (2, "node1", 1),
    ]
    assert (summary.nodes[0].first_start, summary.nodes[0].last_end) == (1000.0, 1003.0)
    assert [(session.name, session.ended_at, session.verdict) for session in summary.sessions] == [
        ("s-1", 2000.0, "stopped"),
        ("s-2", None, ""),
    ]
    assert summary.sessions[0].batch_job == "batch-9"


def test_events_come_in_bounded_chunks_with_node_and_session(ledger: Ledger) -> None:
    ledger.commit([stored(f"g{index}", [index], node=f"node{index % 3}", output=index % 2) for index in range(10)])
    chunks = list(ledger.iter_events(chunk_events=4))
    assert [len(chunk.events) for chunk in chunks] == [4, 4, 2]
    for chunk in chunks:
        for event in chunk.events:
            assert chunk.nodes[event["node"]] == f"node{event['range'] % 3}"
            assert (event["output"], event["session"], event["size"]) == (event["range"] % 2, 1, 1000 + event["range"])


def test_groups_are_found_by_name(ledger: Ledger) -> None:
    ledger.commit([stored("a", [1, 2]), stored("b", [3]), retracted("a", 1)])
    assert [(group.name, group.entries["range"].tolist()) for group in ledger.groups_named(["b", "a"])] == [
        ("b", [3]),
        ("a", [2]),
    ]
    with pytest.raises(InternalError, match="nobody"):
        ledger.groups_named(["nobody"])


def test_a_closed_ledger_is_one_file(ledger: Ledger) -> None:
    ledger.commit([stored("a", [1])])
    assert sorted(files_below(ledger.path.parent)) == ["ledger.sqlite", "ledger.sqlite-wal"]
    ledger.close()
    ledger.close()
    assert sorted(files_below(ledger.path.parent)) == ["ledger.sqlite"]


def test_a_ledger_is_not_created_over_anything(path: Path) -> None:
    path.parent.mkdir()
    for existing in (path, path.with_name("ledger.sqlite-wal")):
        existing.write_bytes(b"precious")
        before = files_below(path.parent)
        with pytest.raises(LedgerError, match=existing.name):
            Ledger.create(path, job())
        assert files_below(path.parent) == before
        existing.unlink()


def test_opening_what_is_not_there(path: Path) -> None:
    with pytest.raises(LedgerError, match="there is no ledger"):
        Ledger.open(path, job())
    with pytest.raises(LedgerError, match="there is no ledger"):
        Ledger.read(path)


def in_another_process(program: str, *arguments: object, scratch: Path) -> subprocess.CompletedProcess[str]:
    scratch.mkdir()
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        env={**os.environ, "TMPDIR": str(scratch)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_reading_while_it_is_written_leaves_no_trace(ledger: Ledger, tmp_path: Path) -> None:
    """From another process, as it is in life: a copy is read, the writer goes on."""
    ledger.commit([stored("a", [1, 2])])
    before = files_below(ledger.path.parent)
    reader = in_another_process(
        """if True:
            import sys, pathlib
            from raythena.storage.ledger import Ledger
            with Ledger.read(pathlib.Path(sys.argv[1])) as view:
                print(view.summary().events)
        """,
        ledger.path,
        scratch=tmp_path / "scratch",
    )
    assert reader.stdout == "2\n", reader.stderr
    assert files_below(ledger.path.parent) == before
    ledger.commit([stored("b", [3])])
    assert not list((tmp_path / "scratch").iterdir())


def test_a_view_of_a_closed_ledger_cannot_change_it(ledger: Ledger) -> None:
    ledger.commit([stored("a", [1, 2])])
    ledger.close()
    before = files_below(ledger.path.parent)
    with Ledger.read(ledger.path) as view:
        assert ranges_of(view.restore()) == [1, 2]
        assert sum(1 for _ in view.groups()) == 1
    assert files_below(ledger.path.parent) == before


def test_a_second_writer_in_another_process_is_refused(ledger: Ledger, tmp_path: Path) -> None:
    ledger.commit([stored("a", [1])])
    second = in_another_process(
        """if True:
            import sys, pathlib
            from raythena.storage.ledger import Ledger
            Ledger.open(pathlib.Path(sys.argv[1]), sys.argv[2])
        """,
        ledger.path,
        job().fingerprint(),
        scratch=tmp_path / "scratch",
    )
    assert second.returncode != 0
    assert "LedgerBusy" in second.stderr
    ledger.commit([stored("b", [2])])
    with reopened(ledger) as again:
        assert ranges_of(again.restore()) == [1, 2]


def test_a_second_writer_in_the_same_process_is_refused(ledger: Ledger) -> None:
    with pytest.raises(LedgerBusy):
        Ledger.open(ledger.path, job())
    ledger.commit([stored("b", [2])])


def test_a_removed_journal_is_missed(ledger: Ledger) -> None:
    """Deleting what looks like a temporary file loses commits: that must not pass as a shorter history."""
    ledger.commit([stored("a", [1])])
    copy = ledger.path.parent.parent / "copy.sqlite"
    copy.write_bytes(ledger.path.read_bytes())
    for opening in (lambda: Ledger.open(copy, job()), lambda: Ledger.read(copy)):
        with pytest.raises(LedgerCorrupt, match=r"copy\.sqlite-wal"):
            opening()


def test_a_forgotten_ledger_is_closed_in_peace(ledger: Ledger, tmp_path: Path) -> None:
    """Left to itself, SQLite would fold the journal in and leave the mark that there is one."""
    ledger.close()
    for program in ("", "del ledger", "raise SystemExit(3)", "1 / 0"):
        in_another_process(
            f"""if True:
                import sys, pathlib
                from raythena.storage.ledger import Ledger
                ledger = Ledger.open(pathlib.Path(sys.argv[1]), sys.argv[2])
                {program}
            """,
            ledger.path,
            job().fingerprint(),
            scratch=tmp_path / f"scratch-{len(program)}",
        )
        assert sorted(files_below(ledger.path.parent)) == ["ledger.sqlite"]
        with Ledger.open(ledger.path, job()) as again:
            assert contents(again.restore()) == ([], (), [], (), ())


def test_a_fork_does_not_end_its_parents_ledger(ledger: Ledger) -> None:
    ledger.commit([stored("a", [1])])
    child = os.fork()
    if child == 0:
        ledger.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    ledger.commit([stored("b", [2])])
    with reopened(ledger) as again:
        assert ranges_of(again.restore()) == [1, 2]


def test_a_ledger_that_cannot_be_closed_can_be_recovered(ledger: Ledger, tmp_path: Path) -> None:
    ended = in_another_process(
        """if True:
            import pathlib, resource, sys
            sys.path.insert(0, sys.argv[3])
            from ledger_kit import job, stored
            from raythena.domain.errors import StorageError
            from raythena.storage.ledger import Ledger
            ledger = Ledger.create(pathlib.Path(sys.argv[1]), job())
            ledger.commit([stored("a", [1])])
            resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
            try:
                ledger.close()
            except StorageError:
                print("refused")
        """,
        tmp_path / "other.sqlite",
        "",
        Path(__file__).parent,
        scratch=tmp_path / "scratch",
    )
    assert ended.stdout == "refused\n", ended.stderr
    assert (tmp_path / "other.sqlite-wal").exists()
    with Ledger.open(tmp_path / "other.sqlite", job()) as again:
        assert ranges_of(again.restore()) == [1]


# ---- events that were given up, and are tried again


def begin(ledger: Ledger, name: str, *indices: int) -> None:
    ledger.begin_session(SessionInfo(name, "host", 1, 1.0), RangesReopened(indices) if indices else None)


def test_what_is_reopened_begins_anew_and_its_failures_stay_on_record(ledger: Ledger) -> None:
    begin(ledger, "first")
    lost = FailureKind.NODE_LOST
    ledger.commit([failed(7, 1), failed(7, 2, kind=lost), failed(7, 3, final=True), failed(8, 1, final=True)])
    begin(ledger, "second", 7)
    with reopened(ledger) as again:
        restored = again.restore()
        assert restored.failed.tolist() == [8]
        assert (restored.attempts, restored.losses) == ((), ())
        assert [failure.range_index for failure in again.failures()] == [7, 7, 7, 8]
        assert [failure.range_index for failure in again.given_up()] == [8]
        assert again.summary().failed == 1


def test_what_fails_again_is_given_up_again_and_may_be_reopened_again(ledger: Ledger) -> None:
    begin(ledger, "first")
    ledger.commit([failed(7, 3, final=True)])
    begin(ledger, "second", 7)
    ledger.commit([failed(7, 1), failed(7, 2, final=True, message="still broken")])
    assert ledger.restore().failed.tolist() == [7]
    assert [failure.message for failure in ledger.given_up()] == ["still broken"]
    begin(ledger, "third", 7)
    ledger.commit([failed(7, 1), stored("late", [7])])
    with reopened(ledger) as again:
        assert again.restore().failed.tolist() == []
        assert again.restore().attempts == ((7, 1),)
        assert ranges_of(again.restore()) == [7]


def test_a_session_that_cannot_reopen_does_not_begin(ledger: Ledger) -> None:
    begin(ledger, "first")
    with pytest.raises(InternalError, match="not given up"):
        begin(ledger, "second", 5)
    assert [session.name for session in ledger.sessions()][-1] == "first"
    assert ledger.session == len(ledger.sessions())


def test_a_file_that_holds_more_events_succeeds_the_one_before(ledger: Ledger) -> None:
    begin(ledger, "first")
    ledger.commit([stored("a", [0, 1]), failed(2, final=True), failed(3, final=True)])
    ledger.commit([merged(0, missing=(2, 3), n_events=48, groups=("a",))])
    assert [group.name for group in ledger.restore().groups] == ["a"], "what it was made from is needed again"
    begin(ledger, "second", 2, 3)
    ledger.commit([stored("b", [2]), failed(3, final=True), merged(0, missing=(3,), n_events=49, groups=("a", "b"))])
    with reopened(ledger) as again:
        assert [output.n_events for output in again.outputs()] == [49]
        assert (again.summary().outputs_merged, again.summary().events_merged) == (1, 49)
        with pytest.raises(InternalError, match="merged before"):
            again.commit([merged(0, missing=(2,), n_events=49)])
        begin(again, "third", 3)
        again.commit([stored("c", [3]), merged(0, n_events=50, groups=("a", "b", "c"))])
        assert [group.name for group in again.restore().groups] == []


def test_the_gateway_of_a_session_is_remembered(ledger: Ledger) -> None:
    ledger.begin_session(SessionInfo("told", "host", 1, 1.0, gateway="harvester"))
    with reopened(ledger) as again:
        assert [session.gateway for session in again.sessions()][-1] == "harvester"
