"""A snapshot of a job for people and pages: what `status`, the live display and `--json` show."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class NodeProgress:
    """One node as the engine sees it."""

    name: str
    state: str
    """`up`, `lost`, `draining`, `stalled` (its disk refuses), or `aside` (it fails all it is given, and gets nothing more)."""
    cores: int
    busy: int
    """Cores computing an event at the last exchange."""
    leased: int
    """Ranges the node holds."""
    finished: int
    """Events of this node that were committed."""
    occupancy: float
    """Busy core-seconds over cores times the time since the node's first event, 0 to 1."""
    mean_event_s: float


@dataclass(frozen=True, slots=True)
class Progress:
    """The whole job at one moment."""

    job: str
    phase: str
    """`starting`, `running`, `draining`, `merging` or `ended`."""
    events: int
    """Events of the job."""
    ready: int
    leased: int
    stored: int
    """Committed, not merged yet."""
    merged: int
    failed: int
    attempts_failed: int
    """Attempts that failed, retried ones included."""
    outputs: int
    outputs_merged: int
    merging: int
    """Merges running now."""
    resumed: int
    """Events already finished when this session began."""
    rate_per_s: float
    """Events committed per second, lately."""
    remaining_s: float | None
    """Estimated seconds to the end; None while unknown."""
    elapsed_s: float
    """Since this session's coordinator first began."""
    occupancy: float
    nodes: tuple[NodeProgress, ...] = ()
    message: str = ""
    """What a person should know now, for example why the job is draining."""
    warnings: tuple[str, ...] = ()
    """What went wrong so far beyond single events, the latest last."""

    @property
    def finished(self) -> int:
        """Events whose output is safe: stored or merged."""
        return self.stored + self.merged

    def to_dict(self) -> dict[str, object]:
        """A JSON-ready copy."""
        return asdict(self)
