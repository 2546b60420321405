"""Inputs that another task makes while the job runs: when their events may be computed, which are given up, when waiting ends."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raythena.domain.ranges import RangeState
from raythena.domain.records import AttemptFailed, Restored
from raythena.domain.results import FailureKind
from raythena.domain.taxonomy import EndCause
from raythena.domain.upstream import InputTaken, TakenFiles, Upstream, taken_path
from raythena.engine import commands as do
from raythena.engine import events as ev
from raythena.engine.engine import Engine
from raythena.engine.engine_config import EngineConfig
from raythena.engine.invariants import check
from raythena.testing.simulation.samples import small_job

NOBODY = np.empty(0, dtype=np.int64)
CONFIG = EngineConfig(upstream_patience_s=30.0)
JOB = replace(small_job((6, 6), 4), upstream=Upstream("/first", "f" * 64, "first")).kept_in("/second")


def made(number: int, missing: tuple[int, ...] = (), guid: str = "") -> InputTaken:
    n_events = 6 - len(missing)
    return InputTaken(number, f"EVNT.{number}.root", guid or f"GUID{number}", 100, 1, n_events, missing)


class Bench:
    """An engine whose records are committed at once, unless told otherwise."""

    def __init__(self, restored: Restored | None = None) -> None:
        self.engine = Engine(JOB, restored, CONFIG)
        self.records = []
        self.tickets = []
        self.leased = []
        self.commits = True

    def tell(self, event: ev.Event, now: float = 0.0) -> list[do.Command]:
        commands = self.engine.step(event, now)
        for command in commands:
            if isinstance(command, do.Commit):
                self.records.append(command.record)
                self.tickets.append(command.ticket)
            elif isinstance(command, do.Lease):
                self.leased += command.ranges.tolist()
        while self.commits and self.tickets:
            commands += self.tell(ev.Committed((self.tickets.pop(0),)), now)
        check(self.engine)
        return commands

    def counts(self) -> dict[str, int]:
        return {state.name: self.engine.table.count(state) for state in RangeState if self.engine.table.count(state)}


def test_nothing_is_leased_before_an_input_is_there():
    bench = Bench()
    bench.tell(ev.NodeJoined(node="n1", cores=4))
    assert bench.counts() == {"AWAITED": 12}
    assert bench.engine.completion.may_grow
    bench.tell(ev.InputMade(made(1)))
    bench.tell(ev.NodeReport(node="n1", queued=0, running=()))
    assert set(bench.leased) <= set(range(6, 12))
    assert bench.leased
    assert bench.records == [made(1)]


def test_an_input_counts_once_the_ledger_has_it():
    bench = Bench()
    bench.commits = False
    bench.tell(ev.InputMade(made(0)))
    bench.tell(ev.InputMade(made(0)))
    assert bench.counts() == {"AWAITED": 12}
    assert len(bench.records) == 1, "told twice, taken once"
    bench.commits = True
    bench.tell(ev.Tick())
    assert bench.counts() == {"AWAITED": 6, "READY": 6}


def test_what_an_input_lacks_is_given_up_without_an_attempt():
    bench = Bench()
    bench.tell(ev.InputMade(made(0, missing=(1, 4))))
    failures = [record for record in bench.records if isinstance(record, AttemptFailed)]
    assert [(each.range_index, each.kind, each.final, each.attempt) for each in failures] == [
        (1, FailureKind.UPSTREAM, True, 0),
        (4, FailureKind.UPSTREAM, True, 0),
    ]
    assert "first" in failures[0].message
    table = bench.engine.table
    assert [(each.first_event, each.range_id) for each in table.event_ranges(np.array([0, 2, 3, 5]))] == [
        (1, "EVNT.0.root-1"),
        (2, "EVNT.0.root-3"),
        (3, "EVNT.0.root-4"),
        (4, "EVNT.0.root-6"),
    ]
    assert table.event_range(0).pfn == "/second/inputs/GUID0/EVNT.0.root"
    assert table.event_range(0).guid == "GUID0"


def test_a_whole_output_may_be_withheld():
    bench = Bench()
    bench.tell(ev.InputWithheld(0))
    bench.tell(ev.InputWithheld(0))
    assert bench.counts() == {"AWAITED": 6, "FAILED": 6}


def test_events_given_up_upstream_are_no_sign_of_trouble_here():
    bench = Bench()
    bench.tell(ev.InputWithheld(0))
    assert bench.engine.budget.failed_events == 0


def test_a_job_whose_events_were_all_given_up_upstream_ends():
    bench = Bench()
    bench.tell(ev.InputWithheld(0))
    bench.tell(ev.InputWithheld(1))
    bench.tell(ev.Tick(), 1.0)
    assert bench.engine.finished.outcome is do.Outcome.INCOMPLETE


def test_who_works_is_waited_for_for_ever():
    bench = Bench()
    for now in range(0, 100_000, 1000):
        bench.tell(ev.UpstreamSeen(), float(now))
        bench.tell(ev.Tick(), float(now))
    assert bench.engine.finished is None


def test_a_task_that_does_not_go_on_is_waited_for_a_while():
    bench = Bench()
    bench.tell(ev.UpstreamSeen("first is not finished"), 10.0)
    bench.tell(ev.Tick(), 39.0)
    assert bench.engine.stopping is None
    bench.tell(ev.UpstreamSeen("first is not finished"), 40.0)
    bench.tell(ev.Tick(), 41.0)
    finished = bench.engine.finished
    assert (finished.outcome, finished.cause, finished.reason) == (
        do.Outcome.STOPPED,
        EndCause.UPSTREAM_UNFINISHED,
        "first is not finished",
    )


def test_patience_begins_anew_when_somebody_has_worked_in_between():
    bench = Bench()
    bench.tell(ev.UpstreamSeen("unfinished"), 0.0)
    bench.tell(ev.UpstreamSeen(), 20.0)
    bench.tell(ev.UpstreamSeen("unfinished"), 25.0)
    bench.tell(ev.Tick(), 50.0)
    assert bench.engine.stopping is None


def test_what_is_there_is_computed_first():
    bench = Bench()
    bench.tell(ev.InputMade(made(0)))
    bench.tell(ev.UpstreamSeen("unfinished"), 0.0)
    bench.tell(ev.Tick(), 200.0)
    assert bench.engine.stopping is None, "six events can be computed"


def test_a_later_coordinator_knows_the_inputs():
    bench = Bench(Restored(inputs=(made(0, missing=(3,)),), failed=np.array([3])))
    assert bench.counts() == {"AWAITED": 6, "READY": 5, "FAILED": 1}
    assert bench.engine.table.event_range(4).first_event == 4
    bench.tell(ev.InputMade(made(0, missing=(3,))))
    assert bench.records == [], "it is known already"


def test_a_file_of_more_events_brings_those_that_were_reopened():
    old = made(0, missing=(1, 3))
    bench = Bench(Restored(inputs=(old,), failed=np.array([3])))
    assert bench.counts() == {"AWAITED": 7, "READY": 4, "FAILED": 1}
    bench.tell(ev.InputMade(made(0, missing=(), guid="NEW")))
    assert bench.counts() == {"AWAITED": 6, "READY": 5, "FAILED": 1}
    told = {index: bench.engine.table.event_range(index) for index in (0, 1, 4)}
    assert {index: (each.guid, each.first_event) for index, each in told.items()} == {
        0: ("GUID0", 1),
        1: ("NEW", 2),
        4: ("GUID0", 3),
    }


def test_events_that_are_still_missing_are_given_up_again():
    bench = Bench(Restored(inputs=(made(0, missing=(1,)),)))
    assert bench.engine.table.state[1] == RangeState.AWAITED, "somebody had it tried again"
    bench.tell(ev.InputMade(made(0, missing=(1,))))
    assert bench.engine.table.state[1] == RangeState.FAILED


def test_a_node_is_told_what_its_ranges_are():
    assert Bench().engine.table.is_told
    assert not Engine(small_job((6, 6), 4)).table.is_told


@given(st.lists(st.sets(st.integers(0, 19)), min_size=1, max_size=4))
def test_an_event_is_where_counting_finds_it(lacking):
    """Against the plain way: write down what each file holds, and look."""
    files = [InputTaken(0, "a", f"G{n}", 1, 1, 20 - len(each), tuple(sorted(each))) for n, each in enumerate(lacking)]
    contents = {file.guid: [index for index in range(20) if index not in file.missing] for file in files}
    taken = TakenFiles(files)
    for index in range(20):
        found = taken.holding(0, index, 0)
        first = next((file for file in files if index in contents[file.guid]), None)
        if first is None:
            assert found is None
        else:
            assert found == (first, contents[first.guid].index(index) + 1)


@pytest.mark.parametrize("pfn", ["/task/inputs/HITS.1.root"])
def test_a_file_lies_in_a_directory_of_its_guid(pfn):
    assert taken_path(pfn, "GUID") == "/task/inputs/GUID/HITS.1.root"
