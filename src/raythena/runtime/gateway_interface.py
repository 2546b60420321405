"""The plug-in point for gateways: where event ranges come from, and where news of the job goes while it runs.

A gateway lives in the coordinator's process and event loop: it survives the driver, and it is made anew with every new life of
the coordinator. It translates; it decides nothing. How many ranges are wanted and when, what became of each, when the job is
over: all of that it is told.

                     ranges_wanted(n)   report_due(r)   output_merged(o)   progressed(p)   ended(r)
    coordinator  ────────────────────────────────────────────────────────────────────────────────▶  gateway
                 ◀────────────────────────────────────────────────────────────────────────────────
                     ranges_given(...)  ranges_ended()  reports_acknowledged(...)  stop(...)

Rules for a gateway:
- what it is told it is told by plain calls that must return at once; whatever takes time it does in `run`, and whatever touches
  a disk in a thread, because nodes wait for the same event loop;
- one request for ranges is open at a time: after `ranges_wanted` there is no other one until `ranges_given` or `ranges_ended`
  answered it. More or fewer ranges than wanted are an answer too, and ranges nobody asked for are taken as well;
- ranges are safe when `ranges_given` returns, not before: whatever they came in (a file, say) is kept until then, and given
  again by the next life when this one ended too early. Ranges given twice are computed once;
- reports may be bundled, never split. A report is acknowledged when whoever it is for has taken it; what is not acknowledged is
  told again by the next life, and the job does not end by itself before everything is;
- a new life is told all outputs merged so far, all reports not acknowledged, and asked for ranges, as if for the first time. One
  that must know more than that is a `HistoryReader` as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from raythena.domain.errors import InvalidInput
from raythena.domain.job import Job
from raythena.domain.progress import Progress
from raythena.domain.range_report import RangeReport
from raythena.domain.ranges import EventRange
from raythena.domain.taxonomy import EndCause
from raythena.runtime.session_end import SessionResult

ENTRY_POINT_GROUP = "raythena.gateways"


@dataclass(frozen=True, slots=True)
class FinalOutput:
    """A merged output, durable and in its final place."""

    lfn: str
    path: str
    """Absolute."""
    guid: str
    size_bytes: int
    adler32: int
    n_events: int


@dataclass(frozen=True, slots=True)
class GatewayContext:
    """What a gateway is told about the session it serves."""

    job: Job
    """With the canonical absolute path of every input, for ranges that only name it (`InputFile.lfn`, `InputFile.pfn`)."""
    session: str
    task_directory: Path
    options: dict[str, Any]
    """`GatewaySpec.options` of the session."""


class CoordinatorLine(Protocol):
    """What a gateway may tell the coordinator. To be called in the coordinator's event loop."""

    async def ranges_given(self, ranges: Sequence[EventRange]) -> int:
        """Hand event ranges over; answers a request. Returns, once they are durable, how many of them are new.

        Raises InvalidInput for a range of a file that is no input of the job, or under another path than the job's; none of
        `ranges` is taken then.
        """

    def ranges_ended(self) -> None:
        """There are no more ranges; answers a request. The job is over when those given are."""

    async def reports_acknowledged(self, numbers: Iterable[int]) -> None:
        """Reports have been taken by whoever they are for. Returns once that is durable; numbers not known are ignored."""

    def stop(self, reason: str, cause: EndCause = EndCause.ASKED, by: float | None = None) -> None:
        """The outside wants an early end; `by` is in wall-clock seconds since the epoch, None: no hurry. Safe to repeat."""


class Gateway(Protocol):
    """One side of the outside world. See the module's rules."""

    async def run(self, coordinator: CoordinatorLine) -> None:
        """Work until there is nothing left to do, or until cancelled. Whatever it raises ends the job, under its own name."""

    def ranges_wanted(self, count: int) -> None:
        """Get about `count` more ranges. Only in a job whose ranges are given."""

    def report_due(self, report: RangeReport) -> None:
        """Tell the outside what became of some ranges. Only in a job whose ranges are given."""

    def output_merged(self, output: FinalOutput) -> None:
        """An output is in its final place."""

    def progressed(self, progress: Progress) -> None:
        """How the job stands; about once a second, and not when nothing can be known."""

    async def ended(self, result: SessionResult) -> None:
        """The session's last word: the job report is written, nothing is computed any more, `run` has been cancelled.

        `result.error` names what went wrong, in the terms of the taxonomy. `SessionConfig.gateway_patience_s` are given to tell
        the outside; then the session ends without.
        """


@dataclass(frozen=True, slots=True)
class TaskHistory:
    """What the ledger knew of a task when this life of the coordinator began."""

    given: Sequence[EventRange]
    """Every range that was handed out, in order."""
    finished: Sequence[RangeReport]
    """Everything that was finished, in order, whether its report was acknowledged or not."""
    failed: frozenset[str]
    """Ids of the ranges that were given up."""


@runtime_checkable
class HistoryReader(Protocol):
    """A gateway that wants to know what was before it."""

    def resumed(self, history: TaskHistory) -> None:
        """Told once, before `Gateway.run`, with all there is: the first life of a task is told that there is nothing."""


@dataclass(frozen=True)
class GatewayPlugin:
    """What an entry point of `raythena.gateways` names."""

    name: str
    factory: Callable[[GatewayContext], Gateway]
    """Must not touch the outside world yet; that is for `run`."""
    check_options: Callable[[dict[str, Any], str], None] | None = field(default=None)
    """`check_options(options, source)` raises InvalidInput for options the gateway would refuse; may be None."""


def gateway_plugin(kind: str) -> GatewayPlugin:
    """The gateway registered under `kind`. Raises InvalidInput naming those that exist."""
    known = {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP)}
    if kind not in known:
        names = ", ".join(sorted(known)) or "none is installed"
        raise InvalidInput("session", "gateway.kind", f"no gateway called {kind!r}", expected=f"one of {names}")
    plugin = known[kind].load()
    if not isinstance(plugin, GatewayPlugin):
        raise InvalidInput("session", "gateway.kind", f"{known[kind].value} is not a GatewayPlugin")
    return plugin
