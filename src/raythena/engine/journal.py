"""What the engine wants done, in order, which records the ledger still owes an answer for, and what happened lately.

A record leaves under a ticket. The ledger commits in order, so everything up to the oldest open ticket is durable.

What happened lately, event by event and command by command, is kept for one purpose: when a rule of ours is broken, the error
tells the last steps of the range it is about. Ticks and reports of nodes are left out; what they led to is not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from raythena.domain.errors import InternalError
from raythena.domain.records import Record
from raythena.engine import events as ev
from raythena.engine.commands import Command, Commit
from raythena.engine.step_words import told

_STEPS_KEPT = 4096
_STEPS_TOLD = 12


class Journal:
    """Commands of the step under way, open tickets, the last steps."""

    def __init__(self) -> None:
        self._commands: list[Command] = []
        self._open: dict[int, Record] = {}
        self._probe: tuple[int, float] | None = None
        """A ticket, and when it was given out."""
        self._now = 0.0
        self._steps: deque[tuple[float, ev.Event | Command]] = deque(maxlen=_STEPS_KEPT)
        self.next_ticket = 1

    def begin(self, event: ev.Event, now: float) -> None:
        """A step begins."""
        self._now = now
        if not isinstance(event, ev.Tick | ev.NodeReport):
            self._steps.append((now, event))

    def story(self, range_index: int) -> str:
        """The last steps that concerned a range, a line each, oldest first."""
        lines = [f"{at:.3f} s: {words}" for at, step in self._steps if (words := told(step, range_index))]
        return "\n".join(lines[-_STEPS_TOLD:])

    def do(self, command: Command) -> None:
        """Something is to be done."""
        self._commands.append(command)

    def commit(self, record: Record, now: float) -> None:
        """The ledger is to remember this."""
        ticket = self.next_ticket
        self.next_ticket += 1
        self._open[ticket] = record
        if self._probe is None:
            self._probe = (ticket, now)
        self.do(Commit(ticket=ticket, record=record))

    def take_commands(self) -> list[Command]:
        """The commands since the last call."""
        commands, self._commands = self._commands, []
        self._steps.extend((self._now, command) for command in commands)
        return commands

    def close(self, tickets: Iterable[int]) -> list[Record]:
        """The ledger has committed these: their records. Raises InternalError for a ticket that is not open."""
        records = []
        for ticket in tickets:
            record = self._open.pop(ticket, None)
            if record is None:
                raise InternalError(f"the ledger committed ticket {ticket}, which was not asked for")
            records.append(record)
        return records

    def commit_took_s(self, tickets: Iterable[int], now: float) -> float | None:
        """How long a commit took, if one that was timed is among these tickets."""
        if self._probe is None or self._probe[0] not in tickets:
            return None
        began, self._probe = self._probe[1], None
        return now - began

    @property
    def oldest_open(self) -> int:
        """Every earlier ticket is committed."""
        return next(iter(self._open), self.next_ticket)

    @property
    def is_settled(self) -> bool:
        """No ticket is open."""
        return not self._open
