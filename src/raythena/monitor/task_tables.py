"""A task as tables: summary, configuration, versions, core time, throughput, event times, nodes, failures, merges, allocations.

What is read is what the ledger, the job, the job report and the accounts of core time say; the proof of the outputs is made
elsewhere and added by whoever has it. Values that a job's environment keeps secret are left out by their names.
"""

from __future__ import annotations

import platform
import re
from collections import defaultdict
from collections.abc import Iterator
from importlib import metadata
from statistics import median

from raythena.domain.core_time import Accounting
from raythena.domain.job import Job
from raythena.domain.node_name import NodeName
from raythena.domain.results import MergedOutput
from raythena.monitor.activity import Activity
from raythena.monitor.core_time_words import in_words
from raythena.monitor.report_tables import Cell, Column, Kind, ReportTable, Row, facts_table, written
from raythena.monitor.task_figures import Extent, figures
from raythena.monitor.task_reading import ReportedTask
from raythena.storage.ledger_view import LedgerSummary
from raythena.storage.range_records import RangeRecords

SLOW = 1.2
"""A node is called slow whose events take so many times as long as those of the node in the middle."""
_SECRET = re.compile(r"token|secret|passw|credential|private|api_?key|\bkey\b|proxy", re.IGNORECASE)
_PACKAGES = ("ray", "numpy", "uproot", "awkward", "pydantic", "pyarrow")
_MAX_VALUE = 500


def task_tables(read: ReportedTask) -> list[ReportTable]:
    """Every table of a task, in the order in which they are shown."""
    return [
        facts_table("summary", "Summary", _facts(read)),
        _core_time(read.accounting),
        _thrown_away(read.accounting),
        _core_time_by_node(read.accounting),
        _throughput(read.activity),
        _event_times(read.activity),
        _nodes(read.summary),
        _failures(read.records),
        _merges(read),
        _sessions(read.summary),
        facts_table("configuration", "Configuration", _configuration(read.job), "The job as it was accepted."),
        facts_table("versions", "Versions", _versions(read.summary)),
    ]


def _facts(read: ReportedTask) -> Iterator[tuple[str, Cell]]:
    job = read.job
    yield from (("job", job.name), ("PandaID", job.job_id), ("task", job.task_id), ("verdict", read.verdict))
    for name, (cell, kind) in figures(Extent.of_task(read)).items():
        yield name, written(cell, kind)
    for kind_of_failure, count in read.summary.attempts_failed.items():
        yield f"attempts failed: {kind_of_failure}", f"{count:,}"


def _core_time(accounting: Accounting) -> ReportTable:
    columns = (Column("category", "category"), Column("core_s", "core time", Kind.SECONDS), Column("share", "share", Kind.SHARE))
    allocated_s = accounting.allocated_s
    rows: list[Row] = [(name, seconds, seconds / allocated_s) for name, seconds in accounting.core_s.items()]
    if allocated_s:
        rows += [("not accounted for", accounting.unaccounted_s, accounting.unaccounted_s / allocated_s)]
        rows += [("allocated", allocated_s, 1.0)]
    about = "Each allocated core-second is in one category."
    return ReportTable("core_time", "Where the core-seconds went", columns, tuple(rows), about)


def _thrown_away(accounting: Accounting) -> ReportTable:
    columns = (Column("reason", "reason"), Column("core_s", "core time", Kind.SECONDS))
    return ReportTable("thrown_away", "Why computing was thrown away", columns, tuple(accounting.thrown_away.items()))


def _core_time_by_node(accounting: Accounting) -> ReportTable:
    names = list(accounting.core_s)
    columns = (
        Column("session", "allocation"),
        Column("host", "node"),
        Column("cores", "cores", Kind.COUNT),
        Column("allocated_core_s", "allocated", Kind.SECONDS),
        *(Column(f"{name}_core_s", in_words(name), Kind.SECONDS) for name in names),
    )
    rows: tuple[Row, ...] = tuple(
        (node.session, node.host, node.cores, node.allocated_s, *(node.core_s.get(name, 0.0) for name in names))
        for node in accounting.nodes
    )
    return ReportTable("core_time_by_node", "Core time of each node", columns, rows)


def _throughput(activity: Activity) -> ReportTable:
    columns = (
        Column("began_at", "from", Kind.TIME),
        Column("events", "events finished", Kind.COUNT),
        Column("events_per_s", "rate", Kind.RATE),
    )
    origin, width_s = activity.began_at or 0.0, activity.width_s
    counts = activity.finished[: activity.used].tolist()
    rows = tuple((origin + place * width_s, int(count), count / width_s) for place, count in enumerate(counts))
    return ReportTable("throughput", "Events finished", columns, rows, f"In stretches of {width_s:g} s.")


def _event_times(activity: Activity) -> ReportTable:
    columns = (
        Column("from_s", "from", Kind.SECONDS),
        Column("to_s", "to", Kind.SECONDS),
        Column("events", "events", Kind.COUNT),
    )
    return ReportTable("event_times", "How long events took", columns, tuple(activity.event_times()))


def _nodes(summary: LedgerSummary) -> ReportTable:
    sums: defaultdict[str, list[float]] = defaultdict(lambda: [0, 0.0, 0.0])
    lives: defaultdict[str, int] = defaultdict(int)
    for node in summary.nodes:
        host = NodeName.parse(node.node).host
        lives[host] += 1
        for place, value in enumerate((node.events, node.wall_s, node.cpu_s)):
            sums[host][place] += value
    means = {host: wall_s / events for host, (events, wall_s, _) in sums.items() if events}
    middle = median(means.values()) if means else 0.0
    rows: list[Row] = [
        (
            host,
            lives[host],
            int(sums[host][0]),
            mean,
            sums[host][2] / sums[host][1] if sums[host][1] else None,
            _times(mean, middle),
        )
        for host, mean in sorted(means.items(), key=lambda entry: -entry[1])
    ]
    slow = sum(_times(mean, middle) >= SLOW for mean in means.values())
    about = f"The slowest first; {slow:,} of {len(rows):,} take {SLOW:g} times as long as the one in the middle, or longer."
    return ReportTable("nodes", "Nodes, slow ones first", NODE_COLUMNS, tuple(rows), about)


def _times(value: float, middle: float) -> float:
    return value / middle if middle else 1.0


NODE_COLUMNS = (
    Column("node", "node"),
    Column("incarnations", "incarnations", Kind.COUNT),
    Column("events", "events", Kind.COUNT),
    Column("mean_event_s", "an event", Kind.SECONDS),
    Column("cpu_share", "CPU", Kind.SHARE),
    Column("times_median", "of the median", Kind.FACTOR),
)


def _failures(records: RangeRecords) -> ReportTable:
    columns = (
        Column("events", "events", Kind.COUNT),
        Column("reason", "reason"),
        Column("message", "message"),
        Column("who", "whose fault"),
        Column("what", "what"),
        Column("hint", "what to do"),
        Column("first_events", "first events"),
    )
    rows = tuple(
        (
            cause.count,
            str(cause.kind),
            cause.text,
            str(cause.fault.who),
            cause.fault.what,
            cause.fault.hint,
            ", ".join(map(records.layout.range_id, cause.events)),
        )
        for cause in records.causes
    )
    return ReportTable("failures", "Failures by cause", columns, rows)


MERGE_COLUMNS = (
    Column("lfn", "output"),
    Column("events", "events", Kind.COUNT),
    Column("missing", "missing", Kind.COUNT),
    Column("inputs", "inputs", Kind.COUNT),
    Column("input_bytes", "of inputs", Kind.BYTES),
    Column("size_bytes", "size", Kind.BYTES),
    Column("wall_s", "took", Kind.SECONDS),
    Column("bytes_per_s", "speed", Kind.SPEED),
    Column("guid", "GUID"),
)


def merge_row(records: RangeRecords, merged: MergedOutput) -> Row:
    """A merged output: what went in, what came out, how fast. Cells as in `MERGE_COLUMNS`."""
    inputs, input_bytes = records.merge_inputs(merged.output)
    speed = input_bytes / merged.wall_s if merged.wall_s > 0 else None
    figures = (merged.n_events, len(merged.missing), inputs, input_bytes, merged.size_bytes, merged.wall_s, speed)
    return (merged.lfn, *figures, merged.guid)


def _merges(read: ReportedTask) -> ReportTable:
    rows = tuple(
        merge_row(read.records, merged)
        for merged in sorted(read.records.merged, key=lambda merged: (merged.output, merged.stream))
    )
    about = "Inputs are the stored groups of events that were merged; speed is of what was read."
    return ReportTable("merges", "Merged outputs", MERGE_COLUMNS, rows, about)


def _sessions(summary: LedgerSummary) -> ReportTable:
    columns = (
        Column("number", "number", Kind.COUNT),
        Column("name", "name"),
        Column("host", "host"),
        Column("batch_job", "batch job"),
        Column("gateway", "gateway"),
        Column("version", "Raythena"),
        Column("began_at", "began", Kind.TIME),
        Column("ended_at", "ended", Kind.TIME),
        Column("verdict", "verdict"),
        Column("nodes", "nodes", Kind.COUNT),
        Column("events", "events", Kind.COUNT),
    )
    rows: list[Row] = []
    for one in summary.sessions:
        mine = [node for node in summary.nodes if node.session == one.number]
        about = (one.number, one.name, one.host, one.batch_job, one.gateway, one.version, one.began_at, one.ended_at, one.verdict)
        rows.append((*about, len({NodeName.parse(node.node).host for node in mine}), sum(node.events for node in mine)))
    return ReportTable(
        "allocations", "Allocations", columns, tuple(rows), "Each run of the coordinator; a task may take several."
    )


def _configuration(job: Job) -> Iterator[tuple[str, Cell]]:
    yield "input files", f"{len(job.inputs):,}" if job.reads_files else "none: events are generated"
    document = {name: value for name, value in job.to_dict().items() if name not in ("inputs", "outputs", "source")}
    yield from _flattened("", document)


def _flattened(prefix: str, value: object) -> Iterator[tuple[str, Cell]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _flattened(f"{prefix}.{name}" if prefix else str(name), inner)
        return
    text = "(left out)" if _SECRET.search(prefix) and value not in (None, "", {}) else str(value)
    yield prefix, text if len(text) <= _MAX_VALUE else f"{text[:_MAX_VALUE]} … ({len(text):,} characters)"


def _versions(summary: LedgerSummary) -> Iterator[tuple[str, Cell]]:
    for version in dict.fromkeys(session.version for session in summary.sessions):
        yield "Raythena that computed", version
    yield "Raythena that reports", _version_of("raythena")
    yield "Python", platform.python_version()
    for package in _PACKAGES:
        yield package, _version_of(package)


def _version_of(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
