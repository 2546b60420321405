"""`raythena harvest`: one job of PanDA's, in the access point of a Harvester worker."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from raythena.cli.exit_codes import INTERRUPTED
from raythena.cli.held_signals import HELD, let_signals_come
from raythena.cli.interrupts import is_ignored
from raythena.cli.options import ConfigOption, SetOption, settings_from
from raythena.cli.output import be_patient
from raythena.cli.refusals import refusal_of
from raythena.cli.run import (
    CoresOption,
    DisplayOption,
    HeadCoresOption,
    JsonLinesOption,
    NodesOption,
    OnOption,
    WalltimeOption,
    cluster_options,
    time_limits,
)
from raythena.domain.errors import ExitCode

if TYPE_CHECKING:
    from types import FrameType

    from raythena.cli.settings import Settings
    from raythena.gateways.harvester.conversation import Patience
    from raythena.gateways.harvester.last_word import Ending
    from raythena.gateways.harvester.worker import HarvesterWorker

TERMINATED = 143
"""128 + SIGTERM."""

_DRAIN_SHARE, _TELL_SHARE = 0.6, 0.15
"""Of the grace period: for the session, Harvester's part in it included, and for the log; the rest is for the cluster to end."""


def harvest_command(  # noqa: PLR0917 (one parameter per option)
    payload: Annotated[
        Path, typer.Option("--payload", metavar="FILE", help="What computes and merges the events (keys payload, merge).")
    ],
    access_point: Annotated[
        Path | None,
        typer.Option(
            "--access-point",
            metavar="DIR",
            help="The worker's directory. Default: HARVESTER_ACCESS_POINT, or here.",
            show_default=False,
        ),
    ] = None,
    harvester_config: Annotated[
        Path | None,
        typer.Option(
            "--harvester-config",
            metavar="FILE",
            help="The site's panda_harvester.cfg. Default: HARVESTER_CONFIG, or the usual file names.",
            show_default=False,
        ),
    ] = None,
    queue_config: Annotated[
        Path | None,
        typer.Option(
            "--queue-config",
            metavar="FILE",
            help="The site's panda_queueconfig.json, for mapType and names of files. Default: HARVESTER_QUEUE_CONFIG, or none.",
            show_default=False,
        ),
    ] = None,
    queue: Annotated[
        str | None,
        typer.Option(
            "--queue",
            metavar="NAME",
            help="The queue in that file. Default: HARVESTER_QUEUE, or the only one.",
            show_default=False,
        ),
    ] = None,
    map_type: Annotated[
        str | None,
        typer.Option(
            "--map-type",
            metavar="TYPE",
            help="mapType of the queue: OneToOne or OneToMany. Default: HARVESTER_MAP_TYPE, what the queue's configuration says, "
            "or OneToOne.",
            show_default=False,
        ),
    ] = None,
    allow_event_loss: Annotated[
        bool,
        typer.Option(
            "--allow-event-loss",
            help="Take jobs of a OneToMany queue whose outputs may be missing: killed, such a job counts as done.",
        ),
    ] = False,
    late_binding: Annotated[bool, typer.Option("--late-binding", help="Ask Harvester for the job.")] = False,
    outputs: Annotated[
        str,
        typer.Option(
            "--outputs", metavar="FORM", help="Outputs of ranges that PanDA merges: files (es_output) or archives (zip_output)."
        ),
    ] = "files",
    taskdir: Annotated[
        Path | None,
        typer.Option(
            "--taskdir", metavar="DIR", help="Where task directories live. Default: where Harvester says.", show_default=False
        ),
    ] = None,
    nodes: NodesOption = None,
    cores: CoresOption = None,
    on: OnOption = None,
    head_cores: HeadCoresOption = None,
    walltime: WalltimeOption = None,
    grace: Annotated[
        float, typer.Option("--grace", metavar="SECONDS", help="Time between SIGTERM, SIGHUP or SIGUSR1 and the kill.")
    ] = 30.0,
    patience: Annotated[
        float, typer.Option("--patience", metavar="SECONDS", help="How long Harvester may take to take the last reports in.")
    ] = 300.0,
    display: DisplayOption = None,
    as_json: JsonLinesOption = False,
    config: ConfigOption = None,
    assignments: SetOption = None,
) -> None:
    """Run the job Harvester has for this worker, and tell PanDA through Harvester what became of it.

    For the batch script of a queue. The job is found in the access point (with --late-binding it is asked for); started again in
    the same access point, the command goes on where it was. The exit code is not 0 exactly when the job has failed.

    \b
    Examples:
      raythena harvest --access-point "$PWD" --payload simulation.yaml
      raythena harvest --payload simulation.yaml --harvester-config /etc/panda/panda_harvester.cfg --walltime 4h
      raythena harvest --payload simulation.yaml --map-type OneToMany --late-binding
    """
    from raythena.domain.errors import ClusterError
    from raythena.gateways.harvester.access_point import AccessPoint
    from raythena.gateways.harvester.batch_nodes import batch_nodes
    from raythena.gateways.harvester.harvester_config import (
        ACCESS_POINT_VARIABLE,
        WORKER_ID_VARIABLE,
        load_file_names,
        load_map_type,
        load_queue,
    )
    from raythena.gateways.harvester.worker import HarvesterWorker

    be_patient()
    began = time.time()
    place = access_point or Path(os.environ.get(ACCESS_POINT_VARIABLE) or ".")
    configured = load_queue(queue_config, queue, os.environ)
    names = load_file_names(harvester_config, os.environ, configured)
    shift = HarvesterWorker(
        AccessPoint(place.absolute(), names),
        load_map_type(map_type, os.environ, configured),
        os.environ.get(WORKER_ID_VARIABLE, ""),
        patience,
        allow_event_loss=allow_event_loss,
    )
    limits = time_limits(walltime, _DRAIN_SHARE * grace)
    overrides = {**cluster_options(nodes, cores, "json" if as_json else display, on, head_cores), **limits}
    _let_signals_end_it()
    ending, problem = _work(
        lambda: _session(
            shift,
            settings_from(config, assignments, overrides).settings,
            payload,
            taskdir,
            began,
            late_binding=late_binding,
            outputs=outputs,
            hurry_s=_TELL_SHARE * grace,
        )
    )
    hurried = ending.exit_code in _STOPPED
    word = shift.end(ending, _TELL_SHARE * grace if hurried else None)
    if isinstance(problem, ClusterError) and word.exit_code and batch_nodes(os.environ) > 1:
        # what is left of the cluster on other nodes may keep the batch job alive; on one node it ends with us
        shift.point.ask_to_be_killed(str(problem))
    typer.echo(f"harvester: {word.summary}", err=word.exit_code != 0)
    if problem is not None and not isinstance(problem, SystemExit) and word.exit_code:
        raise problem
    raise typer.Exit(word.exit_code)


def _session(
    shift: HarvesterWorker,
    settings: Settings,
    payload: Path,
    taskdir: Path | None,
    began: float,
    *,
    late_binding: bool,
    outputs: str,
    hurry_s: float,
) -> Ending:
    """Get the job and run it. Raises RaythenaError."""
    from raythena.cli.session import prepare_task, run_session, session_config, takeover_patience_s
    from raythena.domain.errors import InvalidInput
    from raythena.gateways.file import load_payload
    from raythena.gateways.harvester.gateway import is_scan
    from raythena.gateways.harvester.last_word import Ending
    from raythena.monitor.display import choose_display
    from raythena.runtime.session_config import Delivery, DeliveryForm
    from raythena.storage.taskdir import TaskDirectory
    from raythena.tune.scan_job import suited_to_trials

    if outputs not in list(DeliveryForm):
        raise InvalidInput("--outputs", "", f"is {outputs!r}", expected=" or ".join(DeliveryForm))
    shift.patience = _patience(settings)
    job = shift.wait_for_job(*load_payload(payload), late_binding=late_binding)
    directory = shift.choose_task_directory(taskdir)
    patience_s = takeover_patience_s(settings, os.environ)
    task = prepare_task(job, directory, resume=TaskDirectory(directory).ledger.exists(), patience_s=patience_s, tell=_complain)
    scan = is_scan(job)
    configured = session_config(job, task, settings, began)
    session = replace(
        suited_to_trials(configured, waited_for=True) if scan else configured,
        gateway=shift.gateway(hurry_s),
        gateway_patience_s=shift.patience_s + 10.0,
        delivery=Delivery(DeliveryForm.ARCHIVES if scan else DeliveryForm(outputs)),
        batch_job=shift.worker_id,
    )
    with choose_display(settings.display.mode, sys.stdout) as shown:
        result = run_session(session, settings, shown)
    events, cores = result.progress.finished, result.cores
    return Ending(int(result.exit_code), result.reason, result.error, events, cores, result.cpu_s)


def _complain(text: str) -> None:
    typer.echo(text, err=True)


def _patience(settings: Settings) -> Patience:
    """The settings of a site as the gateway wants them: the longer pause is never shorter than the short one."""
    from raythena.cli.settings import placed
    from raythena.gateways.harvester.conversation import Patience

    patience = placed(Patience(), settings)
    return replace(patience, last_poll_s=max(patience.first_poll_s, patience.last_poll_s))


def _work(work: Callable[[], Ending]) -> tuple[Ending, BaseException | None]:
    """Do the work. Whatever ends it, PanDA must learn of it before the command ends with it: signals change nothing any more."""
    from raythena.domain.errors import ExitCode, RaythenaError
    from raythena.domain.taxonomy import FAULTS, of_error, of_exit_code
    from raythena.gateways.harvester.last_word import Ending

    try:
        try:
            let_signals_come()
            return work(), None
        finally:
            _ignore_signals()
    except RaythenaError as problem:
        return Ending(int(problem.exit_code), str(problem), of_error(problem)), problem
    except (SystemExit, KeyboardInterrupt) as problem:
        return Ending(TERMINATED, "stopped by a signal before the job ran", FAULTS["SIGTERM"]), problem
    except OSError as problem:
        refusal = refusal_of(problem)
        return Ending(int(refusal.exit_code), str(refusal), of_error(refusal)), refusal
    except Exception as problem:  # noqa: BLE001 (a defect: it is raised again once PanDA has been told)
        return Ending(int(ExitCode.INTERNAL), f"{type(problem).__name__}: {problem}", of_exit_code(ExitCode.INTERNAL)), problem


def _let_signals_end_it() -> None:
    """While no session runs, SIGTERM must not kill the command: the last word has to be said."""

    def end(number: int, _: FrameType | None) -> NoReturn:
        _ignore_signals()
        raise SystemExit(128 + number)

    for number in HELD:
        if not is_ignored(number):
            signal.signal(number, end)


def _ignore_signals() -> None:
    """The end has come already."""
    for number in (*HELD, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


_STOPPED = (ExitCode.STOPPED, TERMINATED, INTERRUPTED)
"""Exit codes after which somebody is about to kill us."""
