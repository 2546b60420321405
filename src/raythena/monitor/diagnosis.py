"""Why a job is slow, and why it failed: causes with figures, the weightiest first.

`diagnose` is a pure function of what is recorded about a task (`Evidence`). A cause of slowness weighs as much as the part of all
cores it keeps from computing events that count: measured over the latest allocation by the account of core time, or told by the
nodes as they are now. A cause of failure weighs as much as the part of all events it cost; what ended the whole job comes first.

Rules: nothing is guessed from words in logs; each cause says what is known, in figures, and what a person can do; shares of
different causes may overlap, and are not added up; texts of payloads and sites are foreign: whoever shows them makes them
harmless.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median_high

from raythena.domain.core_time import Accounting, Idle, Share
from raythena.domain.failure_causes import FailureCause
from raythena.domain.progress import NodeProgress, Progress
from raythena.monitor.core_time_words import in_words
from raythena.monitor.snapshot import Snapshot
from raythena.monitor.wording import duration, percent

LEAST_SHARE = 0.01
"""What keeps less than this part of all cores from computing is not worth a word."""
SLOW_FACTOR = 1.5
"""A node is slow when its events take so many times as long as those of the median node."""
NAMES_TOLD = 5

Figure = int | float | str

_ADVICE: dict[str, str] = {
    Share.NODE_START: "Nodes come late: keep the software on a local or fast file system, take longer allocations",
    Idle.INITIALISATION: "The payload starts slowly, or often: cache conditions data, look for restarts in the agents' logs",
    Idle.BETWEEN: "Events are short beside what lies between them: raise payload.events_per_range",
    Idle.RANGES: "Nodes run dry: look at the coordinator's load, and at the network to it",
    Idle.STEERING: "Whoever hands the ranges out is slow: look at Harvester; in a scan that learns, raise `search.parallel`",
    Idle.DISK: "A disk refuses: make space on it, look at its quota and at the messages of the nodes",
    Idle.TAIL: "The job is too small for its cores, or has very long events: take fewer nodes, or jobs with more events",
    Idle.DRAINING: "The job ends early and begins nothing more; the message says why",
    Idle.MERGING: "All events are computed: more outputs, or more merges at the same time, would shorten this",
    Share.NODE_LOST: "Ask the site about the nodes that vanished",
    Share.AFTER_END: "Nodes wait for each other at the end: take more events for the allocation, or fewer nodes",
    Share.THROWN_AWAY: "The reasons say what was lost; those that are kinds of failure are explained under failures",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is recorded about a task, as far as there is any."""

    snapshot: Snapshot | None = None
    silent: str = ""
    """Why what the snapshot says is out of date; empty when it is not."""
    accounting: Accounting = field(default_factory=Accounting)
    n_events: int = 0
    failures: Sequence[FailureCause] = ()
    """Why events were given up."""
    attempts_failed: Mapping[str, int] = field(default_factory=dict)
    """Attempts that failed, by kind, retried ones included."""
    job_report: Mapping[str, object] = field(default_factory=dict)
    """Empty while the job runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One cause."""

    name: str
    """A stable name: `lost-nodes`, `core-time:tail`, `failed:crash`, …"""
    weight: float
    """0 to 1: of all cores, or of all events."""
    text: str
    """What is known."""
    advice: str = ""
    """What a person can do; empty: nothing."""
    figures: Mapping[str, Figure] = field(default_factory=dict)
    """The figures in the text, with units in their names."""

    def to_dict(self) -> dict[str, object]:
        """A JSON-ready copy."""
        figures = {name: round(value, 4) if isinstance(value, float) else value for name, value in self.figures.items()}
        return {"name": self.name, "weight": round(self.weight, 4), "text": self.text, "advice": self.advice, "figures": figures}


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The answers to both questions; nothing to tell is an empty answer."""

    slow: tuple[Cause, ...]
    failed: tuple[Cause, ...]

    def to_dict(self) -> dict[str, object]:
        """A JSON-ready copy."""
        return {"slow": [cause.to_dict() for cause in self.slow], "failed": [cause.to_dict() for cause in self.failed]}


def diagnose(evidence: Evidence) -> Diagnosis:
    """Why the job is slow, and why it failed."""
    return Diagnosis(_ranked(_slow(evidence)), _ranked(_failed(evidence)))


def _ranked(causes: Iterator[Cause]) -> tuple[Cause, ...]:
    return tuple(sorted(causes, key=lambda cause: -cause.weight))


# ---- why is it slow


def _slow(evidence: Evidence) -> Iterator[Cause]:
    snapshot = evidence.snapshot
    if snapshot is not None and not snapshot.ended:
        if evidence.silent:
            yield _silence(evidence.silent)
        else:
            yield from _of_nodes(snapshot.progress)
    yield from _of_core_time(evidence.accounting)


def _silence(silent: str) -> Cause:
    text = f"nothing is known to go on: {silent}"
    return Cause(name="no-coordinator", weight=1.0, text=text, advice="`raythena run JOB --resume` goes on where it stopped")


def _of_nodes(progress: Progress) -> Iterator[Cause]:
    """What the nodes tell at this moment."""
    cores = sum(node.cores for node in progress.nodes)
    if not cores:
        text = f"no node is there yet, {duration(progress.elapsed_s)} after the start"
        advice = "Look at the batch system and at launch.log for nodes that do not come"
        yield Cause(name="no-nodes", weight=1.0, text=text, advice=advice, figures={"elapsed_s": progress.elapsed_s})
        return
    states = {
        "lost": ("lost-nodes", "are lost", "Ask the site about them; their last words are in the coordinator's log"),
        "stalled": ("disk", "cannot go on: their disk refuses", "Make space on the disk, or look at its quota"),
        "aside": (
            "set-aside",
            "get nothing more, since all they were given failed there",
            "Look at their agents' logs; the node may be broken",
        ),
    }
    for state, (name, what, advice) in states.items():
        yield from _in_state([node for node in progress.nodes if node.state == state], cores, (name, what, advice))
    yield from _slow_nodes([node for node in progress.nodes if node.state == "up" and node.finished], cores)
    yield from _idle_cores(progress, cores)


def _in_state(nodes: list[NodeProgress], cores: int, words: tuple[str, str, str]) -> Iterator[Cause]:
    if nodes:
        name, what, advice = words
        held = sum(node.cores for node in nodes)
        text = f"{len(nodes):,} of the nodes, with {held:,} of {cores:,} cores, {what}: {_names(nodes)}"
        yield Cause(name=name, weight=held / cores, text=text, advice=advice, figures={"nodes": len(nodes), "cores": held})


def _slow_nodes(nodes: list[NodeProgress], cores: int) -> Iterator[Cause]:
    """Nodes whose events take long beside those of others: what they would save if they were like the median."""
    if len(nodes) < 3:
        return
    usual_s = median_high(node.mean_event_s for node in nodes)
    slow = [node for node in nodes if usual_s > 0 and node.mean_event_s > SLOW_FACTOR * usual_s]
    share = sum(node.cores * (1 - usual_s / node.mean_event_s) for node in slow) / cores
    if slow and share >= LEAST_SHARE:
        slow.sort(key=lambda node: -node.mean_event_s)
        worst = slow[0].mean_event_s
        text = (
            f"{len(slow):,} of {len(nodes):,} nodes are slow: an event takes up to {duration(worst)} there, "
            f"{duration(usual_s)} on the median node: {_names(slow)}"
        )
        advice = "Look for other jobs, hot processors or failing memory on them, or leave them out"
        figures: dict[str, Figure] = {"nodes": len(slow), "median_event_s": usual_s, "slowest_event_s": worst}
        yield Cause(name="slow-nodes", weight=share, text=text, advice=advice, figures=figures)


def _idle_cores(progress: Progress, cores: int) -> Iterator[Cause]:
    """Cores of nodes that are well, and compute nothing at this moment."""
    idle = sum(max(0, node.cores - node.busy) for node in progress.nodes if node.state in ("up", "draining"))
    if idle / cores < LEAST_SHARE:
        return
    why = {
        "draining": f"the job ends early{': ' + progress.message if progress.message else ''}",
        "merging": f"all events have an outcome, {progress.outputs - progress.outputs_merged:,} outputs are still to be merged",
    }.get(progress.phase, "")
    if not why:
        waiting = progress.ready
        why = f"{waiting:,} events wait to be handed out" if waiting else "no event is left to hand out: this is the tail"
    figures: dict[str, Figure] = {"idle_cores": idle, "cores": cores, "ready_events": progress.ready}
    yield Cause(name="idle-cores", weight=idle / cores, text=f"{idle:,} of {cores:,} cores are idle now; {why}", figures=figures)


def _of_core_time(accounting: Accounting) -> Iterator[Cause]:
    """What the cores of the latest allocation did instead of computing what counts."""
    latest = _latest(accounting)
    allocated_s = latest.allocated_s
    if allocated_s <= 0:
        return
    for category, seconds in latest.core_s.items():
        share = min(seconds / allocated_s, 1.0)
        if category in _ADVICE and share >= LEAST_SHARE:
            reasons = f" ({_reasons(latest.thrown_away)})" if category == Share.THROWN_AWAY else ""
            text = (
                f"{percent(share)} of the core time of this allocation: {in_words(category)}{reasons}{_worst(latest, category)}"
            )
            figures: dict[str, Figure] = {"core_s": seconds, "allocated_core_s": allocated_s}
            yield Cause(name=f"core-time:{category}", weight=share, text=text, advice=_ADVICE[category], figures=figures)


def _latest(accounting: Accounting) -> Accounting:
    session = accounting.nodes[-1].session if accounting.nodes else ""
    return Accounting(tuple(node for node in accounting.nodes if node.session == session))


def _worst(latest: Accounting, category: str) -> str:
    """The node that has most of it, where it has far more than its part."""
    nodes = latest.nodes
    total_s = latest.core_s[category]
    worst = max(nodes, key=lambda node: node.core_s.get(category, 0.0))
    mine_s = worst.core_s.get(category, 0.0)
    if len(nodes) < 3 or mine_s < 3 * total_s / len(nodes):
        return ""
    return f"; {percent(mine_s / total_s)} of that on {worst.host}"


def _reasons(thrown_away: Mapping[str, float]) -> str:
    return ", ".join(f"{reason} {duration(seconds)}" for reason, seconds in list(thrown_away.items())[:NAMES_TOLD])


def _names(nodes: Sequence[NodeProgress]) -> str:
    more = f" and {len(nodes) - NAMES_TOLD:,} more" if len(nodes) > NAMES_TOLD else ""
    return ", ".join(node.name for node in nodes[:NAMES_TOLD]) + more


# ---- why did it fail


def _failed(evidence: Evidence) -> Iterator[Cause]:
    report = evidence.job_report
    if evidence.silent and not report:
        yield _silence(evidence.silent)
    error = _section(_section(report, "raythena"), "error")
    if error:
        text = f"{error.get('what', 'the job failed')} (exit code {report.get('exitCode')}): {report.get('exitMsg', '')}"
        figures: dict[str, Figure] = {"exit_code": _whole(report.get("exitCode")), "panda_code": _whole(error.get("code"))}
        figures["who"] = str(error.get("who", ""))
        yield Cause(name="verdict", weight=1.0, text=text, advice=str(error.get("hint", "")), figures=figures)
    yield from _given_up(evidence)
    yield from _retried(evidence)


def _given_up(evidence: Evidence) -> Iterator[Cause]:
    for cause in evidence.failures:
        share = min(cause.count / evidence.n_events, 1.0) if evidence.n_events else 0.0
        events = "event was" if cause.count == 1 else "events were"
        text = f"{cause.count:,} {events} given up ({percent(share)}): {cause.fault.what}: {cause.text}"
        figures: dict[str, Figure] = {"events": cause.count, "who": str(cause.fault.who), "first_node": cause.first.node}
        figures |= {"first_range_index": cause.events[0], "panda_code": cause.fault.code}
        yield Cause(name=f"failed:{cause.kind}", weight=share, text=text, advice=cause.fault.hint, figures=figures)


def _retried(evidence: Evidence) -> Iterator[Cause]:
    """Attempts that failed and were made good: a warning of what is to come."""
    given_up = sum(cause.count for cause in evidence.failures)
    attempts = sum(evidence.attempts_failed.values())
    if attempts > given_up:
        told = ", ".join(f"{kind} {count:,}" for kind, count in sorted(evidence.attempts_failed.items(), key=lambda one: -one[1]))
        text = f"{attempts:,} attempts failed, {given_up:,} of them the last at their event: {told}"
        yield Cause(name="attempts", weight=0.0, text=text, figures={"attempts": attempts, "given_up": given_up})


def _section(document: Mapping[str, object], name: str) -> Mapping[str, object]:
    value = document.get(name)
    return value if isinstance(value, Mapping) else {}


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0
