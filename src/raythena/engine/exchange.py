"""The exchange of messages with nodes: messages in, replies out, everything else passed through. No I/O.

The engine takes single events and gives single commands; nodes send messages, one at a time, each answered once. The exchange
translates. It keeps an outbox for each node, which collects what the engine decides and is emptied into the node's next reply.

Rules:
- a message repeated because its answer was lost gets the same answer again, and has no second effect;
- a message that comes after its successor is a stray copy: it has no effect, and nobody waits for its answer;
- a node the engine does not know, or has given up, is told to register and nothing else;
- registering empties the outbox: what the node holds is what it says it holds;
- a node silent for `node_timeout_s` is given up; time in which nobody listened does not count as its silence.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from raythena.domain.ranges import EventRange, Indices
from raythena.engine import commands as do
from raythena.engine import events as ev
from raythena.engine.engine import Engine
from raythena.engine.node_core import NodeConfig
from raythena.engine.node_messages import CoordinatorReply, NodeMessage

_MISSED_INTERVALS = 10
_RELAXED_S = 2.0
_PER_EVENT, _PER_EVENT_HUNGRY = 0.05, 0.002
"""Where events are long, nodes report after this share of an event's time, but every `_RELAXED_S` at least."""
_IMPATIENCE = 0.2
"""A node that needs ranges at once waits for this share of the interval that the number of nodes demands."""

EffectCommand = (
    do.Commit
    | do.DiscardGroups
    | do.StartMerge
    | do.PlaceOutput
    | do.RequestRanges
    | do.AcceptRanges
    | do.PublishReport
    | do.Finish
)
"""Commands that are not for a node."""


@dataclass(frozen=True, slots=True)
class ExchangeConfig:
    """How often nodes report and when they count as lost."""

    exchange_interval_s: float = NodeConfig().exchange_interval_s
    """What the nodes are set to."""
    hungry_interval_s: float = 0.1
    """Interval of nodes with idle cores, and of all nodes at the end of the job."""
    interval_per_node_s: float = 0.002
    """Intervals are never shorter than this times the number of nodes, so that the coordinator is not flooded."""
    node_timeout_s: float = 10.0
    """Ten times the interval at least, whatever is said here."""


@dataclass(slots=True)
class _Outbox:
    leases: list[Indices] = field(default_factory=list)
    acknowledged: list[str] = field(default_factory=list)
    revoked: list[Indices] = field(default_factory=list)
    recall: int = 0
    flush: bool = False
    drain: bool = False


@dataclass(slots=True)
class _Line:
    """What is kept of the conversation with one node."""

    outbox: _Outbox = field(default_factory=_Outbox)
    sequence: int = 0
    reply: CoordinatorReply | None = None


class NodeExchange:
    """Owns the engine. `take_effects` gives the commands that are not for nodes."""

    def __init__(self, engine: Engine, config: ExchangeConfig | None = None) -> None:
        self.engine = engine
        self.config = config or ExchangeConfig()
        self._lines: dict[str, _Line] = {}
        self._effects: list[EffectCommand] = []
        self._heard: dict[str, float] = {}
        """When each node, given up or not, was heard of last."""
        self._looked_at: float | None = None

    def is_over(self) -> bool:
        """The engine has decided how the job ends."""
        return self.engine.finished is not None

    def take_effects(self) -> list[EffectCommand]:
        """Commands for the ledger, the disk, the merges and the driver, since the last call."""
        effects, self._effects = self._effects, []
        return effects

    def step(self, event: ev.Event, now: float) -> None:
        """Take one event; sort the commands into outboxes and `effects`."""
        for command in self.engine.step(event, now):
            self._sort(command)

    def register(self, node: str, cores: int, held: Indices, now: float) -> CoordinatorReply:
        """A node introduces itself with everything it holds. Safe to repeat."""
        if self.is_over():
            return CoordinatorReply(stop=True)
        self._heard[node] = now
        line = self._lines.setdefault(node, _Line())
        line.outbox, line.reply, line.sequence = _Outbox(), None, 0
        self.step(ev.NodeJoined(node=node, cores=cores, held=held), now)
        return self._reply(line, node)

    def exchange(self, message: NodeMessage, now: float) -> CoordinatorReply:
        """Take a node's message and answer it."""
        if self.is_over():
            return CoordinatorReply(stop=True)
        self._heard[message.node] = now
        known = self.engine.fleet.get(message.node)
        line = self._lines.get(message.node)
        if known is None or not known.up or line is None:
            return CoordinatorReply(register=True)
        if line.reply is not None and message.sequence <= line.sequence:
            return line.reply if message.sequence == line.sequence else CoordinatorReply()
        self._take_in(message, now)
        reply = CoordinatorReply(stop=True) if self.is_over() else self._reply(line, message.node)
        line.sequence, line.reply = message.sequence, reply
        return reply

    def lose_silent_nodes(self, now: float) -> list[str]:
        """Give up nodes that have said nothing for too long; returns their names. To be called several times a second."""
        config = self.config
        limit_s = max(config.node_timeout_s, _MISSED_INTERVALS * config.interval_per_node_s * self.engine.fleet.n_up)
        self._excuse_own_pause(now, 0.5 * limit_s)
        silent = [node.name for node in self.engine.fleet.up() if now - self._heard[node.name] > limit_s]
        for name in silent:
            self.lose(name, f"no message for {limit_s:.0f} s", now)
        return silent

    def _excuse_own_pause(self, now: float, noticed_s: float) -> None:
        """The coordinator has not looked for a while, stopped or starved of CPU: in that time it received nothing."""
        paused_s = now - (now if self._looked_at is None else self._looked_at)
        self._looked_at = now
        if paused_s > noticed_s:
            self._heard = {node: min(heard_at + paused_s, now) for node, heard_at in self._heard.items()}

    def silence_s(self, node: str, now: float) -> float:
        """How long nothing has been heard of a node, given up or not; infinite when nothing ever was."""
        return now - self._heard.get(node, float("-inf"))

    def lose(self, node: str, reason: str, now: float) -> None:
        """A node is known to be gone."""
        self.step(ev.NodeLost(node=node, reason=reason), now)
        self._lines.pop(node, None)

    def _take_in(self, message: NodeMessage, now: float) -> None:
        for group in message.groups:
            self.step(ev.GroupReported(group), now)
        for failure in message.failures:
            self.step(ev.AttemptReported(failure), now)
        if len(message.returned) or message.answers_recall:
            self.step(ev.RangesReturned(node=message.node, ranges=message.returned), now)
        self.step(
            ev.NodeReport(
                node=message.node,
                queued=message.queued,
                running=message.running,
                waiting=message.waiting,
                unreported=message.unreported,
                computed=message.computed,
                computed_s=message.computed_s,
                next_report_s=self._usual_interval_s,
                trouble=message.trouble,
                remarks=message.remarks,
            ),
            now,
        )

    def _reply(self, line: _Line, name: str) -> CoordinatorReply:
        box, line.outbox = line.outbox, _Outbox()
        leases = tuple(lease for lease in box.leases if len(lease))
        return CoordinatorReply(
            leases=leases,
            acknowledged=tuple(box.acknowledged),
            revoked=tuple(box.revoked),
            recall=box.recall,
            flush=box.flush,
            drain=box.drain,
            next_exchange_s=self._interval_s(box, name),
            min_exchange_s=_IMPATIENCE * self._shortest_interval_s,
            given=self._described(leases),
            attempts=self._attempts(leases),
            idle_means=self.engine.idle_means,
        )

    def _described(self, leases: tuple[Indices, ...]) -> tuple[EventRange, ...]:
        """What a node cannot know of its leases by itself."""
        table = self.engine.table
        return tuple(table.event_ranges(np.concatenate(leases))) if table.is_told and leases else ()

    def _attempts(self, leases: tuple[Indices, ...]) -> tuple[tuple[int, int], ...]:
        """(range, attempt) of those that were tried before."""
        if not leases:
            return ()
        ranges = np.concatenate(leases)
        failed = self.engine.table.attempt[ranges]
        again = np.flatnonzero(failed)
        return tuple((int(ranges[at]), min(int(failed[at]) + 1, 255)) for at in again)

    def _interval_s(self, box: _Outbox, name: str) -> float:
        config, node = self.config, self.engine.fleet.get(name)
        hungry = node is None or node.number in self.engine.fleet.idle or box.flush or box.drain
        if not hungry:
            return self._usual_interval_s
        return max(config.hungry_interval_s, self._stretched_s(_PER_EVENT_HUNGRY), self._shortest_interval_s)

    @property
    def _usual_interval_s(self) -> float:
        """Of nodes whose cores are all busy."""
        return max(self.config.exchange_interval_s, self._stretched_s(_PER_EVENT), self._shortest_interval_s)

    def _stretched_s(self, per_event: float) -> float:
        return min(_RELAXED_S, per_event * (self.engine.fleet.mean_event_s or 0.0))

    @property
    def _shortest_interval_s(self) -> float:
        """What the number of nodes demands."""
        return self.config.interval_per_node_s * self.engine.fleet.n_up

    def _sort(self, command: do.Command) -> None:
        if isinstance(command, EffectCommand):
            self._effects.append(command)
            return
        line = self._lines.get(command.node)
        if line is None:
            return
        box = line.outbox
        match command:
            case do.Lease():
                box.leases.append(command.ranges)
            case do.Acknowledge():
                box.acknowledged.append(command.group)
            case do.Revoke():
                box.leases = [np.setdiff1d(lease, command.ranges, assume_unique=True) for lease in box.leases]
                box.revoked.append(command.ranges)
            case do.Recall():
                box.recall += command.count
            case do.Flush():
                box.flush = True
            case do.Drain():
                box.drain = True
