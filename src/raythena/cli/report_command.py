"""`raythena report`: what became of a job, from its ledger and its job report."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raythena.cli.failure_words import lines, log_of
from raythena.cli.options import JsonOption, TaskDirectoryArgument
from raythena.domain.errors import InvalidInput
from raythena.domain.job import Job
from raythena.domain.short_reason import short_reason
from raythena.monitor.snapshot import open_task, read_job, read_json
from raythena.monitor.wording import duration, printable, size

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

    from raythena.domain.core_time import Accounting
    from raythena.domain.failure_causes import FailureCause
    from raythena.domain.ranges import RangeLayout
    from raythena.domain.records import AttemptFailed
    from raythena.domain.results import MergedOutput
    from raythena.domain.upstream import InputTaken
    from raythena.payloads.latency import LatencySummary
    from raythena.storage.ledger_view import LedgerSummary, LedgerView
    from raythena.storage.taskdir import TaskDirectory

FAILURES_SHOWN = 20


class EventFormat(StrEnum):
    """How `--events` writes its rows."""

    CSV = "csv"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """Everything the report says about a task."""

    job: Job
    summary: LedgerSummary
    outputs: tuple[MergedOutput, ...]
    failed: tuple[AttemptFailed, ...]
    """The last attempt of every event given up."""
    job_report: dict[str, Any]
    """The job report's document; empty when none has been written."""
    layout: RangeLayout
    latencies: dict[str, LatencySummary]
    """What cores have waited for, where a payload keeps account of it."""
    accounting: Accounting
    """Where the core-seconds went."""
    logs: Path
    inputs: tuple[InputTaken, ...]
    """Files of the upstream task that were taken on."""

    @property
    def causes(self) -> list[FailureCause]:
        """Why events failed, the commonest cause first."""
        from raythena.domain.failure_causes import causes_of

        return causes_of(self.failed)

    @property
    def open_events(self) -> int:
        """Events neither finished nor given up."""
        return self.summary.n_ranges - self.summary.events - self.summary.failed

    @property
    def verdict(self) -> str:
        """How the job ended, in a few words."""
        if "exitCode" not in self.job_report:
            return "not ended: no job report yet"
        message = printable(str(self.job_report.get("exitMsg", "")))
        return f"{message or 'ended'} (exit code {self.job_report['exitCode']})"


def report_command(
    taskdir: TaskDirectoryArgument,
    as_json: JsonOption = False,
    events: Annotated[
        EventFormat | None, typer.Option("--events", help="Instead, list every event: csv, or json with one object per line.")
    ] = None,
    *,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write all of it to one HTML file.", show_default=False)
    ] = None,
    parquet: Annotated[
        Path | None, typer.Option("--parquet", metavar="DIR", help="Write every table as a Parquet file.", show_default=False)
    ] = None,
    proof: Annotated[
        bool | None,
        typer.Option("--proof/--no-proof", help="Prove the outputs for it. Default: for --html.", show_default=False),
    ] = None,
    ranges: Annotated[
        int, typer.Option("--ranges", metavar="N", min=0, help="Most event ranges that the HTML file carries.")
    ] = 1_000_000,
) -> None:
    """Say what became of a job: verdict, outputs, failures.

    Reads only the ledger and the job report, so it works while the job runs as well. To prove the outputs themselves, use
    `raythena validate`, or `--proof`. The HTML file opens in any browser, without anything from elsewhere, and carries the
    records of event ranges, which can be searched there.

    \b
    Examples:
      raythena report simulation.raythena
      raythena report simulation.raythena --json
      raythena report simulation.raythena --events csv > events.csv
      raythena report simulation.raythena --html report.html
      raythena report simulation.raythena --parquet tables
    """
    from raythena.storage.ledger_view import LedgerView

    task = open_task(taskdir)
    job = read_job(task)
    if not task.ledger.exists():
        raise InvalidInput(str(task.ledger), "", "does not exist", hint="The job has not begun; there is nothing to report")
    if html is not None or parquet is not None:
        _write_files(task, html, parquet, ranges, proved=html is not None if proof is None else proof)
        return
    with LedgerView.read(task.ledger) as view:
        if events is not None:
            _list_events(job, view, events)
            return
        record = _record(task, job, view)
    if as_json:
        typer.echo(json.dumps({**_document(record), "tables": _tables(task, proved=bool(proof))}, indent=2))
        return
    from rich.console import Console

    Console(soft_wrap=True).print(_page(record))


def _write_files(task: TaskDirectory, html: Path | None, parquet: Path | None, ranges: int, *, proved: bool) -> None:
    from raythena.cli.report_files import proven, write_html, write_parquet_files
    from raythena.monitor.task_reading import read_reported

    read = read_reported(task)
    proof = proven(read) if proved else None
    if html is not None:
        write_html(html, read, proof, ranges)
        typer.echo(str(html))
    for path in write_parquet_files(parquet, read, proof) if parquet is not None else ():
        typer.echo(str(path))


def _tables(task: TaskDirectory, *, proved: bool) -> dict[str, object]:
    from raythena.cli.report_files import proven, tables_of
    from raythena.monitor.task_reading import read_reported

    read = read_reported(task)
    return {table.name: table.to_dict() for table in tables_of(read, proven(read) if proved else None)}


def _record(task: TaskDirectory, job: Job, view: LedgerView) -> TaskRecord:
    from raythena.cli.waiting import node_latencies
    from raythena.domain.core_time import account
    from raythena.domain.ranges import RangeLayout
    from raythena.runtime.core_time_file import kept_by_life, read_sessions
    from raythena.storage.ledger_view import inputs_taken

    report = read_json(task.report)
    failed = tuple(view.given_up())
    layout = RangeLayout.of(job, view.chunks())
    told = report if isinstance(report, dict) else {}
    summary = view.summary()
    accounting = account(read_sessions(task), kept_by_life(summary))
    latencies = node_latencies(task.logs)
    return TaskRecord(job, summary, view.outputs(), failed, told, layout, latencies, accounting, task.logs, inputs_taken(view))


def _list_events(job: Job, view: LedgerView, style: EventFormat) -> None:
    from raythena.cli.event_list import event_rows, write_csv, write_json_lines

    write = write_csv if style is EventFormat.CSV else write_json_lines
    write(sys.stdout, event_rows(job, view))


def _output(output: MergedOutput, layout: RangeLayout) -> dict[str, object]:
    return {
        "lfn": output.lfn,
        "path": output.path,
        "guid": output.guid,
        "size_bytes": output.size_bytes,
        "adler32": f"{output.adler32:08x}",
        "events": output.n_events,
        "missing": [layout.range_id(index) for index in output.missing],
    }


def _document(record: TaskRecord) -> dict[str, object]:
    table = record.layout
    summary = record.summary
    return {
        "job": record.job.name,
        "job_id": record.job.job_id,
        "verdict": record.verdict,
        "exit_code": record.job_report.get("exitCode"),
        "events": summary.n_ranges,
        "finished": summary.events,
        "merged": summary.events_merged,
        "failed": summary.failed,
        "open": record.open_events,
        "attempts_failed": summary.attempts_failed,
        "cpu_s": summary.cpu_s,
        "wall_s": summary.wall_s,
        **_provenance(record),
        "outputs_promised": len(record.job.promised),
        "outputs": [_output(output, table) for output in record.outputs],
        "failed_events": [
            {
                "range_id": table.range_id(failure.range_index),
                "attempts": failure.attempt,
                "node": failure.node,
                "reason": str(failure.kind),
                "message": failure.message,
            }
            for failure in record.failed
        ],
        "causes": [_cause(cause, record) for cause in record.causes],
        "sessions": [
            {"name": session.name, "host": session.host, "began_at": session.began_at, "ended_at": session.ended_at}
            | {"verdict": session.verdict}
            for session in summary.sessions
        ],
        "accounting": record.accounting.to_dict(),
        "waiting": {name: asdict(latency) for name, latency in record.latencies.items()},
    }


def _provenance(record: TaskRecord) -> dict[str, object]:
    return {
        "upstream": asdict(record.job.upstream) if record.job.upstream else None,
        "inputs_taken": [
            {"lfn": file.lfn, "guid": file.guid, "size_bytes": file.size_bytes, "adler32": f"{file.adler32:08x}"}
            | {"events": file.n_events, "missing": [record.layout.range_id(index) for index in file.missing]}
            for file in record.inputs
        ],
    }


def _cause(cause: FailureCause, record: TaskRecord) -> dict[str, object]:
    return {
        "reason": str(cause.kind),
        "message": cause.text,
        "events": cause.count,
        "first_events": [record.layout.range_id(index) for index in cause.events],
        "who": str(cause.fault.who),
        "hint": cause.fault.hint,
        "log": log_of(cause.first.node, record.logs),
    }


def _page(record: TaskRecord) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [_headline(record), Text("\n".join(_figures(record)))]
    if record.inputs:
        parts += [Text(""), _input_table(record.inputs)]
    if record.outputs:
        parts += [Text(""), _output_table(record)]
    if record.summary.sessions:
        parts += [Text(""), _session_table(record.summary)]
    if record.accounting.nodes:
        parts += [Text(""), _core_time_table(record.accounting)]
    if record.failed:
        parts += [Text(""), Text("\n".join(lines(record.causes, record.layout, record.logs)))]
        parts += [Text(""), Text("\n".join(_failure_list(record)))]
    return Group(*parts)


def _input_table(inputs: tuple[InputTaken, ...]) -> Table:
    table = _table("taken on", "events", "missing", "GUID", right=("events", "missing"))
    for file in inputs:
        table.add_row(printable(file.lfn), f"{file.n_events:,}", f"{len(file.missing):,}", file.guid)
    return table


def _headline(record: TaskRecord) -> RenderableType:
    from rich.text import Text

    name = printable(record.job.name)
    job_id = f" (PandaID {printable(record.job.job_id)})" if record.job.job_id else ""
    style = {0: "green", None: "yellow"}.get(record.job_report.get("exitCode"), "red")
    return Text.assemble((name + job_id, "bold"), "  ", (record.verdict, style))


def _figures(record: TaskRecord) -> list[str]:
    from raythena.cli.waiting import in_one_line

    summary = record.summary
    shares = [f"{summary.events:,} finished", f"{summary.failed:,} failed", f"{record.open_events:,} open"]
    lines = [f"events   {summary.n_ranges:,}: " + ", ".join(shares)]
    if record.job.upstream is not None:
        made = f"{len({file.number for file in record.inputs})} of {len(record.job.inputs)} taken on"
        lines.append(f"inputs   {made}, from {printable(record.job.upstream.name)} in {printable(record.job.upstream.task)}")
    lines.append(
        f"outputs  {summary.outputs_merged} of {len(record.job.promised)} merged, {summary.events_merged:,} events in them"
    )
    if summary.wall_s > 0:
        efficiency = f"{100 * summary.cpu_s / summary.wall_s:.1f} % of the time on cores"
        lines.append(f"cpu      {duration(summary.cpu_s)}, {efficiency}; {duration(summary.wall_s / summary.events)} an event")
    if summary.attempts_failed:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in summary.attempts_failed.items())
        lines.append(f"failed   attempts: {kinds}")
    if waiting := in_one_line(record.latencies):
        lines.append(f"waiting  {waiting}")
    return lines


def _table(*headings: str, right: tuple[str, ...] = ()) -> Table:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for heading in headings:
        table.add_column(heading, justify="right" if heading in right else "left", no_wrap=True)
    return table


def _cells(*values: object) -> list[Text]:
    from rich.text import Text

    return [Text(printable(str(value))) for value in values]


def _output_table(record: TaskRecord) -> RenderableType:
    table = _table("output", "events", "missing", "size", "guid", right=("events", "missing", "size"))
    for output in record.outputs:
        missing = f"{len(output.missing):,}" if output.missing else ""
        table.add_row(*_cells(output.lfn, f"{output.n_events:,}", missing, size(output.size_bytes), output.guid))
    return table


def _session_table(summary: LedgerSummary) -> RenderableType:
    table = _table("session", "began", "lasted", "events", "nodes", "ended", right=("session", "events", "nodes"))
    for session in summary.sessions:
        mine = [node for node in summary.nodes if node.session == session.number]
        began = f"{datetime.fromtimestamp(session.began_at):%Y-%m-%d %H:%M:%S}"
        lasted = duration(session.ended_at - session.began_at) if session.ended_at else ""
        end = session.verdict or ("ended" if session.ended_at else "running, or died")
        table.add_row(*_cells(session.number, began, lasted, f"{sum(node.events for node in mine):,}", len(mine), end))
    return table


def _core_time_table(accounting: Accounting) -> RenderableType:
    from rich.text import Text

    from raythena.monitor.core_time_words import core_time_rows

    table = _table("cores", "core time", "share", right=("core time", "share"))
    for name, seconds, share in core_time_rows(accounting):
        table.add_row(Text(name), *_cells(seconds, share))
    return table


def _failure_list(record: TaskRecord) -> list[str]:
    """Every event given up on lines of its own: a table would cut what matters on a narrow terminal."""
    from raythena.domain.failure_causes import MAX_TEXT

    told = []
    for failure in islice(record.failed, FAILURES_SHOWN):
        event = printable(record.layout.range_id(failure.range_index))
        tries = f"{failure.attempt} attempt{'' if failure.attempt == 1 else 's'}"
        told.append(f"failed event {event}: {failure.kind}, {tries}, the last on {printable(failure.node) or 'no node'}")
        told.append(f"    {short_reason(failure.message, MAX_TEXT)}")
    hidden = len(record.failed) - FAILURES_SHOWN
    return [*told, f"and {hidden:,} more; --events csv lists them all"] if hidden > 0 else told
