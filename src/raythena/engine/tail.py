"""The end of a job: no core may idle while another has work in its queue.

When nothing is ready and some cores have nothing to do, two things help, in this order. *Recall*: ranges that a node
has not begun are asked back from those that would take longest to get to them. *Duplicate*: an event already on a core
is begun a second time on an idle one; the first commit wins. Duplicates are for events that have run well beyond the
mean, and only where a second copy probably ends first (`duplicate_gain`); they are the oldest first, one duplicate per range.

Both are planned for all nodes at once, a few times a second at most, so their cost does not grow with the number of reports.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass

from raythena.domain.ids import RangeIndex
from raythena.domain.ranges import RangeState
from raythena.engine import commands as do
from raythena.engine.completion import Completion
from raythena.engine.deadline import EventTimes
from raythena.engine.duplicate_gain import Straggler, probably_gains
from raythena.engine.engine_config import EngineConfig
from raythena.engine.fleet import Node
from raythena.engine.node_messages import RunningRange
from raythena.engine.state import JobState

_EMPTY_RECALL_S = 1.0
"""A node that had nothing to give back is not asked again for so long; others, or duplicates, must help."""

_USUAL_EVENTS = 16
"""So many events must have shown that a node is slow or quick before that is half believed: events differ, nodes seldom do."""
_SHORTEST_S = 1e-6


@dataclass(frozen=True, slots=True)
class Recalled:
    """Ask `node` for `count` unbegun ranges."""

    node: Node
    count: int


@dataclass(frozen=True, slots=True)
class Duplicated:
    """Begin range `index`, held by `holder`, on `node` as well."""

    node: Node
    holder: Node
    index: RangeIndex


def plan_recalls(nodes: Iterable[Node], wanted: int, now: float) -> list[Recalled]:
    """Whom to ask for unbegun ranges so that `wanted` idle cores get some.

    Nodes that need longest for their queue are asked first and keep what their own cores are about to begin.
    """
    pending = 0
    victims: list[tuple[float, Node]] = []
    for node in nodes:
        if node.is_asked_back(now):
            pending += node.recalling
        elif node.surplus > 0 and now - node.empty_recall_at >= _EMPTY_RECALL_S:
            victims.append((node.queued / max(node.cores, 1) * (node.mean_event_s or 1.0), node))
    recalls: list[Recalled] = []
    wanted -= pending
    victims.sort(key=lambda victim: (-victim[0], victim[1].number))
    for _, node in victims:
        if wanted <= 0:
            break
        count = min(max(node.surplus // 2, 1), wanted)
        recalls.append(Recalled(node, count))
        wanted -= count
    return recalls


def plan_duplicates(
    nodes: list[Node],
    already: Set[RangeIndex],
    mean_event_s: float | None,
    times: EventTimes,
    *,
    config: EngineConfig,
    now: float,
) -> list[Duplicated]:
    """Which events to begin a second time, and where. `already` are ranges that have a duplicate."""
    hungry = [node for node in nodes if node.idle_cores > 0 and not node.draining]
    if not hungry or not config.duplicate_stragglers or mean_event_s is None:
        return []
    patience_s = max(config.straggler_factor * mean_event_s, config.straggler_min_s)
    slow: list[tuple[float, RangeIndex, Node]] = []
    for node in nodes:
        silent_s = now - node.reported_at
        slow.extend(
            (age_s, index, node) for index, age_s in _ages(node) if index not in already and age_s + silent_s >= patience_s
        )
    slow.sort(key=lambda entry: (entry[2].reported_at - entry[0], entry[1]))
    plans: list[Duplicated] = []
    usual_s = _usual_s(nodes, mean_event_s)
    room = {node.number: node.idle_cores for node in hungry}
    for age_s, index, holder in slow:
        target = next((node for node in hungry if room[node.number] > 0 and node is not holder), None)
        if target is None:
            continue
        straggler = Straggler(
            age_s=age_s,
            silent_s=now - holder.reported_at,
            expected_report_s=holder.next_report_s,
            slowness=_slowness(holder, usual_s),
        )
        if probably_gains(straggler, _slowness(target, usual_s), times):
            room[target.number] -= 1
            plans.append(Duplicated(target, holder, index))
    return plans


def _usual_s(nodes: list[Node], mean_event_s: float) -> float:
    """The mean time of all events of these nodes; what was learned lately, if there is none."""
    finished = sum(node.finished for node in nodes)
    return sum(node.busy_s for node in nodes) / finished if finished else mean_event_s


def _slowness(node: Node, usual_s: float) -> float:
    """How many times longer than usual events take on a node: over all it has done, and as usual while that is little."""
    believed_s = max(usual_s, _SHORTEST_S) * _USUAL_EVENTS
    return (node.busy_s + believed_s) / (max(usual_s, _SHORTEST_S) * node.finished + believed_s)


def _ages(node: Node) -> list[RunningRange]:
    """(range, age in seconds) of everything in the payload; what waits for a core is as late as the event begun last: if even
    that one holds its core too long, so do all."""
    youngest_s = min((age_s for _, age_s in node.running), default=0.0)
    return [*node.running, *(RunningRange(index, youngest_s) for index in node.waiting)]


class Tail:
    """Looks whether the end of the job has come, and plans it then."""

    def __init__(self, state: JobState, completion: Completion) -> None:
        self._state = state
        self._completion = completion
        self._looked_at = float("-inf")

    def look(self, now: float) -> None:
        """Recall and duplicate, if nothing is ready any more and the last look is some time ago."""
        if not self._has_come(now):
            return
        self._looked_at = now
        up = self._state.fleet.up()
        for node in up:
            if node.unreported or node.queued:
                self._state.journal.do(do.Flush(node.name))
        wanted = sum(node.idle_cores for node in up)
        if wanted == 0:
            return
        recalls = plan_recalls(up, wanted, now)
        for recall in recalls:
            self._state.fleet.recall(recall.node, recall.count, now)
            self._state.journal.do(do.Recall(node=recall.node.name, count=recall.count))
        if not recalls:
            self._duplicate_stragglers(up, now)

    def _has_come(self, now: float) -> bool:
        state = self._state
        if self._completion.may_grow:
            return False
        if now - self._looked_at < state.config.tail_interval_s or state.table.count(RangeState.LEASED) == 0:
            return False
        return state.table.count(RangeState.READY) <= state.retries.waiting

    def _duplicate_stragglers(self, up: list[Node], now: float) -> None:
        state = self._state
        known, mean_s, times = state.holders.duplicates.keys(), state.fleet.mean_event_s, state.deadline.times
        for plan in plan_duplicates(up, known, mean_s, times, config=state.config, now=now):
            in_time = state.deadline.may_begin(now, state.fleet.slowness(plan.node))
            if in_time and self._may_be_duplicated(plan.index, plan.holder):
                state.holders.duplicate(plan.index, plan.node)

    def _may_be_duplicated(self, index: RangeIndex, holder: Node) -> bool:
        """Every copy may fail, or kill its node: together they must stay within what is left to the range."""
        state = self._state
        if not state.holders.is_held(index, holder) or state.retries.is_suspect(index):
            return False
        return int(state.table.attempt[index]) + 2 <= state.config.max_attempts
