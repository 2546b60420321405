"""An allocation whose head's machine may die: node processes with the real rules, a lease, and everything that goes wrong.

One history is drawn from a seed: when the head dies, or only its link or a node's is cut; whose disk does not answer and for
how long; which claims come to nothing, and which successor dies too. Checked after every step: the lease has one living holder
at most, nobody gives the job up or leaves while that is wrong. Checked at the end: somebody has gone on with the job, or the
batch system has been told.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from raythena.domain.errors import LedgerBusy
from raythena.engine.succession import Move, Sight, Succession
from raythena.storage.task_lease import SILENCE_S
from raythena.testing.simulation.agenda import Agenda
from raythena.testing.simulation.judge import PromiseBroken
from raythena.testing.simulation.simulated_lease import LeaseInMemory

FIRST = "first"
"""Session of the head the allocation began with."""
_BEAT_S = 5.0
_RAY_OUTLIVES_S = 60.0
_JOB_S = 500.0
_HORIZON_S = 2000.0

Rules = Callable[[str, int], Succession]
NewLease = Callable[[Callable[[], float]], LeaseInMemory]


@dataclass(slots=True)
class _Head:
    """A session that holds the lease, or believes so: a claim, then the coordinator that grows out of it."""

    session: str
    host: str
    renewed_at: float
    leads: bool = False
    """There is a coordinator, not only a claim."""


@dataclass(slots=True)
class _Node:
    name: str
    rules: Succession
    here: bool = True
    cut_until: float = 0.0
    blind_until: float = 0.0
    """Its shared disk does not answer."""
    ray_until: float = float("inf")


@dataclass(slots=True)
class SuccessionOutcome:
    """What became of the job."""

    heads: list[str] = field(default_factory=list)
    """Sessions that had a coordinator, in order."""
    complete: bool = False
    given_up: bool = False
    """The batch system knows that the job is not complete: it was told, or the batch script has ended."""
    without_head_s: float = 0.0
    """From the death of the first head to the next coordinator."""


def simulate_succession(seed: int, rules: Rules = Succession, new_lease: NewLease = LeaseInMemory) -> SuccessionOutcome:
    """Live through one history. Raises PromiseBroken."""
    return _Allocation(seed, rules, new_lease).run()


class _Allocation:
    def __init__(self, seed: int, rules: Rules, new_lease: NewLease) -> None:
        self._seed = seed
        self._story: list[str] = []
        self._dice = dice = random.Random(seed)
        self._agenda = Agenda()
        self._lease = new_lease(lambda: self._agenda.now)
        self._nodes = [_Node(f"n{rank}", rules(FIRST, rank)) for rank in range(dice.choice((1, 1, 2, 3, 4, 6)))]
        self._heads: list[_Head] = []
        self._head_up = True
        self._head_cut_until = self._head_blind_until = 0.0
        self._died_at = 0.0
        self._doomed = dice.random() < 0.4
        """The first that goes on dies as well."""
        self._failing = 1.0 if dice.random() < 0.2 else 0.2
        """Share of claims whose command cannot go on."""
        self.outcome = SuccessionOutcome()

    def run(self) -> SuccessionOutcome:
        """From the start to the end of the allocation. Raises PromiseBroken."""
        self._lead(FIRST, "head")
        self._draw_troubles()
        for node in self._nodes:
            self._agenda.after(self._dice.uniform(0.0, 15.0), partial(self._look, node))
        while self._agenda.now < _HORIZON_S and not self.outcome.given_up:
            try:
                self._agenda.step()
            except IndexError:
                break
            self._check()
        if not self.outcome.complete and not self.outcome.given_up and any(node.here for node in self._nodes):
            raise self._broken(f"nobody goes on with the job, and nobody is told; heads so far: {self.outcome.heads}")
        return self.outcome

    def _tell(self, text: str) -> None:
        self._story.append(f"{self._agenda.now:7.1f} s  {text}")

    def _broken(self, promise: str) -> PromiseBroken:
        return PromiseBroken(promise, self._story, f"simulate_succession({self._seed})")

    def _draw_troubles(self) -> None:
        dice, after = self._dice, self._agenda.after
        if dice.random() < 0.8:
            after(dice.uniform(20.0, 300.0), self._lose_head)
        if dice.random() < 0.5:
            after(dice.uniform(0.0, 300.0), partial(self._cut_head, from_disk=dice.random() < 0.5))
        for node in self._nodes:
            if dice.random() < 0.3:
                after(dice.uniform(0.0, 400.0), partial(self._cut, node, dice.uniform(10.0, 200.0)))
            if dice.random() < 0.3:
                after(dice.uniform(0.0, 400.0), partial(self._blind, node, dice.uniform(10.0, 200.0)))

    # ---- troubles

    def _lose_head(self) -> None:
        self._tell("the head's machine dies")
        self._head_up, self._died_at = False, self._agenda.now
        self._heads = [head for head in self._heads if head.host != "head"]
        for node in self._nodes:
            node.ray_until = self._agenda.now + _RAY_OUTLIVES_S

    def _cut_head(self, *, from_disk: bool) -> None:
        """From the other nodes, and perhaps from the shared disk too."""
        self._head_cut_until = self._agenda.now + self._dice.uniform(10.0, 200.0)
        if from_disk:
            self._head_blind_until = self._head_cut_until
        self._tell(f"the head's link is cut until {self._head_cut_until:.0f} s{', to the disk too' if from_disk else ''}")

    def _cut(self, node: _Node, for_s: float) -> None:
        self._tell(f"the link of {node.name} is cut for {for_s:.0f} s")
        node.cut_until = self._agenda.now + for_s

    def _blind(self, node: _Node, for_s: float) -> None:
        self._tell(f"the shared disk does not answer {node.name} for {for_s:.0f} s")
        node.blind_until = self._agenda.now + for_s

    def _lose(self, node: _Node) -> None:
        self._tell(f"{node.name} dies")
        node.here = False
        self._heads = [head for head in self._heads if head.host != node.name]

    # ---- node processes

    def _look(self, node: _Node) -> None:
        if not node.here or self.outcome.complete:
            return
        now = self._agenda.now
        if any(head.host == node.name for head in self._heads):  # it has something else to do than to look
            self._agenda.after(_BEAT_S, partial(self._look, node))
            return
        session, heartbeat = self._lease.record
        readable = now >= node.blind_until
        answers = self._head_up and now >= max(node.cut_until, self._head_cut_until)
        sight = Sight(
            head_answers=answers,
            ray_runs=now < node.ray_until,
            lease_readable=readable,
            holder=session if readable else "",
            heartbeat=heartbeat if readable else 0.0,
        )
        self._do(node, node.rules.look(sight, now), sight)
        pause_s = self._dice.uniform(1.0, 4.0) if node.rules.doubts else self._dice.uniform(5.0, 20.0)
        self._agenda.after(pause_s, partial(self._look, node))

    def _do(self, node: _Node, move: Move, sight: Sight) -> None:
        if move is not Move.WATCH:
            self._tell(f"{node.name}: {move}")
        match move:
            case Move.CLAIM:
                self._claim(node)
            case Move.STAND_BY:
                node.ray_until = 0.0
            case Move.LEAVE:
                silent_s = self._agenda.now - sight.heartbeat if sight.holder else 0.0
                if not sight.head_answers and silent_s > SILENCE_S:
                    raise self._broken(f"{node.name} leaves, and nobody is at work")
                node.here = False
            case Move.GIVE_UP:
                if self._living():
                    raise self._broken(f"{node.name} gives the job up while {self._living()[0].session} is at work")
                self.outcome.given_up = True

    def _claim(self, node: _Node) -> None:
        session = node.name
        if self._agenda.now < node.blind_until:
            return
        try:
            self._lease.acquire(session, node.name)
        except LedgerBusy:
            return
        node.ray_until = 0.0
        head = _Head(session, node.name, self._agenda.now)
        self._heads.append(head)
        self._beat(head)
        if self._doomed:
            self._doomed = False
            self._agenda.after(self._dice.uniform(0.0, 60.0), partial(self._lose, node))
        elif self._dice.random() < self._failing:
            self._agenda.after(self._dice.uniform(1.0, 30.0), partial(self._fail, node, head))
            return
        self._agenda.after(self._dice.uniform(5.0, 30.0), partial(self._lead_after_claim, node, head))

    def _fail(self, node: _Node, head: _Head) -> None:
        """The command of a claim ends before its coordinator is there."""
        if head in self._heads:
            self._heads.remove(head)
            node.rules.claim_failed(self._agenda.now)

    def _lead_after_claim(self, node: _Node, head: _Head) -> None:
        if head in self._heads:
            node.here = False  # it has become the head
            self._heads.remove(head)
            self._lead(head.session, node.name)

    # ---- heads

    def _lead(self, session: str, host: str) -> None:
        """A coordinator begins."""
        self._tell(f"session {session} begins on {host}")
        self._lease.acquire(session, host)
        head = _Head(session, host, self._agenda.now, leads=True)
        self._heads.append(head)
        self.outcome.heads.append(session)
        if session != FIRST and not self.outcome.without_head_s:
            self.outcome.without_head_s = self._agenda.now - self._died_at
        self._beat(head)
        self._agenda.after(_JOB_S, partial(self._finish, head))

    def _beat(self, head: _Head) -> None:
        if head not in self._heads:
            return
        if head.host == "head" and self._agenda.now < self._head_blind_until:
            self._agenda.after(_BEAT_S, partial(self._beat, head))
            return
        if self._lease.record[0] != head.session:
            self._heads.remove(head)  # taken over: it ends
            self.outcome.given_up = self.outcome.given_up or head.host == "head"  # and the batch script with it
            return
        self._lease.beat()
        head.renewed_at = self._agenda.now
        self._agenda.after(_BEAT_S, partial(self._beat, head))

    def _finish(self, head: _Head) -> None:
        if head in self._heads and self._lease.record[0] == head.session:
            self._lease.release()
            self._heads.remove(head)
            self.outcome.complete = True

    def _living(self) -> list[_Head]:
        """Those that have renewed the lease lately, and so may write."""
        return [head for head in self._heads if self._agenda.now - head.renewed_at < SILENCE_S]

    def _check(self) -> None:
        living = self._living()
        if len(living) > 1:
            raise self._broken(f"two heads at once: {', '.join(head.session for head in living)}")
