"""From the engine's state to what people see."""

from __future__ import annotations

from collections import deque

from raythena.domain.progress import NodeProgress, Progress
from raythena.domain.ranges import RangeState
from raythena.engine.engine import Engine
from raythena.engine.fleet import Node

_WINDOW_S = 15.0
_WARNINGS = 20


class ProgressMeter:
    """Remembers a little history, so that rates and remaining times can be told. Times are monotonic seconds."""

    def __init__(self, engine: Engine, began: float) -> None:
        self._engine = engine
        self._began = began
        self._history: deque[tuple[float, int]] = deque()

    def read(self, now: float) -> Progress:
        """The job at this moment."""
        engine = self._engine
        table = engine.table
        stored = table.count(RangeState.STORED)
        merged = table.count(RangeState.MERGED)
        rate_per_s = self._rate(now, stored + merged)
        failed = table.count(RangeState.FAILED)
        left = len(table) - stored - merged - failed
        nodes = tuple(_node(node) for node in engine.fleet)
        return Progress(
            job=engine.job.name,
            phase=self._phase(left),
            events=len(table),
            ready=table.count(RangeState.READY),
            leased=table.count(RangeState.LEASED) + table.count(RangeState.ACCEPTED) + table.count(RangeState.FAILING),
            stored=stored,
            merged=merged,
            failed=failed,
            attempts_failed=engine.retries.attempts_failed,
            outputs=engine.outputs.n_outputs,
            outputs_merged=engine.merges.n_merged,
            merging=len(engine.merges.running),
            resumed=engine.resumed,
            rate_per_s=rate_per_s,
            remaining_s=left / rate_per_s if rate_per_s > 0 else None,
            elapsed_s=now - self._began,
            occupancy=occupancy(engine),
            nodes=nodes,
            message=self._message(),
            warnings=tuple(engine.warnings[-_WARNINGS:]),
        )

    def _rate(self, now: float, finished: int) -> float:
        self._history.append((now, finished))
        while len(self._history) > 2 and now - self._history[0][0] > _WINDOW_S:
            self._history.popleft()
        (then, before), (last, after) = self._history[0], self._history[-1]
        return (after - before) / (last - then) if last > then else 0.0

    def _phase(self, left: int) -> str:
        engine = self._engine
        if engine.finished is not None:
            return "ended"
        if engine.stopping is not None:
            return "draining"
        if engine.fleet.n_up == 0 and engine.fleet.mean_event_s is None and left:
            return "starting"
        return "running" if left or engine.job.ranges_given else "merging"

    def _message(self) -> str:
        engine = self._engine
        if engine.finished is not None:
            return engine.finished.reason
        if engine.stalled is not None:
            return f"the disk refuses, no new work is handed out: {engine.stalled}"
        if engine.merges.stalled:
            return f"merging waits for the disk: {next(iter(engine.merges.stalled.values()))}"
        if trouble := _trouble_everywhere(engine):
            return f"the disk refuses, no node can take work: {trouble}"
        if engine.stopping is not None:
            return engine.stopping
        if (awaited := engine.table.count(RangeState.AWAITED)) and not engine.warnings:
            return f"{awaited} events wait for the upstream task"
        return engine.warnings[-1] if engine.warnings else ""


def occupancy(engine: Engine) -> float:
    """Busy core-seconds over cores × time between the first event's start and the last event's end, in this session."""
    worked = [node for node in engine.fleet if node.first_start is not None]
    if not worked:
        return 0.0
    span_s = max(node.last_end for node in worked) - min(node.first_start or 0.0 for node in worked)
    cores = sum({node.host: node.cores for node in worked}.values())
    return min(1.0, sum(node.busy_s for node in worked) / (cores * span_s)) if span_s > 0 else 0.0


def _trouble_everywhere(engine: Engine) -> str:
    """What is wrong with one of the nodes, if something is with all of them."""
    troubles = [node.trouble for node in engine.fleet.up() if not node.aside]
    return troubles[0] if troubles and all(troubles) else ""


def _state(node: Node) -> str:
    if not node.up:
        return "lost"
    if node.aside:
        return "aside"
    if node.trouble:
        return "stalled"
    return "draining" if node.draining else "up"


def _node(node: Node) -> NodeProgress:
    span_s = node.last_end - (node.first_start or 0.0)
    return NodeProgress(
        name=node.name,
        state=_state(node),
        cores=node.cores,
        busy=len(node.running),
        leased=node.queued + len(node.running),
        finished=node.finished,
        occupancy=min(1.0, node.busy_s / (node.cores * span_s)) if span_s > 0 else 0.0,
        mean_event_s=node.mean_event_s or 0.0,
    )
