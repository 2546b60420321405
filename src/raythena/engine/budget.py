"""How much may go wrong before going on only wastes the allocation. Pure bookkeeping: it judges, the engine acts.

Four accounts, each with a limit in `BudgetConfig`:

- *lost nodes*: hosts that have been away for `lost_after_s`, and hosts set aside;
- *failed events*: events given up in this session;
- *the same error again and again*: a release that is broken everywhere fails every event with the same words. It shows when one
  message, numbers and paths left out, comes from several hosts while next to nothing succeeds;
- *a bad node*: its attempts fail one after the other while those of others succeed. It is set aside, not the job.

Rules: a host is a node whatever its incarnation; one that comes back is not lost any more. A limit given as a fraction never
bites below a few, so that small jobs end with their failures told, not aborted. Whoever is accused of being a bad node gets the
benefit of the doubt: an event that failed elsewhere too says nothing, neither do failures in one input file that nobody else
has succeeded in, nor any of it while others fail as much. At half of a limit a warning is given, once.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from raythena.domain.failure_causes import normalised, telling
from raythena.domain.ids import NodeNumber
from raythena.domain.taxonomy import EndCause
from raythena.engine.engine_config import BudgetConfig

_MAX_MESSAGES = 256
"""Different messages remembered; the one not seen for longest is forgotten."""
_SHAKY = 3
"""Failures in a row after which a node is not given again what failed on it."""
_PER_CORE = 2
"""A payload that dies takes an event per core with it: that is one mishap, not many. Two such in a row are borne."""


@dataclass(slots=True)
class _Repeated:
    example: str
    count: int = 0
    hosts: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Streak:
    """Failures of one node since its last success. The marks are the whole job's counters when it began."""

    succeeded_before: int
    failed_before: int
    counted: int = 0
    """Failures that speak against the node."""
    failed: int = 0
    """All of them."""
    files: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Witness:
    """What must be known of a node whose attempt failed."""

    number: NodeNumber
    host: str
    cores: int


class FailureBudget:
    """The accounts of one session. `exceeded` says why the job should be stopped; `warnings` is for people, oldest first."""

    def __init__(self, config: BudgetConfig, n_events: int) -> None:
        self.config = config
        self.exceeded: str | None = None
        self.exceeded_by = EndCause.NONE
        self.warnings: list[str] = []
        self.aside: set[str] = set()
        """Hosts set aside."""
        self.succeeded = 0
        """Events stored, those of earlier sessions included: they prove that the release works."""
        self.failed_attempts = 0
        self.failed_events = 0
        self.n_events = n_events
        """Events of the job, as far as they are known."""
        self._up: dict[str, set[str]] = {}
        self._away: dict[str, float] = {}
        self._lost: set[str] = set()
        self._repeated: dict[str, _Repeated] = {}
        self._streaks: dict[NodeNumber, _Streak] = {}
        self._success_in: dict[int, NodeNumber] = {}
        self._warned: set[EndCause] = set()
        self._unjudged: str | None = None

    def warn(self, warning: str) -> None:
        """People should know this."""
        self.warnings.append(warning)

    def job_grew(self, n_events: int) -> None:
        """More events of the job are known."""
        self.n_events = n_events

    def restore(self, succeeded: int) -> None:
        """So many events were stored in earlier sessions."""
        self.succeeded = succeeded

    # ---- nodes that come and go

    def node_up(self, host: str, node: str) -> None:
        """A node is there; `node` is its incarnation's name."""
        self._up.setdefault(host, set()).add(node)
        self._away.pop(host, None)
        self._lost.discard(host)

    def node_down(self, host: str, node: str, now: float) -> None:
        """An incarnation is given up."""
        incarnations = self._up.setdefault(host, set())
        incarnations.discard(node)
        if not incarnations:
            self._away.setdefault(host, now)

    @property
    def n_lost(self) -> int:
        """Hosts lost or set aside."""
        return len(self._lost | self.aside)

    @property
    def max_lost(self) -> int:
        """So many may be lost."""
        config = self.config
        return min(config.max_lost_nodes, max(config.few_lost_nodes, int(config.max_lost_node_fraction * len(self._up))))

    def look_at_nodes(self, now: float) -> None:
        """Count as lost what has been away for too long."""
        news = False
        for host, since in list(self._away.items()):
            if now - since < self.config.lost_after_s:
                break
            del self._away[host]
            self._lost.add(host)
            news = True
        if news:
            self._judge_nodes()

    def _judge_nodes(self) -> None:
        lost, limit, joined = self.n_lost, self.max_lost, len(self._up)
        settings = "budget.max_lost_nodes, budget.max_lost_node_fraction"
        story = f"{lost} of {joined} nodes are lost, no more than {limit} may be ({settings})"
        self._compare(EndCause.LOST_NODES, lost, limit, story)

    # ---- events that fail for good

    @property
    def max_failed(self) -> int:
        """So many events may be given up."""
        config = self.config
        return min(config.max_failed_events, max(config.few_failed_events, int(config.max_failed_fraction * self.n_events)))

    def event_given_up(self, kind: str, message: str) -> None:
        """An event is out of chances."""
        self.failed_events += 1
        limit = self.max_failed
        settings = "budget.max_failed_events, budget.max_failed_fraction"
        failed = f"{self.failed_events} of {self.n_events} events failed in this session"
        story = f"{failed}, no more than {limit} may ({settings}); the last one: {kind}: {telling(message)}"
        self._compare(EndCause.FAILED_EVENTS, self.failed_events, limit, story)

    # ---- attempts

    def attempts_succeeded(self, node: NodeNumber, count: int, file: int) -> None:
        """A group of a node was accepted; its events are of (or begin with) input file `file`."""
        self.succeeded += count
        self._success_in[file] = node
        if self._streaks:
            self._streaks.pop(node, None)

    def attempt_failed(self, kind: str, message: str, witness: Witness, file: int, *, failed_elsewhere: bool) -> None:
        """An attempt failed on a node; `failed_elsewhere`: an earlier attempt at the same event failed on another one."""
        streak = self._streaks.get(witness.number)
        if streak is None:
            streak = self._streaks[witness.number] = _Streak(self.succeeded, self.failed_attempts)
        self.failed_attempts += 1
        streak.failed += 1
        if not failed_elsewhere:
            streak.counted += 1
            streak.files.add(file)
        self._note_message(kind, message, witness.host)

    def _note_message(self, kind: str, message: str, host: str) -> None:
        key = normalised(kind, message)
        repeated = self._repeated.pop(key, None) or _Repeated(f"{kind}: {telling(message)}")
        self._repeated[key] = repeated
        repeated.count += 1
        repeated.hosts.add(host)
        if len(self._repeated) > _MAX_MESSAGES:
            del self._repeated[next(iter(self._repeated))]
        if 2 * repeated.count >= self.config.repeated_failures:
            self._unjudged = key

    def judge_repetition(self, n_usable: int, unreported: int) -> None:
        """Look at an error that keeps coming. `unreported` are events finished on nodes whose groups are still to come."""
        repeated = self._repeated.get(self._unjudged or "")
        self._unjudged = None
        if repeated is None:
            return
        succeeded = self.succeeded + unreported
        config = self.config
        if succeeded > config.max_success_fraction * (succeeded + repeated.count):
            return
        if len(repeated.hosts) < min(config.repeated_nodes, max(n_usable, 1)):
            return
        where = f"{repeated.count} times on {len(repeated.hosts)} nodes with {succeeded} events done"
        limit = config.repeated_failures
        story = f"the same error {where}, {limit} times end the job (budget.repeated_failures): {repeated.example}"
        self._compare(EndCause.REPEATED_ERROR, repeated.count, limit - 1, story)

    @property
    def has_unjudged(self) -> bool:
        """An error has come often enough to be looked at."""
        return self._unjudged is not None

    # ---- bad nodes

    def is_shaky(self, node: NodeNumber) -> bool:
        """A node's last few attempts all failed."""
        streak = self._streaks.get(node) if self._streaks else None
        return streak is not None and streak.failed >= _SHAKY

    def is_suspected(self, witness: Witness, unreported: int) -> bool:
        """So many attempts in a row failed on a node that it should be looked at; `unreported` may yet prove to be successes."""
        streak = self._streaks.get(witness.number)
        limit = max(self.config.bad_node_failures, _PER_CORE * witness.cores + 1)
        return streak is not None and streak.counted >= limit + unreported

    def is_bad(self, witness: Witness) -> bool:
        """Whether it is the node's own fault, a suspected one's."""
        streak = self._streaks[witness.number]
        if witness.host in self.aside or 2 * (len(self.aside) + 1) > len(self._up):
            return False
        others_succeeded = self.succeeded - streak.succeeded_before
        others_failed = self.failed_attempts - streak.failed_before - streak.failed
        if others_succeeded == 0 or others_succeeded < others_failed:
            return False
        elsewhere = (self._success_in.get(file, witness.number) != witness.number for file in streak.files)
        return len(streak.files) > 1 or any(elsewhere)

    def set_aside(self, witness: Witness) -> None:
        """A node gets no more work. It counts as lost."""
        failures = self._streaks.pop(witness.number).failed
        self.aside.add(witness.host)
        self.warnings.append(f"node {witness.host} is set aside: its last {failures} attempts all failed while others succeed")
        self._judge_nodes()

    # ----

    def _compare(self, account: EndCause, count: int, limit: int, story: str) -> None:
        if count > limit and self.exceeded is None:
            self.exceeded, self.exceeded_by = story, account
        elif 2 * count > limit and account not in self._warned:
            self._warned.add(account)
            self.warnings.append(story)
