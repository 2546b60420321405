"""`raythena demo`: a real job on this machine, from generated events to proven outputs."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from raythena.cli.options import ConfigOption, SetOption, settings_from
from raythena.cli.run import (
    CoresOption,
    DisplayOption,
    GraceOption,
    JsonLinesOption,
    NodesOption,
    ResumeOption,
    WalltimeOption,
    cluster_options,
    time_limits,
)
from raythena.domain.errors import ExitCode

if TYPE_CHECKING:
    from raythena.cli.settings import Settings
    from raythena.demo.reference import Comparison
    from raythena.domain.job import Job
    from raythena.runtime.session_end import SessionResult
    from raythena.storage.taskdir import TaskDirectory
    from raythena.validation import Validation


@dataclass(slots=True)
class _Chapters:
    """Says what is being done, and how long it took."""

    quiet: bool
    began: float = field(default_factory=time.monotonic)

    def __call__(self, text: str) -> None:
        if not self.quiet:
            typer.echo(f"[{time.monotonic() - self.began:6.1f} s] {text}", err=False)


def demo_command(  # noqa: PLR0917 (one parameter per option)
    directory: Annotated[Path, typer.Option("--directory", metavar="DIR", help="Where everything goes.")] = Path("raythena-demo"),
    events: Annotated[int, typer.Option("--events", metavar="N", help="Proton-proton events to generate.")] = 600,
    files: Annotated[int, typer.Option("--files", metavar="N", help="Input (EVNT) files to spread them over.")] = 4,
    events_per_output: Annotated[int, typer.Option("--events-per-output", metavar="N", help="Events in a HITS file.")] = 300,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Seed of the event generator.")] = 20240611,
    cost: Annotated[float, typer.Option("--cost", metavar="X", help="Scale of the CPU time of an event.")] = 1.0,
    resume: ResumeOption = False,
    nodes: NodesOption = None,
    cores: CoresOption = None,
    walltime: WalltimeOption = None,
    grace: GraceOption = None,
    display: DisplayOption = None,
    as_json: JsonLinesOption = False,
    config: ConfigOption = None,
    assignments: SetOption = None,
) -> None:
    """Run a real event-service job on this machine, with nothing else installed.

    Generates proton-proton events with Pythia, simulates each of them in a small detector on a local Ray cluster, merges on the
    fly, validates the outputs, reconstructs jets, and compares everything with the same events simulated in one plain process.

    \b
    Examples:
      raythena demo
      raythena demo --events 2000 --nodes 2 --cores 2
      raythena demo --resume              after it was interrupted, or killed
    """
    from raythena.cli.session import prepare_task
    from raythena.demo.workload import prepare_demo

    began = time.time()
    overrides = {**cluster_options(nodes, cores, "json" if as_json else display), **time_limits(walltime, grace)}
    settings = settings_from(config, assignments, overrides).settings
    say = _Chapters(settings.display.mode in ("json", "quiet"))
    say(f"generating {events} proton-proton events in {files} files")
    base = directory.absolute()
    job = prepare_demo(base / "evnt", events=events, files=files, events_per_output=events_per_output, seed=seed, cost=cost)
    task = prepare_task(job, base / "task", resume=resume)
    say(f"simulating on {settings.nodes.count} nodes × {settings.nodes.cores_per_node} cores")
    result = _simulate(job, task, settings, began)
    if result.exit_code is not ExitCode.OK:
        typer.echo(f"{result.outcome}: {result.reason}", err=True)
        raise typer.Exit(result.exit_code)
    raise typer.Exit(_prove(job, task, base, result, say))


def _simulate(job: Job, task: TaskDirectory, settings: Settings, began: float) -> SessionResult:
    from raythena.cli.session import run_session, session_config
    from raythena.monitor.display import choose_display

    with choose_display(settings.display.mode, sys.stdout) as shown:
        return run_session(session_config(job, task, settings, began), settings, shown)


def _prove(job: Job, task: TaskDirectory, base: Path, result: SessionResult, say: _Chapters) -> ExitCode:
    """Validate, compare with one plain process, reconstruct, report."""
    from raythena.demo.reconstruction import reconstruct_all
    from raythena.demo.reference import compare, simulate_reference
    from raythena.demo.report import terminal_summary, write_report
    from raythena.validation import validate

    say("validating the merged HITS files")
    validation = validate(task.root)
    merged = [task.outputs / lfn for lfn in job.outputs]
    say("simulating the same events in one process, without Raythena")
    reference = simulate_reference(job, base / "reference")
    comparison = compare(merged, reference)
    say("reconstructing both")
    aod = reconstruct_all(merged, base / "aod")
    reference_aod = reconstruct_all(reference, base / "reference" / "aod")
    facts = _facts(result, validation, comparison, task)
    write_report(base / "report.html", aod, reference_aod, facts)
    facts["report"] = str(base / "report.html")
    good = validation.ok and comparison.identical
    if say.quiet:
        typer.echo(json.dumps({"facts": facts, "ok": good}))
    else:
        _print_summary(facts, terminal_summary(aod, reference_aod))
    return ExitCode.OK if good else ExitCode.INVALID_OUTPUT


def _facts(result: SessionResult, validation: Validation, comparison: Comparison, task: TaskDirectory) -> dict[str, str]:
    progress = result.progress
    used = json.loads(task.report.read_text())["raythena"]["resources"]
    cores = used["cores"]
    ideal_s = used["core_s"] / cores if cores else 0.0
    return {
        "events": f"{progress.finished} of {progress.events} simulated, {progress.failed} failed",
        "occupancy": f"{100 * used['occupancy']:.1f} % of {cores} cores between first and last event",
        "makespan": f"{used['wall_s']:.1f} s from first to last event, {ideal_s:.1f} s would be ideal",
        "validation": validation.summary(),
        "comparison": str(comparison),
        "outputs": str(task.outputs),
    }


def _print_summary(facts: dict[str, str], histograms: object) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console.print(histograms)
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, value in facts.items():
        table.add_row(name, value)
    console.print(table)
