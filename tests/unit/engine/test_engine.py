"""The engine, one behaviour at a time: events in, commands out."""

from __future__ import annotations

import numpy as np
import pytest

from raythena.domain.errors import InternalError
from raythena.domain.ranges import RangeState
from raythena.domain.records import AttemptFailed, RangesReopened
from raythena.domain.results import FailureKind, RangeFailure
from raythena.engine import commands as do
from raythena.engine import events as ev
from raythena.engine.engine import Engine
from raythena.engine.engine_config import EngineConfig
from raythena.engine.invariants import check
from raythena.engine.merge_planner import OutputState
from raythena.testing.simulation.memory_ledger import MemoryLedger
from raythena.testing.simulation.samples import group_of, merged_of, small_job


class Driver:
    """Feeds an engine, commits when told to, remembers every command."""

    def __init__(self, events=(8,), per_output=4, ledger=None, **config):
        self.job = small_job(events, per_output)
        self.ledger = ledger or MemoryLedger()
        self.engine = Engine(self.job, self.ledger.restore(), EngineConfig(**config))
        self.now = 0.0
        self.commits = []
        self.log = []

    def tell(self, event, after_s=0.01):
        self.now += after_s
        commands = self.engine.step(event, self.now)
        check(self.engine)
        self.commits += [command for command in commands if isinstance(command, do.Commit)]
        self.log += commands
        return commands

    def join(self, node="a", cores=1, held=()):
        return self.tell(ev.NodeJoined(node=node, cores=cores, held=np.asarray(held, dtype=np.int64)))

    def report(self, node="a", queued=0, running=(), after_s=0.3):
        return self.tell(ev.NodeReport(node=node, queued=queued, running=tuple((index, 1.0) for index in running)), after_s)

    def group(self, name, ranges, node="a", output=0):
        return self.tell(ev.GroupReported(group_of(name, node, output, ranges)))

    def fail(self, index, node="a", kind=FailureKind.REPORTED):
        return self.tell(ev.AttemptReported(RangeFailure(index, kind, "no", node)))

    def commit(self):
        commits, self.commits = self.commits, []
        self.ledger.commit([commit.record for commit in commits])
        return self.tell(ev.Committed(tuple(commit.ticket for commit in commits)))

    def state(self, index):
        return RangeState(int(self.engine.table.state[index]))


def only(kind, commands):
    return [command for command in commands if isinstance(command, kind)]


def leased(commands):
    return {lease.node: lease.ranges.tolist() for lease in only(do.Lease, commands)}


def ends(commands):
    return [(finish.outcome, finish.reason) for finish in only(do.Finish, commands)]


def test_a_job_from_beginning_to_end():
    it = Driver((4,), 4)
    it.join(cores=4)
    assert leased(it.report()) == {"a": [0, 1, 2, 3]}
    assert it.group("g", [0, 1, 2, 3])[0].record.group.name == "g"
    commands = it.commit()
    assert only(do.Acknowledge, commands) == [do.Acknowledge(node="a", group="g")]
    (merge,) = only(do.StartMerge, commands)
    assert (merge.groups, merge.expected, merge.missing) == (("g",), 4, ())
    it.tell(ev.MergeSucceeded(merge=merge.merge, merged=merged_of(it.job, 0, 4)))
    commands = it.commit()
    assert commands[0] == do.DiscardGroups(("g",))
    assert ends(commands) == [(do.Outcome.COMPLETE, "every event is in an output")]
    assert it.tell(ev.Tick()) == []


def test_nothing_is_acknowledged_before_it_is_committed():
    it = Driver()
    it.join()
    it.report()
    assert only(do.Acknowledge, it.group("g", [0])) == []
    assert only(do.Acknowledge, it.group("g", [0])) == []
    assert only(do.Acknowledge, it.commit()) == [do.Acknowledge(node="a", group="g")]
    assert it.group("g", [0]) == [do.Acknowledge(node="a", group="g")]


def test_a_refused_group_is_acknowledged_only_when_the_accepted_one_is_durable():
    it = Driver()
    it.join("a"), it.join("b")
    it.report("a")
    it.group("first", [0], "a")
    assert it.group("second", [0], "b") == []
    commands = it.commit()
    assert do.Acknowledge(node="b", group="second") in commands
    assert do.DiscardGroups(("second",)) in commands


def test_of_a_group_exactly_what_is_new_and_in_place_is_accepted():
    it = Driver()
    it.group("g", [0, 1])
    (commit,) = only(do.Commit, it.group("h", [1, 2, 2, 5, 99]))
    assert commit.record.group.entries["range"].tolist() == [2]


def test_a_late_result_of_a_lost_node_counts_and_the_new_holder_is_told():
    it = Driver()
    it.join("a"), it.join("b")
    it.report("a")
    it.tell(ev.NodeLost(node="a", reason="silent"))
    assert leased(it.report("b")) == {"b": [0, 1]}
    (revoke, _commit) = it.group("late", [0], "a")
    assert (revoke.node, revoke.ranges.tolist()) == ("b", [0])


def test_ranges_brought_along_after_a_restart_are_kept_and_not_handed_out():
    it = Driver()
    it.join("a", held=[0, 1, 6])
    it.join("b", cores=8)
    assert leased(it.report("b")) == {"b": [2, 3, 4, 5, 7]}
    it.tell(ev.NodeLost(node="a", reason="gone"))
    assert sorted(leased(it.report("b", queued=5))["b"]) == [0, 1, 6]


def test_a_node_that_says_it_has_nothing_has_nothing():
    it = Driver()
    it.join(cores=2)
    assert leased(it.report()) == leased(it.report()) == {"a": [0, 1, 2, 3]}


def test_what_a_returning_node_dropped_goes_to_its_second_holder():
    it = Driver((2,), 2, straggler_min_s=0.5, first_lease_per_core=1)
    it.join("a"), it.join("b")
    it.report("a"), it.report("b")
    it.group("g", [1], "b")
    it.tell(ev.NodeReport(node="b", queued=0, running=(), computed=1, computed_s=0.1))
    it.tell(ev.NodeReport(node="a", queued=0, running=((0, 50.0),)), 1.0)
    assert it.engine.duplicates == {0: 1}
    it.join("a", held=[])
    assert it.engine.table.node[0] == 1


def test_attempts_run_out_and_the_neighbours_are_merged():
    it = Driver((4,), 4, max_attempts=2, retry_delay_s=1.0)
    it.join(cores=4)
    it.report()
    it.group("g", [0, 1, 3])
    it.fail(2)
    assert leased(it.report(running=[9])) == {}, "it pauses"
    it.tell(ev.Tick(), 1.0)
    assert leased(it.report()) == {"a": [2]}
    it.fail(2)
    (merge,) = only(do.StartMerge, it.commit())
    assert (merge.expected, merge.missing) == (3, (2,))
    it.tell(ev.MergeSucceeded(merge=merge.merge, merged=merged_of(it.job, 0, 3, (2,))))
    assert ends(it.commit()) == [(do.Outcome.INCOMPLETE, "1 of 4 events failed")]


def test_a_failure_told_by_somebody_who_does_not_hold_the_range_is_ignored():
    it = Driver()
    it.join("a"), it.join("b")
    it.report("a")
    assert it.fail(0, "b") == it.fail(7, "a") == it.fail(-1, "a") == it.fail(0, "nobody") == []


def test_while_a_range_pauses_others_are_handed_out():
    it = Driver((3,), 3, first_lease_per_core=1)
    it.join()
    assert leased(it.report()) == {"a": [0]}
    it.fail(0)
    assert leased(it.report()) == {"a": [1]}


def test_an_event_that_kills_its_nodes_before_they_can_say_so_is_given_up_alone():
    it = Driver((8,), 8, max_losses=4)
    for life in range(20):
        node = f"n{life}"
        it.join(node, 2)
        held = []
        for _ in range(10):
            lease = leased(it.report(node, running=held[:1])).get(node, [])
            good = [index for index in lease if index != 5]
            held = [5] if 5 in lease else []
            if held:
                break
            it.group(f"{node}-{len(it.log)}", good, node)
        it.tell(ev.NodeLost(node=node, reason="dead"))
        it.commit()
        if it.engine.table.count(RangeState.READY) == 0:
            break
    assert it.ledger.failed.keys() == {5}


def test_an_event_that_kills_its_nodes_is_given_up_however_often_the_coordinator_dies():
    """Each coordinator sees one node die and is killed after it; what they wrote down adds up."""
    ledger = MemoryLedger()
    for life in range(12):
        it = Driver((4,), 4, ledger=ledger, max_losses=4)
        if it.engine.finished is not None or 2 in ledger.failed:
            break
        it.join(f"n{life}", 1)
        lease = leased(it.report(f"n{life}")).get(f"n{life}", [])
        it.group(f"g{life}", [index for index in lease if index != 2], f"n{life}")
        it.tell(ev.NodeLost(node=f"n{life}", reason="dead"))
        it.commit()
    assert ledger.failed.keys() == {2}
    assert life <= 8


def test_lost_outputs_are_computed_again_and_false_accusations_have_no_effect():
    it = Driver((4, 4), 4, max_attempts=3)
    it.group("g", [0, 1]), it.group("h", [2, 3]), it.group("other", [4], output=1)
    (merge,) = only(do.StartMerge, it.commit())
    bad = (("g", (1, 1, 2**40, -3)), ("other", (4,)), ("nobody", (0,)))
    it.tell(ev.MergeFailed(merge=merge.merge, message="unreadable", bad=bad))
    it.commit()
    assert [it.state(index) for index in (0, 1, 4)] == [RangeState.STORED, RangeState.READY, RangeState.STORED]
    assert sorted(it.ledger.stored) == [0, 2, 3, 4]


def test_outputs_that_are_no_good_are_the_payloads_failures_each_with_its_reason():
    it = Driver((4,), 4, max_attempts=1)
    it.group("g", [0, 1]), it.group("h", [2, 3])
    (merge,) = only(do.StartMerge, it.commit())
    bad, reasons = (("g", (1,)), ("h", (3,))), ((1, "tree 'HITS' has 2 entries"), (3, "branch 'x' is new"))
    records = [
        commit.record
        for commit in only(do.Commit, it.tell(ev.MergeFailed(merge=merge.merge, message="2 of 4", bad=bad, reasons=reasons)))
    ]
    failures = [record for record in records if isinstance(record, AttemptFailed)]
    assert [(each.range_index, each.message) for each in failures] == list(reasons)
    assert {(each.kind, each.final) for each in failures} == {(FailureKind.BAD_OUTPUT, True)}
    (again,) = only(do.StartMerge, it.commit())
    assert (again.expected, again.missing, again.attempt) == (2, (1, 3), 1)


def test_a_merge_that_blames_the_innocent_is_tried_a_few_times_only():
    it = Driver((2,), 2, max_merge_attempts=3)
    it.group("g", [0, 1])
    commands = it.commit()
    for attempt in (1, 2, 3):
        (merge,) = only(do.StartMerge, commands)
        assert merge.attempt == attempt
        commands = it.tell(ev.MergeFailed(merge=merge.merge, message="strange", bad=(("g", (77,)),)))
    assert only(do.Finish, commands)[0].outcome is do.Outcome.UNMERGED


def test_a_group_with_nothing_left_is_still_known_after_a_restart():
    it = Driver((2,), 2)
    it.group("g", [0, 1])
    (merge,) = only(do.StartMerge, it.commit())
    it.tell(ev.MergeFailed(merge=merge.merge, message="unreadable", bad=(("g", (0, 1)),)))
    it.commit()
    again = Driver((2,), 2, ledger=it.ledger)
    assert again.group("g", [0, 1]) == [do.Acknowledge(node="a", group="g")]


def test_a_stalled_disk_stops_the_handing_out():
    it = Driver()
    it.join()
    it.tell(ev.StorageStalled("full"))
    assert leased(it.report()) == {}
    it.tell(ev.StorageRecovered())
    assert leased(it.report()) == {"a": [0, 1]}


def test_a_stop_waits_for_running_events_but_not_for_ever():
    it = Driver(drain_limit_s=5.0)
    it.join()
    it.report()
    assert it.tell(ev.StopRequested(reason="time is up")) == [do.Drain("a")]
    assert it.tell(ev.Tick(), 4.0) == []
    assert ends(it.tell(ev.Tick(), 1.5)) == [(do.Outcome.STOPPED, "time is up")]


def test_a_stop_ends_at_once_when_everything_has_been_given_back():
    it = Driver()
    it.join()
    it.report()
    it.tell(ev.StopRequested(reason="time is up"))
    it.tell(ev.RangesReturned(node="a", ranges=np.asarray([0, 1])))
    assert ends(it.tell(ev.Tick())) == [(do.Outcome.STOPPED, "time is up")]


def test_without_nodes_the_job_is_given_up_unless_only_merges_are_left():
    it = Driver(no_node_limit_s=10.0)
    it.tell(ev.Tick())
    assert only(do.Finish, it.tell(ev.Tick(), 11.0))[0].outcome is do.Outcome.ABORTED
    it = Driver((4,), 4, no_node_limit_s=10.0)
    it.group("g", [0, 1, 2, 3])
    it.commit()
    it.tell(ev.Tick())
    assert it.tell(ev.Tick(), 100.0) == []


def test_a_commit_nobody_asked_for_is_a_defect():
    with pytest.raises(InternalError, match="not asked for"):
        Driver().tell(ev.Committed((7,)))


def test_the_same_events_give_the_same_commands():
    def story():
        it = Driver((10, 10), 5, max_attempts=2)
        it.join("a", 2), it.join("b", 3)
        for turn in range(40):
            node = "ab"[turn % 2]
            for ranges in leased(it.report(node)).values():
                it.fail(ranges[0], node)
                for index in ranges[1:]:
                    it.group(f"g{len(it.log)}", [index], node, int(it.engine.outputs.output_of(index)))
            it.commit()
        return it.log

    assert repr(story()) == repr(story())


@pytest.mark.parametrize("kind", [FailureKind.SCRATCH_REFUSED, FailureKind.MEMORY_SHORT])
def test_what_the_node_is_to_blame_for_costs_no_attempt_but_is_not_borne_for_ever(kind):
    it = Driver((4,), 4, max_losses=3)
    it.join(cores=4)
    for _ in range(3):
        it.report()
        assert it.state(0) is RangeState.LEASED
        it.fail(0, kind=kind)
    assert it.engine.table.attempt[0] == 0
    it.commit()
    assert it.state(0) is RangeState.FAILED


def test_a_node_in_trouble_gets_no_work_until_it_is_over():
    it = Driver()
    it.join("a")
    it.join("b")
    it.tell(ev.NodeReport(node="a", queued=0, running=(), trouble="no space left"), 0.3)
    assert only(do.Lease, it.log) == []
    assert "a" not in leased(it.report("b"))
    it.tell(ev.NodeReport(node="a", queued=0, running=(), trouble="no space left at all"), 0.3)
    assert [warning for warning in it.engine.warnings if "node a" in warning] == ["node a takes no work: no space left"]
    assert "a" in leased(it.report("a"))


def test_a_merge_that_waits_for_a_disk_loses_no_chance():
    it = Driver((4,), 4, max_merge_attempts=1)
    it.join(cores=4)
    it.report()
    it.group("g", [0, 1, 2, 3])
    (start,) = only(do.StartMerge, it.commit())
    for _ in range(5):
        it.tell(ev.MergeStalled(merge=start.merge, reason="no space left"))
    assert it.engine.merges.stalled == {start.merge: "no space left"}
    assert len([warning for warning in it.engine.warnings if "merging waits" in warning]) == 1
    it.tell(ev.MergeSucceeded(merge=start.merge, merged=merged_of(it.job, start.output, 4)))
    assert it.engine.merges.stalled == {}
    assert ends(it.commit())[0][0] is do.Outcome.COMPLETE


# ---- events that were given up, and are tried again


def merged_without(*failing, ledger=None, **config):
    """A job of one output of four events, merged without some of them."""
    it = Driver((4,), 4, ledger=ledger, max_attempts=1, **config)
    it.join(cores=4)
    it.report()
    it.group("g", [index for index in range(4) if index not in failing])
    for index in failing:
        it.fail(index)
    (merge,) = only(do.StartMerge, it.commit())
    assert not merge.beside
    it.tell(ev.MergeSucceeded(merge=merge.merge, merged=merged_of(it.job, 0, 4 - len(failing), failing)))
    return it, it.commit()


def reopened(it, *ranges):
    """The next session, in which these get new attempts."""
    it.ledger.begin_session(RangesReopened(ranges))
    again = Driver((4,), 4, ledger=it.ledger, max_attempts=1)
    again.join("b", cores=4)
    return again


def test_what_an_output_was_made_from_is_kept_while_it_lacks_events():
    _, commands = merged_without(2)
    assert only(do.DiscardGroups, commands) == []
    _, commands = merged_without(2, keep_incomplete=False)
    assert only(do.DiscardGroups, commands) == [do.DiscardGroups(("g",))]


def test_an_event_tried_again_is_merged_with_all_that_were_there():
    it, _ = merged_without(2)
    again = reopened(it, 2)
    assert leased(again.report("b")) == {"b": [2]}, "the others are done"
    again.group("late", [2], "b")
    (merge,) = only(do.StartMerge, again.commit())
    assert (merge.groups, merge.expected, merge.missing, merge.beside) == (("g", "late"), 4, (), True)
    merged = merged_of(again.job, 0, 4)
    again.tell(ev.MergeSucceeded(merge=merge.merge, merged=merged))
    assert only(do.PlaceOutput, again.log) == [], "not before the ledger knows"
    commands = again.commit()
    assert only(do.PlaceOutput, commands) == [do.PlaceOutput(merged)]
    assert only(do.DiscardGroups, commands) == [do.DiscardGroups(("g", "late"))]
    assert ends(commands) == [(do.Outcome.COMPLETE, "every event is in an output")]


def test_the_file_stays_as_it_is_when_no_event_is_won():
    it, _ = merged_without(2)
    again = reopened(it, 2)
    again.report("b")
    again.fail(2, "b")
    commands = again.commit()
    assert only(do.StartMerge, commands) == []
    assert ends(commands) == [(do.Outcome.INCOMPLETE, "1 of 4 events failed")]
    assert again.engine.merges.state(0) is OutputState.MERGED


def test_some_are_won_and_some_fail_again():
    it, _ = merged_without(1, 2)
    again = reopened(it, 1, 2)
    again.report("b")
    again.group("late", [1], "b")
    again.fail(2, "b")
    (merge,) = only(do.StartMerge, again.commit())
    assert (merge.expected, merge.missing, merge.beside) == (3, (2,), True)
    again.tell(ev.MergeSucceeded(merge=merge.merge, merged=merged_of(again.job, 0, 3, (2,))))
    commands = again.commit()
    assert only(do.DiscardGroups, commands) == [], "it may be tried once more"


def test_a_coordinator_that_dies_before_the_merge_leaves_it_to_the_next_one():
    it, _ = merged_without(2)
    again = reopened(it, 2)
    again.report("b")
    again.group("late", [2], "b")
    again.commits and again.ledger.commit([commit.record for commit in again.commits])
    third = Driver((4,), 4, ledger=again.ledger, max_attempts=1)
    (merge,) = only(do.StartMerge, third.tell(ev.Tick()))
    assert (merge.expected, merge.beside) == (4, True)


def test_a_node_that_tells_of_a_kept_group_again_is_told_that_it_is_known():
    it, _ = merged_without(2)
    later = Driver((4,), 4, ledger=it.ledger)
    assert only(do.DiscardGroups, later.group("g", [0, 1, 3])) == []
    assert only(do.Acknowledge, later.log) == [do.Acknowledge(node="a", group="g")]


def test_an_event_that_the_file_has_is_never_lost_to_a_new_one():
    """The stored outputs are gone and cannot all be computed again: the file in place is better, and stays."""
    it, _ = merged_without(2)
    again = reopened(it, 2)
    again.report("b")
    again.group("late", [2], "b")
    (merge,) = only(do.StartMerge, again.commit())
    again.tell(ev.MergeFailed(merge=merge.merge, message="gone", bad=(("g", (0, 1, 3)),)))
    commands = again.commit()
    assert again.ledger.failed.keys() == {0, 1, 3}
    assert only(do.StartMerge, commands) == []
    assert ends(commands) == [(do.Outcome.UNMERGED, ends(commands)[0][1])]
    assert "stays" in again.engine.merges.unmergeable[0]


def test_stored_outputs_that_are_gone_are_computed_again():
    it, _ = merged_without(2)
    again = reopened(it, 2)
    again = Driver((4,), 4, ledger=again.ledger, max_attempts=3)
    again.join("b", cores=4)
    again.report("b")
    again.group("late", [2], "b")
    (merge,) = only(do.StartMerge, again.commit())
    again.tell(ev.MergeFailed(merge=merge.merge, message="gone", bad=(("g", (0, 1, 3)),)))
    again.commit()
    assert leased(again.report("b")) == {"b": [0, 1, 3]}
    again.group("once more", [0, 1, 3], "b")
    (merge,) = only(do.StartMerge, again.commit())
    assert (merge.expected, merge.beside) == (4, True)
