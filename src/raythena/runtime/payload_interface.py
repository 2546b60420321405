"""The plug-in point for payloads: what computes events on a node.

A payload is started once per node, is fed ranges, and is asked for what became of them. It lives in the event loop of the node
agent; everything slow or dangerous happens in processes of its own.

Rules a payload keeps (`raythena.testing.payload_conformance` checks them):
- every range fed comes back exactly once, as `Done`, `Failed` or `Released`, whatever dies;
- an output is a file below `context.scratch`, complete when `Done` is returned; the agent takes it over and removes it;
- a range that kills its process is `Failed`; ranges waiting behind it are not: they are computed or `Released`;
- `poll` never blocks longer than asked; after `stop` no process of the payload is left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol

from raythena.domain.errors import InvalidInput
from raythena.domain.job import Job
from raythena.domain.job_number import JobNumbers
from raythena.domain.ranges import EventRange
from raythena.domain.results import FailureKind
from raythena.engine.memory_policy import MemoryLimits
from raythena.runtime.clock import SYSTEM_CLOCK, Clock

ENTRY_POINT_GROUP = "raythena.payloads"


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeLimits:
    """When an event counts as hanging."""

    min_time_limit_s: float = 60.0
    """No event is given less than this before it counts as hanging."""
    time_limit_factor: float = 20.0
    """An event hangs when it takes longer than this many times the longest of the finished ones."""
    first_time_limit_s: float = 3600.0
    """Time limit while fewer than ten events have finished."""


@dataclass(frozen=True, slots=True)
class PayloadContext(TimeLimits):
    """What a payload is told about the place it runs in, and how long an event may take there."""

    node: str
    cores: int
    scratch: Path
    """Node-local directory of this payload, empty at start; removed by the agent afterwards."""
    options: dict[str, object]
    """`PayloadSpec.options` of the job."""
    job_name: str
    log_dir: Path
    """Where the payload's standard output and error go; kept after the job."""
    job: Job | None = None
    """The whole job, for payloads that are told more by it than by their options; None in tests."""
    numbers: JobNumbers = field(default_factory=JobNumbers)
    """For starts of a transform: the agent's, so that a payload that is started again goes on counting."""
    clock: Clock = SYSTEM_CLOCK
    """What the payload asks for the time."""
    memory: MemoryLimits = field(default_factory=MemoryLimits)
    """What the payload may take of the node's memory."""
    task_directory: Path | None = None
    """On the shared file system: for what must outlive the node and is no output. None in tests."""


@dataclass(frozen=True, slots=True)
class LeasedRange:
    """One range given to a payload."""

    index: int
    """Range index: the payload hands it back with the outcome and uses it for nothing else."""
    event_range: EventRange
    attempt: int = 1
    """Counted from 1: how often the range has failed before, and one more. What was lost with a node does not count."""


@dataclass(frozen=True, slots=True)
class Started:
    """A core began working on the range. `at` is wall-clock seconds since the epoch."""

    index: int
    at: float


@dataclass(frozen=True, slots=True)
class Done:
    """The range is finished; its output is `size_bytes` bytes at `offset` of `path`."""

    index: int
    path: Path
    size_bytes: int
    started_at: float
    wall_s: float
    cpu_s: float
    offset: int = 0
    whole_file: bool = True
    """The output is the whole file, which the agent deletes; False: a stretch of a file the payload owns (a spool)."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The attempt failed."""

    index: int
    kind: FailureKind
    message: str
    wall_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Released:
    """The range was never started and is handed back."""

    index: int


@dataclass(frozen=True, slots=True)
class Remark:
    """Something people should know while the job runs: a warning in `raythena status`. No range depends on it."""

    text: str


PayloadOutcome = Started | Done | Failed | Released | Remark


class Payload(Protocol):
    """Computes events on one node. See the module's rules."""

    async def start(self, context: PayloadContext) -> None:
        """Start processes; return when ranges can be fed (they may still be initialising). Raises PayloadError."""

    @property
    def appetite(self) -> int:
        """How many more ranges the payload would take now so that no core waits."""

    def feed(self, leases: Sequence[LeasedRange]) -> None:
        """Take ranges. Never blocks."""

    def release(self, indices: Sequence[int]) -> None:
        """Ask for ranges back. Those not started come back as `Released`; for the others nothing happens."""

    def collected(self, stretches: Iterable[Path]) -> None:
        """Stretches of spools (`whole_file` False) the agent needs no more: the path of the spool, once for each stretch.

        The payload deletes a spool once it writes to another one and all its stretches are collected.
        """

    async def poll(self, timeout_s: float) -> list[PayloadOutcome]:
        """What happened since the last call, in order; waits at most `timeout_s` for the first.

        Raises PayloadError when the payload as a whole is beyond repair.
        """

    async def drain(self, deadline_s: float) -> None:
        """Release everything not started, let running events end, for at most `deadline_s` seconds. Outcomes come from `poll`."""

    async def stop(self) -> None:
        """End every process now. What was running is lost. Safe to call twice."""


@dataclass(frozen=True)
class PayloadPlugin:
    """What an entry point of `raythena.payloads` names."""

    name: str
    factory: Callable[[], Payload]
    """Must not touch the outside world yet; that is for `start`."""
    check_options: Callable[[dict[str, object], str], None] | None = field(default=None)
    """`check_options(options, source)` raises InvalidInput for options the payload would refuse; may be None."""
    needs_files: bool = False
    """Whether it can compute events of input files only."""
    streams: bool = False
    """Whether it can write several outputs for each event, as bundles (see `domain.bundle`)."""
    buffer_s: float = 0.0
    """Computing time a node must hold ahead for this payload, where the setting `engine.buffer_s` is less."""
    margin_s: float = 0.0
    """Time this payload needs between its last event and the end, where the setting `engine.margin_s` is less."""


def payload_plugin(kind: str) -> PayloadPlugin:
    """The payload registered under `kind`. Raises InvalidInput naming those that exist."""
    known = {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP)}
    if kind not in known:
        raise InvalidInput("job", "payload.kind", f"no payload called {kind!r}", expected="one of " + ", ".join(sorted(known)))
    plugin = known[kind].load()
    if not isinstance(plugin, PayloadPlugin):
        raise InvalidInput("job", "payload.kind", f"{known[kind].value} is not a PayloadPlugin")
    return plugin
