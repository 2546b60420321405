"""`raythena demo`: two real jobs on this machine, from generated events to proven outputs of both."""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from raythena.cli.options import ConfigOption, SetOption, settings_from
from raythena.cli.output import be_patient
from raythena.cli.page_offer import PageOffer
from raythena.cli.run import (
    CoresOption,
    DisplayOption,
    GraceOption,
    HeadCoresOption,
    JsonLinesOption,
    NodesOption,
    OnOption,
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
    events: Annotated[int, typer.Option("--events", metavar="N", help="Proton-proton events to generate.")] = 400,
    files: Annotated[int, typer.Option("--files", metavar="N", help="Input (EVNT) files to spread them over.")] = 4,
    events_per_output: Annotated[int, typer.Option("--events-per-output", metavar="N", help="Events in a HITS file.")] = 200,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Seed of the event generator.")] = 20240611,
    pileup: Annotated[
        float, typer.Option("--pileup", metavar="X", help="Mean number of further collisions in an event: what it costs.")
    ] = 4.0,
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
    """Run two real jobs on this machine, with nothing else installed.

    Generates proton-proton collisions with Pythia, simulates each event with ACTS on a local Ray cluster and merges on the fly;
    reconstructs the merged files in a second job; validates the outputs of both, and compares every number with the same events
    in one plain process. Prints where each job is to be seen in a browser while it runs; on a terminal it offers to open that.

    \b
    Examples:
      raythena demo
      raythena demo --events 2000 --nodes 2 --cores 2
      raythena demo --events 200 --pileup 40
      raythena demo --resume              after it was interrupted, or killed
    """
    from raythena.cli.launching import nodes_in_words
    from raythena.demo.workload import prepare_demo, reconstruction_job

    be_patient()
    began = time.time()
    overrides = {**cluster_options(nodes, cores, "json" if as_json else display, on, head_cores), **time_limits(walltime, grace)}
    settings = settings_from(config, assignments, overrides).settings
    say = _Chapters(settings.display.mode in ("json", "quiet"))
    say(f"generating {events} events of proton-proton collisions in {files} files")
    base = directory.absolute()
    job = prepare_demo(base / "evnt", events=events, files=files, events_per_output=events_per_output, seed=seed, pileup=pileup)
    say(f"simulating on {nodes_in_words(settings, os.environ)}")
    page = None if say.quiet else PageOffer.made(sys.stdin, sys.stdout)
    simulation = _run(job, base / "simulation", resume=resume, settings=settings, began=began, page=page)
    say("reconstructing the merged HITS files, in a second job")
    second = reconstruction_job(job, simulation.task)
    reconstruction = _run(second, base / "reconstruction", resume=resume, settings=settings, began=began, page=page)
    raise typer.Exit(_prove(simulation, reconstruction, base, say))


@dataclass(frozen=True, slots=True)
class _Step:
    """A job that ended well."""

    job: Job
    task: TaskDirectory
    result: SessionResult

    @property
    def outputs(self) -> list[Path]:
        return [self.task.outputs / lfn for lfn in self.job.outputs]


def _run(job: Job, directory: Path, *, resume: bool, settings: Settings, began: float, page: PageOffer | None) -> _Step:
    """Run a job to its end, and the command no further if that is not a good one."""
    from raythena.cli.page_beside import page_beside
    from raythena.cli.session import prepare_task, run_session, session_config
    from raythena.monitor.display import choose_display

    task = prepare_task(job, directory, resume=resume)
    with ExitStack() as beside:
        shown = beside.enter_context(choose_display(settings.display.mode, sys.stdout))
        if page is not None:
            beside.enter_context(page_beside(task.root, shown.message, page.open))
        result = run_session(session_config(job, task, settings, began), settings, shown)
    if result.exit_code is not ExitCode.OK:
        typer.echo(f"{result.outcome}: {result.reason}", err=True)
        raise typer.Exit(result.exit_code)
    return _Step(job, task, result)


def _prove(simulation: _Step, reconstruction: _Step, base: Path, say: _Chapters) -> ExitCode:
    """Validate both jobs, compare them with one plain process, report."""
    from raythena.demo import aod, hits
    from raythena.demo.performance import results
    from raythena.demo.reference import compare, compute_reference
    from raythena.demo.report import terminal_summary, write_report
    from raythena.validation import validate

    say("validating the merged HITS and AOD files")
    validations = [validate(step.task.root) for step in (simulation, reconstruction)]
    say("computing the same events in one process, without Raythena")
    reference = compute_reference(simulation.job, base / "reference")
    comparisons = [
        compare(simulation.outputs, reference.hits, hits.SCHEMA),
        compare(reconstruction.outputs, reference.aod, aod.SCHEMA),
    ]
    say("measuring how well was reconstructed")
    measured, events = results(reconstruction.outputs, reference.aod)
    facts = _facts([simulation, reconstruction], validations, comparisons)
    write_report(base / "report.html", measured, events, facts)
    facts["report"] = str(base / "report.html")
    good = all(one.ok for one in validations) and all(one.identical for one in comparisons)
    if say.quiet:
        typer.echo(json.dumps({"facts": facts, "ok": good}))
    else:
        _print_summary(facts, terminal_summary(measured, events))
    return ExitCode.OK if good else ExitCode.INVALID_OUTPUT


def _facts(steps: list[_Step], validations: list[Validation], comparisons: list[Comparison]) -> dict[str, str]:
    from raythena.demo.event_costs import cpu_seconds, in_words

    simulated, reconstructed = (step.result.progress for step in steps)
    used = [json.loads(step.task.report.read_text())["raythena"]["resources"] for step in steps]
    occupied = " and ".join(f"{100 * one['occupancy']:.1f} %" for one in used)
    costs = [in_words(cpu_seconds(step.task.ledger)) for step in steps]
    lasted = " + ".join(f"{one['wall_s']:.1f} s" for one in used)
    ideal = " + ".join(f"{one['core_s'] / one['cores'] if one['cores'] else 0.0:.1f} s" for one in used)
    return {
        "events": (
            f"{simulated.finished} of {simulated.events} simulated, "
            f"{reconstructed.finished} of {reconstructed.events} reconstructed, {simulated.failed + reconstructed.failed} failed"
        ),
        "cost": f"{costs[0]} of CPU time an event to simulate, {costs[1]} to reconstruct",
        "occupancy": f"{occupied} of {used[0]['cores']} cores between first and last event",
        "makespan": f"{lasted} from first to last event, {ideal} would be ideal",
        **{f"{kind} validated": one.summary() for kind, one in zip(("HITS", "AOD"), validations, strict=True)},
        **{f"{kind} compared": str(one) for kind, one in zip(("HITS", "AOD"), comparisons, strict=True)},
        "outputs": ", ".join(str(step.task.outputs) for step in steps),
        "look again": " and ".join(f"raythena monitor {step.task.root}" for step in steps),
    }


def _print_summary(facts: dict[str, str], plots: object) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console.print(plots)
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, value in facts.items():
        table.add_row(name, value)
    console.print(table)
