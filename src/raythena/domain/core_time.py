"""Where core-seconds go: the account of one node, and of a whole task, from what was recorded.

A node measures, for each of its lives, how long its cores computed and what they waited for (`NodeTimes`; how, is told in
`engine.core_times`). `account` puts the lives of all nodes into the allocations they lived in, asks the ledger's figures which
results count, and names every core-second that was allocated.

Rules: pure functions of recorded facts; nothing is made to fit: what no measurement explains is `unaccounted_s`, which is
negative when something was counted twice; an allocation counts every node it was seen to have from its beginning to its end.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from raythena.domain.node_name import NodeName


class Idle(StrEnum):
    """What a core of a living node waits for, as the node sees it."""

    INITIALISATION = "initialisation"
    """The payload starts and has not begun an event on the core, although there are ranges."""
    RANGES = "waiting_for_ranges"
    """The node has no range to begin, and there are some in the job."""
    STEERING = "waiting_for_steering"
    """Every range that was handed out is taken, and whoever hands them out, PanDA or a search, was asked for more."""
    BETWEEN = "between_events"
    """The node has ranges, the core has none yet."""
    DISK = "waiting_for_disk"
    """A disk refuses, and so the node begins nothing."""
    TAIL = "tail"
    """No range of the job is free any more; others are still on cores."""
    DRAINING = "draining"
    """The job ends early and begins nothing more."""
    MERGING = "merging"
    """Every event has an outcome; outputs are still to be merged or delivered."""


class Share(StrEnum):
    """What becomes of an allocated core-second, besides `Idle`."""

    NODE_START = "node_start"
    """From the beginning of the allocation until the node is there."""
    KEPT = "computing_kept"
    """Events whose results count."""
    THROWN_AWAY = "computing_thrown_away"
    """Attempts whose results do not count, by reason in `NodeAccount.thrown_away`."""
    UNDER_WAY = "computing_under_way"
    """In a session that goes on: events on cores, and results not committed yet."""
    NODE_LOST = "node_lost"
    """The node was gone, for good or until it was replaced."""
    AFTER_END = "after_the_end"
    """From the node's last word to the end of the session."""


CATEGORIES: tuple[str, ...] = (
    Share.NODE_START,
    Idle.INITIALISATION,
    Share.KEPT,
    Share.THROWN_AWAY,
    Share.UNDER_WAY,
    Idle.BETWEEN,
    Idle.RANGES,
    Idle.STEERING,
    Idle.DISK,
    Idle.TAIL,
    Idle.DRAINING,
    Idle.MERGING,
    Share.NODE_LOST,
    Share.AFTER_END,
)
"""Every category, in the order in which they are shown."""

NOT_COMMITTED = "not-committed"
"""Why computing was thrown away: the result was refused because another one was first, or was lost before it was committed."""
CUT_OFF = "cut-off"
"""Why computing was thrown away: the attempt was on a core when the node or the session ended."""
NOT_WANTED = "not-wanted"
"""Why computing was thrown away: the node had been told that the range is settled elsewhere."""

_ROUNDING = 1e-5
"""Of the sum over many single-precision times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeTimes:
    """The account of one life of a node, from `began_at` to `as_of`, in wall-clock seconds since the epoch."""

    node: str
    cores: int
    began_at: float
    as_of: float
    computed_s: float
    """Core-seconds of attempts that ended with a result, as the payload measured them."""
    open_s: float
    """Core-seconds, so far, of attempts that are on a core."""
    thrown_away_s: Mapping[str, float]
    """Core-seconds of attempts that ended without a result that counts, by reason."""
    idle_s: Mapping[str, float]
    """Core-seconds by what was waited for (`Idle`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionTimes:
    """What is recorded of one allocation, or one run of a command."""

    session: str
    began_at: float
    written_at: float
    """When it was recorded."""
    ended_at: float | None
    """None: it goes on, or its end was not recorded."""
    lives: tuple[NodeTimes, ...]
    lost: frozenset[str] = frozenset()
    """Lives that ended without being told to."""


@dataclass(frozen=True, slots=True)
class NodeAccount:
    """One node in one allocation: what became of its core-seconds."""

    session: str
    host: str
    cores: int
    allocated_s: float
    """Core-seconds."""
    core_s: Mapping[str, float]
    """By category; those of `CATEGORIES` that are not zero."""
    thrown_away: Mapping[str, float] = field(default_factory=dict)
    """`computing_thrown_away` by reason."""


@dataclass(frozen=True, slots=True)
class Accounting:
    """All nodes of all allocations of a task."""

    nodes: tuple[NodeAccount, ...] = ()

    @property
    def allocated_s(self) -> float:
        """Core-seconds there were."""
        return sum(node.allocated_s for node in self.nodes)

    @property
    def core_s(self) -> dict[str, float]:
        """Core-seconds by category, in the order of `CATEGORIES`, without those that are zero."""
        totals = _added(node.core_s for node in self.nodes)
        return {str(name): totals[name] for name in CATEGORIES if totals.get(name)}

    @property
    def thrown_away(self) -> dict[str, float]:
        """Core-seconds thrown away by reason, the greatest first."""
        totals = _added(node.thrown_away for node in self.nodes)
        return dict(sorted(totals.items(), key=lambda entry: -entry[1]))

    @property
    def unaccounted_s(self) -> float:
        """Core-seconds that nothing explains; negative when something was counted twice."""
        return self.allocated_s - sum(sum(node.core_s.values()) for node in self.nodes)

    @property
    def accounted(self) -> float:
        """How well the categories add up to what was allocated, node by node: 1 when nothing is missing or counted twice.

        A category below zero makes nothing good.
        """
        off = sum(abs(node.allocated_s - sum(max(seconds, 0.0) for seconds in node.core_s.values())) for node in self.nodes)
        return 1.0 - off / self.allocated_s if self.allocated_s > 0 else 1.0

    def to_dict(self) -> dict[str, object]:
        """A JSON-ready copy."""
        return {
            "allocated_core_s": round(self.allocated_s, 3),
            "accounted": round(self.accounted, 5),
            "core_s": _rounded(self.core_s),
            "thrown_away": _rounded(self.thrown_away),
            "nodes": [
                {
                    "session": node.session,
                    "host": node.host,
                    "cores": node.cores,
                    "allocated_core_s": round(node.allocated_s, 3),
                    "core_s": _rounded(node.core_s),
                    "thrown_away": _rounded(node.thrown_away),
                }
                for node in self.nodes
            ],
        }


def account(sessions: Iterable[SessionTimes], kept: Mapping[tuple[str, str], float] | None = None) -> Accounting:
    """What became of every core-second of the sessions' allocations.

    `kept`: core-seconds of committed results by (session, life of a node), from the ledger; None: all that was computed counts,
    which is the best that is known without looking into the ledger.
    """
    accounts = []
    for session in sessions:
        by_host: dict[str, list[NodeTimes]] = defaultdict(list)
        for life in sorted(session.lives, key=lambda life: life.began_at):
            by_host[NodeName.parse(life.node).host].append(life)
        accounts += [_of_node(session, host, lives, kept) for host, lives in sorted(by_host.items())]
    return Accounting(tuple(accounts))


def _of_node(
    session: SessionTimes, host: str, lives: Sequence[NodeTimes], kept: Mapping[tuple[str, str], float] | None
) -> NodeAccount:
    first, last = lives[0], lives[-1]
    core_s: defaultdict[str, float] = defaultdict(float)
    thrown: defaultdict[str, float] = defaultdict(float)
    ended_at = session.ended_at
    if ended_at is None:
        ended_at = session.written_at if last.node in session.lost else last.as_of
    core_s[Share.NODE_START] += first.cores * (first.began_at - session.began_at)
    until = [*(life.began_at for life in lives[1:]), ended_at]
    for life, gone_until in zip(lives, until, strict=True):
        is_over = life is not last or session.ended_at is not None or life.node in session.lost
        late_s = _computing(life, None if kept is None else kept.get((session.session, life.node), 0.0), core_s, thrown, is_over)
        was_lost = life is not last or life.node in session.lost
        absent = Share.NODE_LOST if was_lost else Share.AFTER_END
        core_s[absent] += life.cores * (gone_until - life.as_of) - late_s
        for cause, idle_s in life.idle_s.items():
            core_s[cause] += idle_s
    core_s[Share.THROWN_AWAY] = sum(thrown.values())
    allocated_s = last.cores * (ended_at - session.began_at)
    return NodeAccount(session.session, host, last.cores, allocated_s, _without_zeros(core_s), _without_zeros(thrown))


def _computing(
    life: NodeTimes, kept_s: float | None, core_s: defaultdict[str, float], thrown: defaultdict[str, float], is_over: bool
) -> float:
    """Book what one life computed. Returns core-seconds of results that were committed after the life's last recorded account."""
    kept_s = life.computed_s if kept_s is None else kept_s
    core_s[Share.KEPT] += kept_s
    for reason, thrown_s in life.thrown_away_s.items():
        thrown[reason] += thrown_s
    uncommitted_s = life.computed_s - kept_s
    if abs(uncommitted_s) <= _ROUNDING * life.computed_s:
        core_s[Share.KEPT] += uncommitted_s
        uncommitted_s = 0.0
    if is_over:
        thrown[NOT_COMMITTED] += max(0.0, uncommitted_s)
        thrown[CUT_OFF] += life.open_s
    else:
        core_s[Share.UNDER_WAY] += max(0.0, uncommitted_s) + life.open_s
    return max(0.0, -uncommitted_s)


def _without_zeros(values: Mapping[str, float]) -> dict[str, float]:
    return {str(name): value for name, value in values.items() if value}


def _added(parts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    totals: defaultdict[str, float] = defaultdict(float)
    for part in parts:
        for name, value in part.items():
            totals[name] += value
    return dict(totals)


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in values.items()}
