"""Who goes on with a job when the machine of its head dies: the decisions of one node process.

Every node process looks now and then whether the head's machine answers and what the task's lease says, and is told what to do.
There is no vote and no message between nodes. Whoever takes the lease is the head, and the lease goes to one only: not before
its holder has been silent for long, and to the first that asks then. Rules:

- a head that is out of reach but renews its lease is alive behind a link that is cut, and has no successor;
- the silence of a lease is measured by the heartbeats seen, on the clock of the node that looks; a node that cannot read the
  lease knows nothing, and claims nothing;
- nodes claim one after the other, by rank; each claim is made under a session's name of its own;
- while another node is taking over the others stay ready, without Ray, until it is known to be at work;
- the job is given up to the batch system only when nobody goes on with it.

Times are monotonic seconds of the node.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Move(StrEnum):
    """What a node process does next."""

    WATCH = "watch"
    """Go on as before, and look again soon."""
    CLAIM = "claim"
    """Try to take the lease; with it, become the head."""
    STAND_BY = "stand by"
    """Another node is taking over: end what computes here, and look again."""
    LEAVE = "leave"
    """Another node is the head, or the job is over: this process is not needed any more."""
    GIVE_UP = "give up"
    """Nobody goes on with the job here: the batch system should."""


@dataclass(frozen=True, slots=True)
class SuccessionPolicy:
    """How patient a node is."""

    head_silence_s: float = 30.0
    """A head's machine that has answered nothing for so long may be dead."""
    lease_silence_s: float = 60.0
    """A lease that was not renewed for so long has no holder any more."""
    stagger_s: float = 2.0
    """Between the claims of two nodes."""
    last_stagger_s: float = 30.0
    settled_after_s: float = 60.0
    """A new head whose lease has been renewed for so long needs no understudy."""
    patience_s: float = 600.0
    """Nobody waits longer than this for a head."""
    max_claims: int = 2
    """Of one node, which come to nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What a node process sees."""

    head_answers: bool
    """The machine of the head this node process was started by."""
    ray_runs: bool
    """Here."""
    lease_readable: bool = True
    """Whether there is an answer to what the lease says."""
    holder: str = ""
    """Session that holds the lease; empty: nobody."""
    heartbeat: float = 0.0
    """As the holder wrote it: compared with itself only."""


class Succession:
    """One node process's part in it. `session` is that of the head it was started by; ranks count from 0."""

    def __init__(self, session: str, rank: int, policy: SuccessionPolicy | None = None) -> None:
        self._session = session
        self._policy = policy or SuccessionPolicy()
        self._stagger_s = min(rank * self._policy.stagger_s, self._policy.last_stagger_s)
        self._silent_since: float | None = None
        self._heard: tuple[str, float] | None = None
        """Holder and heartbeat seen last."""
        self._heard_at = 0.0
        """Since when the lease can have been silent."""
        self._renewed_at = float("-inf")
        """When a heartbeat was seen that had been written a moment before."""
        self._read_at = float("-inf")
        self._succeeded_at: float | None = None
        """When the lease was first seen in the hands of another session."""
        self._claims = 0

    @property
    def doubts(self) -> bool:
        """Whether the head's machine did not answer lately."""
        return self._silent_since is not None

    def look(self, sight: Sight, now: float) -> Move:
        """What to do, after another look."""
        self._note_head(sight, now)
        self._note_lease(sight, now)
        if self._succeeded_at is not None:
            return self._as_understudy(sight, now, self._succeeded_at)
        if self._silent_since is None:
            return Move.WATCH if sight.ray_runs else Move.LEAVE
        silent_s = now - self._silent_since
        if self._is_orphaned(sight, now) and silent_s >= self._policy.head_silence_s:
            return Move.CLAIM if sight.holder and self._claims < self._policy.max_claims else self._without_head(now)
        return Move.WATCH if silent_s < self._policy.patience_s else self._without_head(now)

    def claim_failed(self, now: float) -> None:
        """This node had the lease, and could not go on with the job."""
        self._claims += 1
        self._stagger_s += self._policy.last_stagger_s  # others first
        self._heard_at = now

    def _note_head(self, sight: Sight, now: float) -> None:
        if sight.head_answers:
            self._silent_since = None
        elif self._silent_since is None:
            self._silent_since = self._heard_at = now

    def _note_lease(self, sight: Sight, now: float) -> None:
        if not sight.lease_readable:
            self._heard_at = now
            return
        if self._heard != (sight.holder, sight.heartbeat):
            self._heard, self._heard_at = (sight.holder, sight.heartbeat), now
            if now - self._read_at < self._policy.lease_silence_s / 2:
                self._renewed_at = now
        self._read_at = now
        if self._succeeded_at is None and self._silent_since is not None and sight.holder not in {"", self._session}:
            self._succeeded_at = now

    def _is_orphaned(self, sight: Sight, now: float) -> bool:
        """Nobody has renewed the lease for long, and others have had their chance."""
        return sight.lease_readable and now - self._heard_at >= self._policy.lease_silence_s + self._stagger_s

    def _as_understudy(self, sight: Sight, now: float, since: float) -> Move:
        """Somebody has taken over, or tries to."""
        if sight.lease_readable and not sight.holder:
            return Move.LEAVE  # and has come to the end of the job
        if self._is_orphaned(sight, now):
            return Move.CLAIM if self._claims < self._policy.max_claims else self._without_head(now)
        heard_lately = now - self._renewed_at < self._policy.lease_silence_s / 2
        return Move.LEAVE if heard_lately and now - since >= self._policy.settled_after_s else Move.STAND_BY

    def _without_head(self, now: float) -> Move:
        """Patience is over. A lease that is alive has somebody behind it."""
        return Move.GIVE_UP if now - self._heard_at >= self._policy.lease_silence_s else Move.LEAVE
