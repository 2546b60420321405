"""The failure budget: what stops a job, what only costs a node, what only costs an event."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raythena.domain.failure_causes import MAX_TEXT, normalised, telling
from raythena.domain.ranges import RangeState
from raythena.domain.results import FailureKind, RangeFailure
from raythena.engine import commands as do
from raythena.engine import events as ev
from raythena.engine.budget import FailureBudget, Witness
from raythena.engine.engine import Engine
from raythena.engine.engine_config import BudgetConfig, EngineConfig
from raythena.engine.invariants import check
from raythena.testing.simulation.samples import group_of, merged_of, small_job

NOTHING = np.empty(0, dtype=np.int64)
FaultModel = Callable[[str, int], str | None]
"""The message an attempt at a range on a node fails with, or None."""


class Site:
    """Nodes of one core that take a second for an event, and a ledger that commits at once."""

    def __init__(
        self,
        fault_model: FaultModel,
        nodes: int = 4,
        events: tuple[int, ...] = (100, 100, 100, 100),
        config: EngineConfig | None = None,
    ) -> None:
        self.job = small_job(events, 10)
        self.engine = Engine(self.job, None, config or EngineConfig())
        self.fault_model = fault_model
        self.now = 0.0
        self.serial = 0
        self.attempts = 0
        self.held: dict[str, list[int]] = {}
        self.drained: set[str] = set()
        for number in range(nodes):
            self.join(f"n{number}.1")

    def join(self, node: str, cores: int = 1) -> None:
        self.held[node] = []
        self.step(ev.NodeJoined(node=node, cores=cores, held=NOTHING))

    def step(self, event: ev.Event) -> None:
        for command in self.engine.step(event, self.now):
            match command:
                case do.Commit():
                    self.step(ev.Committed((command.ticket,)))
                case do.Lease():
                    assert command.node not in self.drained
                    self.held[command.node].extend(command.ranges.tolist())
                case do.Revoke():
                    gone = set(command.ranges.tolist())
                    self.held[command.node] = [index for index in self.held[command.node] if index not in gone]
                case do.Drain():
                    self.drained.add(command.node)
                case do.StartMerge():
                    merged = merged_of(self.job, command.output, command.expected, command.missing)
                    self.step(ev.MergeSucceeded(merge=command.merge, merged=merged))

    def second(self) -> None:
        """A second passes: every node finishes an event, in one way or the other, and reports."""
        self.now += 1.0
        for node, held in list(self.held.items()):
            if node in self.drained and held:
                self.step(ev.RangesReturned(node=node, ranges=np.asarray(held, dtype=np.int64)))
                held.clear()
            elif held:
                self.attempt(node, held.pop(0))
            self.step(ev.NodeReport(node=node, queued=len(self.held[node]), running=(), computed=1, computed_s=1.0))
        self.step(ev.Tick())
        check(self.engine)

    def attempt(self, node: str, index: int) -> None:
        self.attempts += 1
        message = self.fault_model(node, index)
        if message is not None:
            self.step(ev.AttemptReported(RangeFailure(index, FailureKind.REPORTED, message, node)))
        else:
            self.serial += 1
            self.step(ev.GroupReported(group_of(f"g{self.serial}", node, self.engine.outputs.output_of(index), [index])))

    def run(self, limit_s: int = 2000) -> do.Finish:
        for _ in range(limit_s):
            if self.engine.finished is not None:
                return self.engine.finished
            self.second()
        raise AssertionError("the job does not end")


def test_a_few_poison_events_cost_themselves_only():
    site = Site(lambda node, index: f"event {index}: not a number" if index in {7, 150, 151, 399} else None)
    assert site.run().outcome is do.Outcome.INCOMPLETE
    assert site.engine.table.count(RangeState.MERGED) == 396
    assert site.engine.budget.warnings == []


def test_a_small_job_ends_with_its_failures_told_even_if_all_of_them_fail():
    site = Site(lambda node, index: "no", nodes=2, events=(5,))
    assert site.run().outcome is do.Outcome.INCOMPLETE


@pytest.mark.parametrize("nodes", [1, 2, 10])
def test_a_broken_release_is_noticed_before_everything_was_tried(nodes):
    site = Site(lambda node, index: f"{node}: cannot load libG4.so.{index} at 0x{index:x}", nodes=nodes)
    finish = site.run()
    assert finish.outcome is do.Outcome.ABORTED
    assert "the same error 20 times" in finish.reason
    assert "libG4" in finish.reason
    assert site.attempts <= 20 + 2 * nodes
    assert "the same error" in site.engine.budget.warnings[0]


def test_different_errors_everywhere_use_up_the_events_that_may_fail():
    words = [f"{first}{second}" for first in "abcdefghijklmnopqrst" for second in "uvwxyzklmnopqrstuvwx"]
    site = Site(lambda node, index: f"trouble with {words[index]}")
    finish = site.run()
    assert finish.outcome is do.Outcome.ABORTED
    assert "41 of 400 events failed" in finish.reason
    assert "max_failed_fraction" in finish.reason


def test_an_error_on_half_of_the_events_is_no_broken_release():
    site = Site(lambda node, index: "same words" if index % 2 else None, events=(30,))
    assert site.run().outcome is do.Outcome.INCOMPLETE


def test_what_is_finished_is_merged_before_a_job_is_given_up():
    site = Site(lambda node, index: "conditions database is gone" if index >= 120 else None, nodes=1, events=(400,))
    assert site.run().outcome is do.Outcome.ABORTED
    assert site.engine.merges.n_merged == 12


def test_a_job_nearly_done_before_does_not_take_its_last_poison_events_for_a_broken_release():
    budget = FailureBudget(BudgetConfig(), 1000)
    budget.succeeded = 980
    for index in range(60):
        budget.attempt_failed("crash", "boom", Witness(index % 4, f"n{index % 4}", 1), 0, failed_elsewhere=False)
        budget.judge_repetition(4, 0)
    assert budget.exceeded is None


def test_events_whose_group_is_still_to_come_speak_for_the_release():
    budget = FailureBudget(BudgetConfig(repeated_nodes=1), 1000)
    for _ in range(40):
        budget.attempt_failed("crash", "boom", Witness(0, "n0", 1), 0, failed_elsewhere=False)
    budget.judge_repetition(4, 100)
    assert budget.exceeded is None


# ---- bad nodes


def test_a_bad_node_is_set_aside_and_its_events_are_computed_by_others():
    site = Site(lambda node, index: "no such device" if node == "n1.1" else None)
    assert site.run().outcome is do.Outcome.COMPLETE
    assert site.engine.budget.aside == {"n1"}
    assert site.drained == {"n1.1"}
    assert "n1 is set aside" in site.engine.budget.warnings[0]


def test_a_bad_node_stays_aside_when_its_agent_is_restarted():
    site = Site(lambda node, index: "no such device" if node.startswith("n1.") else None)
    while not site.engine.budget.aside:
        site.second()
    site.step(ev.NodeLost(node="n1.1", reason="agent died"))
    del site.held["n1.1"]
    site.join("n1.2")
    assert "n1.2" in site.drained
    assert site.run().outcome is do.Outcome.COMPLETE


def test_a_bad_input_file_is_not_blamed_on_the_nodes_that_read_it():
    """Forty corrupt events at the beginning of one file of ten."""
    site = Site(lambda node, index: "bad basket" if index < 40 else None, events=(100,) * 10)
    assert site.run().outcome is do.Outcome.INCOMPLETE
    assert site.engine.budget.aside == set()
    assert site.engine.table.count(RangeState.FAILED) == 40


def test_a_single_node_is_never_set_aside():
    site = Site(lambda node, index: "no" if index < 15 else None, nodes=1, events=(300,))
    site.run()
    assert site.engine.budget.aside == set()


def test_no_more_than_half_of_the_nodes_are_set_aside():
    site = Site(lambda node, index: f"no {'abcdefgh'[index % 8]}" if node != "n0.1" else None, nodes=5)
    site.run(4000)
    assert len(site.engine.budget.aside) <= 2


def test_a_payload_that_takes_all_cores_with_it_is_one_mishap():
    budget = FailureBudget(BudgetConfig(), 10_000)
    big, other = Witness(0, "n0", 128), Witness(1, "n1", 128)
    for _ in range(2 * big.cores):
        budget.attempt_failed("crash", "payload died", big, 0, failed_elsewhere=False)
    budget.attempts_succeeded(other.number, 1000, 0)
    assert not budget.is_suspected(big, 0)
    budget.attempt_failed("crash", "payload died", big, 0, failed_elsewhere=False)
    assert budget.is_suspected(big, 0)


def test_events_that_failed_elsewhere_too_do_not_speak_against_a_node():
    budget = FailureBudget(BudgetConfig(), 1000)
    for _ in range(100):
        budget.attempt_failed("crash", "boom", Witness(0, "n0", 1), 0, failed_elsewhere=True)
    assert not budget.is_suspected(Witness(0, "n0", 1), 0)


def test_when_only_nodes_set_aside_are_left_the_job_does_not_wait_for_ever():
    config = EngineConfig(no_node_limit_s=50.0)
    site = Site(lambda node, index: "no such device" if node == "n1.1" else None, config=config)
    while not site.engine.budget.aside:
        site.second()
    for number in (0, 2, 3):
        site.step(ev.NodeLost(node=f"n{number}.1", reason="gone"))
        del site.held[f"n{number}.1"]
    assert site.run(200).outcome is do.Outcome.ABORTED


# ---- lost nodes


def lose(site: Site, *numbers: int) -> None:
    for number in numbers:
        del site.held[f"n{number}.1"]
        site.step(ev.NodeLost(node=f"n{number}.1", reason="power cut"))


def test_a_job_that_lost_too_many_of_its_nodes_is_stopped():
    site = Site(lambda node, index: None, nodes=8, events=(4000,))
    lose(site, *range(7))
    finish = site.run(200)
    assert finish.outcome is do.Outcome.ABORTED
    assert "7 of 8 nodes are lost" in finish.reason
    assert site.now > BudgetConfig().lost_after_s


def test_nodes_that_come_back_are_not_lost():
    site = Site(lambda node, index: None, nodes=8, events=(4000,))
    lose(site, *range(7))
    for _ in range(100):
        site.second()
    for number in range(4):
        site.join(f"n{number}.2")
    for _ in range(100):
        site.second()
    assert site.engine.stopping is None
    assert site.engine.budget.n_lost == 3


def test_a_small_cluster_goes_on_with_its_last_node():
    site = Site(lambda node, index: None, nodes=4, events=(400,))
    lose(site, 0, 1, 2)
    assert site.run().outcome is do.Outcome.COMPLETE
    assert "3 of 4 nodes are lost" in site.engine.budget.warnings[-1]


def test_not_a_single_lost_node_can_be_asked_for():
    site = Site(lambda node, index: None, events=(4000,), config=with_budget(max_lost_nodes=0))
    lose(site, 0)
    assert site.run(300).outcome is do.Outcome.ABORTED


def test_not_a_single_failed_event_can_be_asked_for():
    site = Site(lambda node, index: "no" if index == 3 else None, config=with_budget(max_failed_events=0))
    finish = site.run()
    assert finish.outcome is do.Outcome.ABORTED
    assert finish.reason.endswith("the last one: reported: no")


def with_budget(**limits: float) -> EngineConfig:
    return EngineConfig(budget=replace(BudgetConfig(), **limits))


# ---- messages


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("event 17 of /tmp/a/x.root: bad", "event 99999 of /scratch/b/y.root: bad"),
        ("segfault at 0x7ffe12", "segfault at 0xdeadbeef00"),
        ("job 4f2a99bcd1e0 died", "job 0011223344ff died"),
    ],
)
def test_numbers_paths_and_addresses_do_not_make_another_error(one, other):
    assert normalised("crash", one) == normalised("crash", other)


def traceback_of(last: str) -> str:
    return f'Traceback (most recent call last):\n  File "/opt/x.py", line 3, in f\n    return g()\n{last}\n'


def test_of_a_traceback_the_last_line_counts():
    assert telling(traceback_of("ValueError: no such event")) == "ValueError: no such event"
    assert normalised("reported", traceback_of("OSError: gone")) != normalised("reported", traceback_of("ValueError: bad"))


def test_of_other_texts_the_first_and_the_last_line_count():
    assert telling("AthenaMP failed\n...\nexit status 65") == "AthenaMP failed … exit status 65"
    assert telling(" \n ") == ""


def test_different_words_or_kinds_are_different_errors():
    assert normalised("crash", "no space") != normalised("crash", "no memory")
    assert normalised("crash", "no space") != normalised("hang", "no space")


@given(st.text(max_size=2000))
def test_a_normalised_message_is_short_and_settled(message):
    once = normalised("crash", message)
    assert len(once) <= MAX_TEXT + 20
    assert not any(digit in once for digit in "0123456789")


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.text(max_size=5)), max_size=400),
    st.integers(0, 10),
    st.integers(1, 30),
)
def test_memory_stays_bounded_and_the_verdict_never_changes(story, few, repeated):
    config = BudgetConfig(few_failed_events=few, repeated_failures=repeated)
    budget = FailureBudget(config, 100)
    first = None
    for good, node, message in story:
        if good:
            budget.attempts_succeeded(node, 1, 0)
        else:
            budget.attempt_failed("reported", message, Witness(node, f"n{node}", 1), 0, failed_elsewhere=False)
            budget.event_given_up("reported", message)
        budget.judge_repetition(6, 0)
        first = first or budget.exceeded
        assert budget.exceeded == first
    assert len(budget.warnings) <= 2
    assert (budget.failed_events > budget.max_failed) <= (budget.exceeded is not None)
