"""One life of the simulated coordinator: the real desk and engine, a ledger, merges that take time.

It carries out what the engine decides, as the real one does. When it crashes, everything but the ledger and the disk is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from raythena.domain.ranges import Indices
from raythena.domain.records import Record, Restored
from raythena.domain.results import GroupReport
from raythena.engine import commands as do
from raythena.engine import events as ev
from raythena.engine.desk import CoordinatorDesk
from raythena.engine.engine import Engine
from raythena.engine.node import CoordinatorReply, NodeMessage
from raythena.testing.simulation.samples import merged_of

if TYPE_CHECKING:
    from raythena.testing.simulation.site import Site

_TICK_S = 0.5
_COMMIT_INTERVAL_S = 0.05
_RETRY_S = 1.0

EngineMaker = Callable[..., Engine]


class SimulatedLedger(Protocol):
    """What the coordinator needs of a ledger; the real one has it."""

    def commit(self, records: Sequence[Record]) -> None:
        """Remember all of them or none."""

    def groups_named(self, names: Iterable[str]) -> list[GroupReport]:
        """Committed groups, with the entries that count."""

    def restore(self) -> Restored:
        """What a new engine starts from."""


class SimulatedCoordinator:
    """`site.ledger` is what it starts from."""

    def __init__(self, site: Site, make_engine: EngineMaker) -> None:
        self._site = site
        self._waiting: list[do.Commit] = []
        self._writing = False
        self._stalled = False
        self._replies: dict[str, CoordinatorReply] = {}
        self._alive = True
        self.finish: do.Finish | None = None
        engine = make_engine(site.job, site.ledger.restore(), site.plan.engine)
        self.desk = CoordinatorDesk(engine, site.plan.desk)
        site.judge.after_step(engine)
        self._tick()

    def crash(self) -> None:
        """Stop at once."""
        self._alive = False

    # ---- what it hears

    def register(self, node: str, cores: int, held: Indices) -> CoordinatorReply:
        """A node introduces itself."""
        return self._checked(node, self.desk.register(node, cores, held, self._site.now))

    def exchange(self, message: NodeMessage) -> CoordinatorReply:
        """A node reports."""
        return self._checked(message.node, self.desk.exchange(message, self._site.now))

    def tell(self, event: ev.Event) -> None:
        """Something happened."""
        self.desk.step(event, self._site.now)
        self._carry_out()

    def _checked(self, node: str, reply: CoordinatorReply) -> CoordinatorReply:
        if reply.leases and reply is not self._replies.get(node):  # a repeated one may be out of date
            self._replies[node] = reply
            for lease in reply.leases:
                self._site.judge.lent(lease)
        self._carry_out()
        return reply

    def _later(self, delay_s: float, action: Callable[[], None]) -> None:
        self._site.agenda.after(delay_s, lambda: action() if self._alive else None)

    def _tick(self) -> None:
        for name in self.desk.lose_silent_nodes(self._site.now):
            self._site.tell_story(f"{name} is given up")
        self.tell(ev.Tick())
        if self.finish is None:
            self._later(_TICK_S, self._tick)

    # ---- what it does

    def _carry_out(self) -> None:
        self._site.judge.after_step(self.desk.engine)
        for command in self.desk.take_world():
            match command:
                case do.Commit():
                    self._waiting.append(command)
                    self._write_soon()
                case do.DiscardGroups():
                    self._site.disk.remove_groups(command.groups)
                case do.StartMerge():
                    self._later(command.delay_s + self._site.fate.delay_s(), lambda command=command: self._merge(command))  # type: ignore[misc]
                case do.Finish():
                    self.finish = command

    def _write_soon(self) -> None:
        if not self._writing:
            self._writing = True
            self._later(_COMMIT_INTERVAL_S, self._write)

    def _write(self) -> None:
        """Commit everything that waits, in one transaction; try again while the disk refuses."""
        site = self._site
        if site.now < site.disk.refused_until:
            self._stalled = True
            self.tell(ev.StorageStalled("simulated"))
            self._later(_RETRY_S, self._write)
            return
        batch, self._waiting = self._waiting, []
        site.commit([commit.record for commit in batch])
        self._later(site.fate.delay_s(), lambda: self._written(tuple(commit.ticket for commit in batch)))

    def _written(self, tickets: tuple[int, ...]) -> None:
        if self._stalled:
            self._stalled = False
            self.tell(ev.StorageRecovered())
        self.tell(ev.Committed(tickets))
        self._writing = False
        if self._waiting:
            self._write_soon()

    def _merge(self, command: do.StartMerge) -> None:
        site = self._site
        groups = site.ledger.groups_named(command.groups)
        members = [int(index) for group in groups for index in group.entries["range"]]
        site.judge.merging(command.output, members)
        bad = tuple((group.name, lost) for group in groups if (lost := site.disk.unreadable(group)))
        if bad:
            site.tell_story(f"output {command.output}: unreadable {bad}")
            self._later(0.1, lambda: self.tell(ev.MergeFailed(command.merge, "unreadable", bad)))
        elif site.fate.happens(site.plan.merge_failure):
            self._later(0.1, lambda: self.tell(ev.MergeFailed(command.merge, "simulated")))
        else:
            self._later(0.001 * len(members) + 0.05, lambda: self._merged(command, members))

    def _merged(self, command: do.StartMerge, members: list[int]) -> None:
        """The output is moved into place, then told."""
        self._site.disk.outputs[command.output] = members
        merged = merged_of(self._site.job, command.output, len(np.unique(members)), command.missing)
        self.tell(ev.MergeSucceeded(command.merge, merged))
