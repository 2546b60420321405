"""`raythena tune`: a hyper-parameter scan, on this machine or on every node of the batch job."""

from __future__ import annotations

import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from raythena.cli.options import ConfigOption, SetOption, settings_from
from raythena.cli.output import be_patient
from raythena.cli.run import (
    CoresOption,
    DisplayOption,
    GraceOption,
    HeadCoresOption,
    JsonLinesOption,
    NodesOption,
    OnOption,
    ResumeOption,
    TaskdirOption,
    WalltimeOption,
    cluster_options,
    time_limits,
)

if TYPE_CHECKING:
    from raythena.domain.scan.scan_file import Scan
    from raythena.domain.scan.trial import TrialResult
    from raythena.runtime.session_end import SessionResult
    from raythena.storage.taskdir import TaskDirectory
    from raythena.tune.scan_results import ScanResults


def tune_command(  # noqa: PLR0917 (one parameter per option)
    scan: Annotated[Path, typer.Argument(metavar="SCAN", help="Scan file (YAML).", show_default=False)],
    taskdir: TaskdirOption = None,
    resume: ResumeOption = False,
    nodes: NodesOption = None,
    cores: CoresOption = None,
    on: OnOption = None,
    head_cores: HeadCoresOption = None,
    walltime: WalltimeOption = None,
    grace: GraceOption = None,
    display: DisplayOption = None,
    as_json: JsonLinesOption = False,
    config: ConfigOption = None,
    assignments: SetOption = None,
) -> None:
    """Scan hyper-parameters: propose points, train each once, and say which is the best.

    A trial is a unit of work like an event: it is tried three times at most, recorded once, and never lost. Killing anything,
    this command included, costs what is running, and with --resume the scan proposes the points it would have proposed.

    \b
    Examples:
      raythena tune scan.yaml
      raythena tune scan.yaml --nodes 2 --cores 4 --taskdir /scratch/bdt.raythena
      raythena tune scan.yaml --resume --walltime 2h
    """
    from raythena.cli.session import prepare_task, run_session, session_config, takeover_patience_s
    from raythena.gateways.file import read_document
    from raythena.monitor.display import choose_display
    from raythena.tune.scan_job import scan_job, scan_session

    be_patient()
    began = time.time()
    overrides = {**cluster_options(nodes, cores, "json" if as_json else display, on, head_cores), **time_limits(walltime, grace)}
    settings = settings_from(config, assignments, overrides).settings
    document = read_document(scan)
    read, document = _read(document, scan)
    job = scan_job(read, document, scan)
    patience_s = takeover_patience_s(settings, os.environ)
    directory = taskdir or Path(f"{job.name}.raythena")
    task = prepare_task(job, directory, resume=resume, patience_s=patience_s, tell=partial(typer.echo, err=True))
    warm = _warm(read, scan, task)
    session = scan_session(session_config(job, task, settings, began), document, str(scan), warm)
    with choose_display(settings.display.mode, sys.stdout) as shown:
        result = run_session(session, settings, shown)
    _tell(result, task, settings.display.mode)
    raise typer.Exit(int(result.exit_code))


def _read(document: object, path: Path) -> tuple[Scan, dict[str, object]]:
    """The scan and its file's content, with the space in it; its searcher is tried. Raises InvalidInput."""
    from raythena.domain.scan.scan_file import parse_scan
    from raythena.gateways.file import read_document
    from raythena.tune.searcher_interface import SearchProblem, searcher_for

    whole = dict(document) if isinstance(document, dict) else {}
    if isinstance(whole.get("space"), str):
        whole["space"] = read_document(path.parent / str(whole["space"]))
    scan = parse_scan(whole or document, str(path))
    searcher_for(SearchProblem.of(scan, str(path)), scan.search.method)
    return scan, whole


def _warm(scan: Scan, path: Path, task: TaskDirectory) -> list[TrialResult]:
    """What earlier scans found that is a result of this one too; as it was when this one began.

    Raises InvalidInput, LedgerError, StorageError.
    """
    import json

    from raythena.domain.scan.trial import TrialResult
    from raythena.storage.atomic import write_atomically
    from raythena.storage.taskdir import TaskDirectory
    from raythena.tune.scan_results import read_scan

    kept = task.root / "warm_start.json"
    if kept.exists():
        return [TrialResult.from_bytes(text.encode()) for text in json.loads(kept.read_text())]
    found: list[TrialResult] = []
    for name in scan.warm_start:
        results = read_scan(TaskDirectory((path.parent / name).absolute()))
        found.extend(result for result in results.finished if fits(scan, result))
    if scan.warm_start:
        write_atomically(kept, json.dumps([result.to_bytes().decode() for result in found]))
    return found


def fits(scan: Scan, result: TrialResult) -> bool:
    """Whether a result of another scan has this one's objectives, and lies within its space."""
    known = {objective.name for objective in scan.objectives} <= set(result.values)
    return known and scan.space.holds(result.parameters)


def _tell(result: SessionResult, task: TaskDirectory, mode: str) -> None:
    """The last words: what became of the points, and the best of them. Raises LedgerError, StorageError."""
    import json

    from raythena.storage.atomic import write_atomically
    from raythena.tune.optuna_export import write_study
    from raythena.tune.scan_page import scan_page
    from raythena.tune.scan_results import read_scan, write_tables

    results = read_scan(task)
    directory = task.outputs
    write_tables(results, directory)
    write_study(results, directory / "optuna.journal")
    write_atomically(directory / "scan.html", scan_page(results))
    if mode == "json":
        typer.echo(json.dumps(_document(result, task, results)))
    elif mode != "quiet":
        for line in _lines(result, task, results):
            typer.echo(line)


def _document(result: SessionResult, task: TaskDirectory, results: ScanResults) -> dict[str, object]:
    best = [{"point": each.number, "values": each.values, "parameters": each.parameters} for each in results.best()]
    return {
        "result": result.outcome,
        "reason": result.reason,
        "exit_code": int(result.exit_code),
        "points": len(results.rows),
        **{state.replace(" ", "_"): results.count(state) for state in ("finished", "stopped early", "failed", "open")},
        "best": best,
        "occupancy": round(result.progress.occupancy, 4),
        "task_directory": str(task.root),
    }


def _lines(result: SessionResult, task: TaskDirectory, results: ScanResults) -> list[str]:
    states = [(results.count(state), state) for state in ("finished", "stopped early", "failed", "open")]
    counted = ", ".join(f"{count:,} {state}" for count, state in states if count)
    lines = [f"{result.outcome}: {result.reason}", f"{len(results.rows):,} points: {counted or 'none'}"]
    front = results.best()
    if len(front) > 1:
        lines.append(f"{len(front)} points that no other is better than in every respect; some of them:")
    for each in front[:5]:
        values = ", ".join(f"{name} {value:.6g}" for name, value in each.values.items())
        lines.append(f"best     point {each.number}: {values}")
        lines.extend(f"         {name} = {value}" for name, value in each.parameters.items())
    lines.extend(f"failed   point {row.point.number}: {_short(row.reason)}" for row in results.rows if row.state == "failed")
    return [*lines[:60], f"page     {task.outputs / 'scan.html'}", f"tables   {task.outputs}", f"report   {task.report}"]


def _short(reason: str) -> str:
    from raythena.domain.short_reason import short_reason

    return short_reason(reason, 300)
