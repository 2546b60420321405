"""The engine against a naive model, in any order of events that a hostile world can produce.

The model knows which ranges the engine leased to whom, and keeps a ledger in memory. It asserts, command by command, what may
never happen; `check` asserts after every step that the engine agrees with itself. At the end everything recovers, and the
job must end with every range merged once or failed.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from raythena.domain.given_ranges import GivenRanges
from raythena.domain.ranges import RangeState
from raythena.domain.results import FailureKind, RangeFailure
from raythena.engine import commands as do
from raythena.engine import events as ev
from raythena.engine.engine import Engine
from raythena.engine.engine_config import BudgetConfig, EngineConfig, SupplyConfig
from raythena.engine.invariants import check
from raythena.testing.simulation.memory_ledger import MemoryLedger
from raythena.testing.simulation.samples import given_job, given_range, group_of, merged_of, small_job

CONFIG = EngineConfig(
    max_attempts=2, max_losses=2, buffer_s=2.0, max_lease=4, max_merge_attempts=2, no_node_limit_s=60.0, drain_limit_s=5.0
)
STRICT = replace(
    CONFIG, budget=BudgetConfig(few_lost_nodes=2, lost_after_s=5.0, few_failed_events=3, repeated_failures=4, bad_node_failures=3)
)
NODES = st.sampled_from([f"n{number}" for number in range(4)])
LAYOUTS = st.sampled_from([((5,), 5), ((7,), 3), ((2, 2, 2, 3), 4), ((4, 1, 6), 3), ((1,), 1)])
INDICES = st.lists(st.integers(-2, 13), max_size=8)
PICK = st.integers(0, 1000)
WALLS_S = st.sampled_from([0.0, 0.1, 1.0, 60.0, float("nan"), float("inf"), -1.0])
KINDS = st.sampled_from(list(FailureKind))


class EngineMachine(RuleBasedStateMachine):
    """`leased` and `groups` are the model's: what each node was given, every group that was ever reported."""

    calm = CONFIG

    @initialize(layout=LAYOUTS, config=st.sampled_from([CONFIG, STRICT]))
    def begin(self, layout, config):
        self.config = config
        events, per_output = layout
        self.job = small_job(events, per_output)
        self.ledger = MemoryLedger()
        self.now = 0.0
        self.serial = 0
        self.groups = {}
        self.discarded = set()
        self.start_engine()

    def start_engine(self):
        self.engine = Engine(self.job, self.ledger.restore(), self.config)
        check(self.engine)
        self.held_leases = {}
        self.pending = []
        self.merges = {}
        self.finish = None

    # ---- the model's judgement of every command

    def step(self, event, after_s=0.01):
        self.now += after_s
        self.known_before = len(self.engine.table)
        commands = self.engine.step(event, self.now)
        for command in commands:
            getattr(self, f"on_{type(command).__name__.lower()}")(command)
        check(self.engine)

    def on_lease(self, lease):
        ranges = lease.ranges.tolist()
        assert ranges
        assert len(set(ranges)) == len(ranges)
        assert self.engine.stopping is None
        assert self.engine.stalled is None
        assert self.engine.deadline.left_s(self.now) > 0
        assert not self.engine.fleet.get(lease.node).aside
        promised = {index for _, record in self.pending for index in outcome_of(record)}
        for index in ranges:
            assert not self.ledger.is_durable(index), f"range {index} has an outcome and is leased out"
            assert index not in promised
            others = [node for node, held in self.held_leases.items() if index in held and node != lease.node]
            assert len(others) <= 1, f"range {index} is leased to three nodes"
        self.held_leases.setdefault(lease.node, set()).update(ranges)

    def on_revoke(self, revoke):
        self.held_leases.get(revoke.node, set()).difference_update(revoke.ranges.tolist())

    def on_acknowledge(self, command):
        """Acknowledged means durable: no range of the group is in the air."""
        output, indices = self.groups[command.group]
        start, stop = self.engine.outputs.interval(output) if output < self.engine.outputs.n_outputs else (0, 0)
        for index in indices:
            was_retracted = any(command.group == getattr(record, "group", None) for record in self.ledger.records)
            if start <= index < stop and not was_retracted:
                assert self.ledger.is_durable(index), f"range {index} of {command.group} is acknowledged, not committed"

    def on_discardgroups(self, command):
        needed = {name for index, name in self.ledger.stored.items() if index not in self.ledger.merged_ranges}
        needed |= {record.group.name for _, record in self.pending if hasattr(record, "group") and hasattr(record.group, "name")}
        assert not needed & set(command.groups)
        self.discarded.update(command.groups)

    def on_commit(self, command):
        assert all(ticket < command.ticket for ticket, _ in self.pending)
        if hasattr(command.record, "group") and hasattr(command.record.group, "name"):
            assert command.record.group.name not in self.discarded, "a group is stored whose file was removed"
        self.pending.append((command.ticket, command.record))

    def on_startmerge(self, command):
        start, stop = self.engine.outputs.interval(command.output)
        members = [index for group in self.ledger.groups_named(command.groups) for index in group.entries["range"].tolist()]
        assert len(set(members)) == len(members) == command.expected
        assert set(command.missing) == {index for index in range(start, stop) if index in self.ledger.failed}
        assert sorted([*members, *command.missing]) == list(range(start, stop))
        assert command.output not in self.ledger.merged
        assert command.output not in [other.output for other in self.merges.values()]
        self.merges[command.merge] = command

    def on_finish(self, command):
        self.finish = command
        n_ranges = len(self.engine.table)
        settled = len(self.ledger.merged_ranges) + len(self.ledger.failed)
        if command.outcome is do.Outcome.COMPLETE:
            assert len(self.ledger.merged_ranges) == n_ranges
        elif command.outcome is do.Outcome.INCOMPLETE:
            assert settled == n_ranges
            assert self.ledger.failed
        else:
            assert settled < n_ranges

    def on_recall(self, command):
        assert command.count > 0

    def on_flush(self, command):
        assert self.engine.fleet.get(command.node).up

    def on_drain(self, command):
        assert self.engine.stopping is not None or self.engine.fleet.get(command.node).aside

    # ---- nodes

    @rule(node=NODES, cores=st.integers(1, 3), held=INDICES, honest=st.booleans())
    def join(self, node, cores, held, honest):
        if honest:
            held = sorted(self.held_leases.get(node, ()))
        self.held_leases[node] = set(held)
        self.step(ev.NodeJoined(node=node, cores=cores, held=np.asarray(held, dtype=np.int64)))

    @rule(node=NODES)
    def lose(self, node):
        self.held_leases.pop(node, None)
        self.step(ev.NodeLost(node=node, reason="gone"))

    @rule(node=NODES)
    def is_in_trouble(self, node):
        self.held_leases.pop(node, None)
        self.step(ev.NodeReport(node=node, queued=0, running=(), trouble="no space left"))

    @rule(node=NODES, on_core=st.integers(0, 3), tell_all=st.booleans(), age_s=st.floats(0, 20), garbage=INDICES, wall_s=WALLS_S)
    def report(self, node, on_core, tell_all, age_s, garbage, wall_s):  # noqa: PLR0917 (called by name)
        held = sorted(self.held_leases.get(node, ()))
        if not tell_all:
            held = held[:on_core]
        running = tuple((index, age_s) for index in [*held[:on_core], *garbage[:1]])
        waiting = tuple(held[on_core:]) if tell_all else ()
        if not held and not running and not on_core:
            self.held_leases.pop(node, None)  # says that it has nothing
        self.step(
            ev.NodeReport(
                node=node,
                queued=max(0, len(held) - on_core),
                running=running,
                waiting=waiting,
                unreported=on_core,
                computed=on_core,
                computed_s=wall_s,
            )
        )

    @rule(node=NODES, ranges=INDICES, mine=st.booleans())
    def give_back(self, node, ranges, mine):
        if mine:
            ranges = sorted(self.held_leases.get(node, ()))[:2]
        self.held_leases.get(node, set()).difference_update(ranges)
        self.step(ev.RangesReturned(node=node, ranges=np.asarray(ranges, dtype=np.int64)))

    # ---- results

    @rule(node=NODES, pick=PICK, wall_s=WALLS_S)
    def finish_some(self, node, pick, wall_s):
        held = sorted(index for index in self.held_leases.get(node, ()) if 0 <= index < len(self.engine.table))
        if held:
            output = self.output_of(held[pick % len(held)])
            ranges = [index for index in held if self.output_of(index) == output]
            self.report_group(node, output, ranges, wall_s)
            self.held_leases[node].difference_update(ranges)

    def output_of(self, index):
        return self.engine.outputs.output_of(index)

    @rule(node=NODES, output=st.integers(0, 5), ranges=st.lists(st.integers(0, 13), max_size=6))
    def report_anything(self, node, output, ranges):
        """Partial, foreign, repeated and out-of-range results; of holders, others, lost and unknown nodes."""
        self.report_group(node, output, ranges, 1.0)

    def report_group(self, node, output, ranges, wall_s):
        self.serial += 1
        name = f"g{self.serial}"
        self.groups[name] = (output, ranges)
        self.step(ev.GroupReported(group_of(name, node, output, ranges, wall_s)))

    @precondition(lambda self: self.groups)
    @rule(pick=PICK, node=NODES)
    def report_again(self, pick, node):
        name = sorted(self.groups)[pick % len(self.groups)]
        if name not in self.discarded or self.group_is_settled(name):
            output, ranges = self.groups[name]
            self.step(ev.GroupReported(group_of(name, node, output, ranges)))

    def group_is_settled(self, name):
        """A node that was never told goes on reporting a group that was refused and removed."""
        _, ranges = self.groups[name]
        return all(self.ledger.is_durable(index) for index in ranges)

    @rule(node=NODES, pick=PICK, kind=KINDS)
    def fail_mine(self, node, pick, kind):
        held = sorted(self.held_leases.get(node, ()))
        if held:
            index = held[pick % len(held)]
            self.held_leases[node].discard(index)
            self.step(ev.AttemptReported(RangeFailure(index, kind, "no luck", node)))

    @rule(node=NODES, index=st.integers(-2, 13), kind=KINDS)
    def fail_anything(self, node, index, kind):
        self.held_leases.get(node, set()).discard(index)
        self.step(ev.AttemptReported(RangeFailure(index, kind, "no luck", node)))

    # ---- ledger

    @precondition(lambda self: self.pending)
    @rule(count=st.integers(1, 20))
    def commit(self, count):
        batch, self.pending = self.pending[:count], self.pending[count:]
        self.ledger.commit([record for _, record in batch])
        self.step(ev.Committed(tuple(ticket for ticket, _ in batch)))

    @rule(recovers=st.booleans())
    def storage(self, recovers):
        self.step(ev.StorageRecovered() if recovers else ev.StorageStalled("disk full"))

    @rule(committed=st.integers(0, 20))
    def restart(self, committed):
        """The coordinator dies; a part of what it asked for had reached the disk without its knowing."""
        self.ledger.commit([record for _, record in self.pending[:committed]])
        self.start_engine()

    # ---- merges

    @precondition(lambda self: self.merges)
    @rule(pick=PICK)
    def merge_succeeds(self, pick):
        merge = self.merges.pop(sorted(self.merges)[pick % len(self.merges)])
        self.step(ev.MergeSucceeded(merge=merge.merge, merged=merged_of(self.job, merge.output, merge.expected, merge.missing)))

    @precondition(lambda self: self.merges)
    @rule(pick=PICK, bad=st.lists(st.integers(-1, 13), max_size=3), foreign=st.booleans())
    def merge_fails(self, pick, bad, foreign):
        merge = self.merges.pop(sorted(self.merges)[pick % len(self.merges)])
        named = []
        for group in self.ledger.groups_named(merge.groups):
            mine = tuple(
                index for index in bad if index in group.entries["range"] or (foreign and index not in self.ledger.stored)
            )
            if mine:
                named.append((group.name, mine))
        self.step(ev.MergeFailed(merge=merge.merge, message="unreadable", bad=tuple(named)))

    @rule(merge=st.integers(50, 60))
    def merge_unknown(self, merge):
        self.step(ev.MergeFailed(merge=merge, message="who?"))

    # ---- time

    @rule(after_s=st.sampled_from([0.1, 1.0, 3.0, 10.0]))
    def tick(self, after_s):
        self.step(ev.Tick(), after_s)

    @rule(really=st.integers(0, 8))
    def stop(self, really):
        if really == 0:
            self.step(ev.StopRequested(reason="a person"))
        elif really == 1:
            self.step(ev.StopRequested(reason="the batch system", within_s=4.0))

    @rule(left_s=st.sampled_from([None, -1.0, 2.0, 30.0, 1000.0]))
    def learn_deadline(self, left_s):
        self.step(ev.DeadlineSet(None if left_s is None else self.now + left_s))

    @invariant()
    def outcomes_are_in_the_ledger(self):
        if not hasattr(self, "engine"):
            return
        table = self.engine.table
        for index, state in enumerate(table.state.tolist()):
            stored, failed = index in self.ledger.stored, index in self.ledger.failed
            if state in (RangeState.STORED, RangeState.MERGED):
                assert stored
            assert (state == RangeState.FAILED) <= failed
            assert (state == RangeState.MERGED) <= (index in self.ledger.merged_ranges)

    # ---- in the end everything recovers

    def teardown(self):
        if not hasattr(self, "engine"):
            return
        resumable = (do.Outcome.STOPPED, do.Outcome.ABORTED, do.Outcome.UNMERGED)
        is_over = self.finish is not None and self.finish.outcome in resumable
        is_strict, self.config = self.config is STRICT, self.calm  # a budget nearly used up must not end the recovery
        if is_over or self.engine.stopping is not None or self.engine.merges.unmergeable or is_strict or self.engine.deadline.at:
            self.start_engine()
        for node in list(self.held_leases):
            self.lose(node)
        self.step(ev.StorageRecovered())
        self.join("saviour", 2, [], False)
        for _ in range(200):
            if self.finish is not None:
                break
            self.work_off("saviour")
        assert self.finish is not None, "the job does not end"
        assert self.finish.outcome in (do.Outcome.COMPLETE, do.Outcome.INCOMPLETE)
        self.check_end()

    def check_end(self):
        for index in range(len(self.engine.table)):
            assert (index in self.ledger.merged_ranges) != (index in self.ledger.failed)

    def work_off(self, node):
        self.step(ev.NodeReport(node=node, queued=0, running=()), 2.0)
        self.finish_some(node, 0, 0.5)
        self.commit(1000)
        if self.merges:
            self.merge_succeeds(0)
        self.commit(1000)
        self.step(ev.Tick(), 2.0)


def outcome_of(record):
    """Ranges that have an outcome once this record is committed."""
    if hasattr(record, "group") and hasattr(record.group, "entries"):
        return record.group.entries["range"].tolist()
    return [record.range_index] if getattr(record, "final", False) else []


# Shrinking a failure takes minutes; add Phase.shrink by hand when one is found.
EngineMachine.TestCase.settings = settings(
    max_examples=150, stateful_step_count=50, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)
test_engine_machine = EngineMachine.TestCase


GROWING = replace(CONFIG, supply=SupplyConfig(first_request=4, max_ahead=6, max_unacknowledged=5))


class GivenMachine(EngineMachine):
    """The same world, and somebody who hands ranges out while the job runs, and takes reports.

    `offered` are the ranges that were ever handed out, by id; `published` the reports under way, by number.
    """

    calm = GROWING

    @initialize()
    def begin_growing(self):
        self.config = GROWING
        self.job = given_job()
        self.ledger = MemoryLedger()
        self.now = 0.0
        self.serial = 0
        self.groups = {}
        self.discarded = set()
        self.offered = {}
        self.start_engine()

    def begin(self, layout, config):
        """Not this one."""

    def start_engine(self):
        self.asked = False
        self.published = {}
        super().start_engine()
        assert len(self.engine.table) == sum(map(len, self.ledger.given))

    # ---- the model's judgement

    def on_lease(self, lease):
        super().on_lease(lease)
        n_durable = sum(map(len, self.ledger.given))
        assert max(lease.ranges.tolist()) < n_durable, "a range is leased before the ledger has it"

    def on_acknowledge(self, command):
        output, indices = self.groups[command.group]
        for index in indices if output < len(self.job.inputs) else ():
            assert index >= sum(map(len, self.ledger.given)) or self.ledger.is_durable(index)

    def on_startmerge(self, command):
        raise AssertionError("given ranges are never merged")

    def on_requestranges(self, command):
        assert not self.asked, "two requests at a time"
        assert 0 < command.count <= GROWING.supply.max_ahead
        assert self.engine.stopping is None
        self.asked = True

    def on_acceptranges(self, command):
        assert command.n_new == len(self.engine.table) - self.known_before

    def on_publishreport(self, command):
        assert command.number not in self.published
        on_the_way = sum(map(size_of, self.published.values()))
        assert not on_the_way or on_the_way + size_of(command) <= GROWING.supply.max_unacknowledged
        if command.group is None:
            assert command.failures
            assert all(failure.final and failure.range_index in self.ledger.failed for failure in command.failures)
        else:
            assert not command.failures
            for index in command.group.entries["range"].tolist():
                assert self.ledger.stored[index] == command.group.name, "a result is reported that is not committed"
        self.published[command.number] = command

    def on_finish(self, command):
        self.finish = command
        if command.outcome in (do.Outcome.COMPLETE, do.Outcome.INCOMPLETE):
            self.check_end()
            assert (command.outcome is do.Outcome.INCOMPLETE) == bool(self.ledger.failed)

    def check_end(self):
        """Every range that was taken has one outcome, and whoever gave it knows."""
        assert len(self.engine.table) == sum(map(len, self.ledger.given))
        for index in range(len(self.engine.table)):
            if index in self.ledger.stored:
                assert index not in self.ledger.failed
                assert self.ledger.stored[index] in self.ledger.reported_groups
            else:
                assert index in self.ledger.failed
                assert index in self.ledger.reported_failures

    def output_of(self, index):
        return self.engine.table.file_of(index)

    def report_group(self, node, output, ranges, wall_s):
        """Nobody has results of ranges that were never leased."""
        n_durable = sum(map(len, self.ledger.given))
        super().report_group(node, output, [index for index in ranges if index < n_durable], wall_s)

    # ---- whoever hands ranges out

    @rule(numbers=st.lists(st.integers(0, 13), max_size=6), unasked=st.booleans())
    def give(self, numbers, unasked):
        """New ranges, ranges that were given before, and both."""
        if self.asked or unasked:
            ranges = [given_range(self.job, number) for number in numbers]
            self.offered.update({each.range_id: each for each in ranges})
            self.asked = False
            self.step(ev.RangesGiven(GivenRanges.pack(ranges, self.job.inputs)))

    @rule(really=st.integers(0, 5))
    def end_of_ranges(self, really):
        if really == 0:
            self.asked = False
            self.step(ev.RangesEnded())

    @rule(numbers=st.lists(st.integers(1, 30), max_size=10))
    def acknowledge(self, numbers):
        for number in numbers:
            self.published.pop(number, None)
        self.step(ev.ReportsAcknowledged(tuple(numbers)))

    @invariant()
    def ranges_are_what_was_offered(self):
        if hasattr(self, "engine"):
            ids = [self.engine.table.range_id(index) for index in range(len(self.engine.table))]
            assert len(set(ids)) == len(ids)
            assert set(ids) <= self.offered.keys()
            assert [self.engine.table.event_range(index) for index in range(len(ids))] == [self.offered[each] for each in ids]

    def work_off(self, node):
        super().work_off(node)
        if self.asked:
            self.asked = False
            missing = self.offered.keys() - {self.engine.table.range_id(index) for index in range(len(self.engine.table))}
            ranges = [self.offered[each] for each in missing]
            given = GivenRanges.pack(ranges, self.job.inputs)
            self.step(ev.RangesGiven(given) if missing else ev.RangesEnded())
        self.acknowledge(list(self.published))
        self.commit(1000)
        self.step(ev.Tick(), 2.0)


def size_of(command):
    return len(command.failures) if command.group is None else len(command.group.entries)


GivenMachine.TestCase.settings = EngineMachine.TestCase.settings
test_engine_machine_with_given_ranges = GivenMachine.TestCase
