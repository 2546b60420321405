"""The figures of a job as Prometheus metrics: names, units and labels that stay what they are.

Rules: units are base units and stand in the names; a label has few values, known beforehand, and none is a range, a file or a
node, so that a job of ten million events on thousands of nodes has as many series as a small one; what is not known is left out,
not zero; only the status and the account of core time are read, never the ledger. `docs/metrics.md` lists what there is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from raythena import __version__
from raythena.domain.core_time import CATEGORIES, Accounting, account
from raythena.domain.job import Job
from raythena.domain.progress import Progress
from raythena.monitor.snapshot import Snapshot, read_job, read_snapshot
from raythena.monitor.wording import visible
from raythena.runtime.core_time_file import read_sessions
from raythena.storage.taskdir import TaskDirectory

PHASES = ("starting", "running", "draining", "merging", "ended")
NODE_STATES = ("up", "draining", "stalled", "aside", "lost")


def exposition(task: TaskDirectory, now: float) -> bytes:
    """All metrics of a task in the text format of Prometheus; `now` is in seconds since the epoch. Raises InvalidInput."""
    snapshot = read_snapshot(task.status)
    metrics = [*_identity(read_job(task)), *_of_core_time(account(read_sessions(task)))]
    if snapshot is not None:
        metrics += [*_of_snapshot(snapshot, now), *_of_progress(snapshot.progress)]
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Given(metrics))
    return generate_latest(registry)


class _Given(Collector):
    """What the library asks for metrics: they are there already."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = tuple(metrics)

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def _identity(job: Job) -> Iterator[Metric]:
    yield InfoMetricFamily("raythena_build", "The version that tells this", value={"version": __version__})
    names = {"job": job.name, "task_id": job.task_id, "panda_id": job.job_id}
    about = {name: visible(value) for name, value in names.items()}
    yield InfoMetricFamily("raythena_job", "Which job this is about", value=about)


def _of_core_time(accounting: Accounting) -> Iterator[Metric]:
    yield _gauge("raythena_core_time_allocated_seconds", "Core-seconds allocated so far", accounting.allocated_s)
    shares = {str(name): accounting.core_s.get(name, 0.0) for name in CATEGORIES}
    yield _labelled("raythena_core_time_seconds", "Core-seconds by what became of them", "category", shares)


def _of_snapshot(snapshot: Snapshot, now: float) -> Iterator[Metric]:
    running = not snapshot.ended and not snapshot.stale(now)
    yield _gauge("raythena_up", "1 while a coordinator is at work and says so", float(running))
    yield _gauge("raythena_status_timestamp_seconds", "When the status was written, since the epoch", snapshot.written_at)
    if snapshot.exit_code is not None:
        yield _gauge("raythena_exit_code", "Exit code of the session that ended last", snapshot.exit_code)


def _of_progress(progress: Progress) -> Iterator[Metric]:
    yield _labelled("raythena_phase", "1 for the phase the job is in", "phase", {one: one == progress.phase for one in PHASES})
    yield _gauge("raythena_events", "Events of the job", progress.events)
    states = ("ready", "leased", "stored", "merged", "failed")
    counts = {state: getattr(progress, state) for state in states}
    yield _labelled("raythena_events_in_state", "Events by state", "state", counts)
    failed = CounterMetricFamily("raythena_attempts_failed", "Attempts that failed in this session, retried ones included")
    failed.add_metric([], progress.attempts_failed)
    yield failed
    yield _gauge("raythena_events_per_second", "Events committed per second, lately", progress.rate_per_s)
    yield _gauge("raythena_outputs", "Outputs of the job", progress.outputs)
    yield _gauge("raythena_outputs_merged", "Outputs that are merged", progress.outputs_merged)
    yield _gauge("raythena_merges_running", "Merges at work", progress.merging)
    yield _gauge("raythena_elapsed_seconds", "Since the session began", progress.elapsed_s)
    if progress.remaining_s is not None:
        yield _gauge("raythena_remaining_seconds", "Estimate of the time to the end", progress.remaining_s)
    yield _gauge("raythena_occupancy_ratio", "Busy core-seconds over available ones, 0 to 1", progress.occupancy)
    yield _gauge("raythena_warnings", "Warnings of this session", len(progress.warnings))
    yield from _of_nodes(progress)


def _of_nodes(progress: Progress) -> Iterator[Metric]:
    there = [node for node in progress.nodes if node.state != "lost"]
    counted = Counter(node.state for node in progress.nodes)
    yield _labelled("raythena_nodes", "Nodes by state", "state", {state: counted[state] for state in NODE_STATES})
    yield _gauge("raythena_cores", "Cores of the nodes that are there", sum(node.cores for node in there))
    yield _gauge("raythena_cores_busy", "Cores that compute an event", sum(node.busy for node in there))


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _labelled(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family
