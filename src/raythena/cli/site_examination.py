"""What `raythena doctor` does: ask the nodes, ask the batch system, run a trial, and have it judged.

The trial is a real job of synthetic events through the real command, with the launcher and the settings of the person who asks;
its task directory is removed when it went well, and kept and named when it did not.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from raythena.cli.launching import launch_order
from raythena.domain.errors import InvalidInput
from raythena.domain.site_checks import Finding, examine
from raythena.domain.site_facts import BatchFacts, JobTrial
from raythena.launch.launcher import LauncherPlugin, LaunchOrder, NodeCommand, choose_launcher
from raythena.launch.site_survey import PROBE, SurveyOptions, survey
from raythena.launch.slurm import step_environment
from raythena.launch.slurm_batch import BatchError, partition_limits
from raythena.monitor.wording import printable

if TYPE_CHECKING:
    from raythena.cli.settings import Settings

SSH = ("ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10")
EVENTS_PER_CORE = 8
_EVENT_S = 0.25
_TRIAL_LIMIT_S = 600.0
_COMMAND = (sys.executable, "-P", "-m", "raythena.cli")


@dataclass(frozen=True, slots=True)
class Examination:
    """What is to be looked at."""

    shared: Path
    hosts: tuple[str, ...] = ()
    """Over ssh, instead of what the launcher finds."""
    quick: bool = False
    trial: bool = True


def ssh_probe(host: str) -> NodeCommand:
    """A probe on another machine that has the same environment under the same path. Raises InvalidInput."""
    if not host or host.startswith("-") or any(letter.isspace() for letter in host):
        raise InvalidInput("--host", "", f"{host!r} is no name of a machine", expected="NAME or USER@NAME")
    return NodeCommand(host, (*SSH, host, *PROBE))


def examine_site(
    wanted: Examination, settings: Settings, environ: Mapping[str, str], tell: Callable[[str], None]
) -> list[Finding]:
    """All findings about this site. Raises InvalidInput for what cannot be looked at."""
    if not wanted.shared.is_dir():
        raise InvalidInput("--shared", "", f"{wanted.shared} is no directory", expected="a directory that all nodes see")
    order = launch_order(settings, environ, str(wanted.shared), tell)
    options = SurveyOptions(
        shared=str(wanted.shared),
        scratch=settings.runtime.scratch_dir,
        interface=order.interface,
        thorough=not wanted.quick,
    )
    launcher = choose_launcher(settings.launch.on, environ)
    specs = [ssh_probe(host) for host in wanted.hosts] or _probes(launcher, order)
    tell(f"asking {len(specs)} {'node' if len(specs) == 1 else 'nodes'}: {', '.join(spec.name for spec in specs[:8])}")
    try:
        facts = asyncio.run(survey(specs, options, step_environment(environ)))
    except OSError as problem:
        raise InvalidInput(
            "--shared", "", f"{wanted.shared}: {problem.strerror}", expected="a directory to write in"
        ) from problem
    if not wanted.quick:
        facts = replace(facts, batch=batch_facts(environ, len(specs)))
    if wanted.trial and facts.nodes and not wanted.hosts:
        tell("running a tiny job over all of them")
        facts = replace(facts, job=run_trial(wanted.shared, settings, sum(node.cores_usable for node in facts.nodes)))
    return examine(facts, cheap_only=wanted.quick)


def _probes(launcher: LauncherPlugin, order: LaunchOrder) -> list[NodeCommand]:
    if launcher.commands is None:
        raise InvalidInput(
            "--on", "", f"{launcher.name} cannot run a program on its nodes", expected="--host, or another launcher"
        )
    return list(launcher.commands(order, PROBE))


def batch_facts(environ: Mapping[str, str], nodes: int) -> BatchFacts:
    """What Slurm says of the partition; nothing where there is none."""
    partition = environ.get("SLURM_JOB_PARTITION", "")
    if not partition and shutil.which("scontrol") is None:
        return BatchFacts()
    try:
        max_time_s, max_nodes = partition_limits(partition)
    except BatchError as problem:
        return BatchFacts(system="slurm", partition=partition, problem=str(problem))
    return BatchFacts(system="slurm", partition=partition, max_nodes=max_nodes, max_time_s=max_time_s, wanted_nodes=nodes)


# ---- the trial


def run_trial(shared: Path, settings: Settings, cores: int) -> JobTrial:
    """A job of events that sleep, over all nodes. Its directory stays when it failed."""
    directory = Path(tempfile.mkdtemp(prefix="raythena-doctor-", dir=shared))
    events = min(10_000, max(16, EVENTS_PER_CORE * cores))
    (directory / "events.txt").write_text("the trial's input\n")
    job = directory / "job.yaml"
    job.write_text(yaml.safe_dump(_trial_job(events)))
    began = time.monotonic()
    argv = [
        *_COMMAND,
        "run",
        str(job),
        "--taskdir",
        str(directory / "task"),
        "--display",
        "quiet",
        "--set",
        f"launch.on={settings.launch.on}",
    ]
    try:
        done = subprocess.run(
            argv, cwd=directory, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_TRIAL_LIMIT_S, check=False
        )
        problem = _words_of(done)
    except subprocess.TimeoutExpired:
        problem = f"not over after {_TRIAL_LIMIT_S:.0f} s"
    wall_s = time.monotonic() - began
    by_node: dict[str, int] = {} if problem else _events_by_node(directory / "task" / "ledger.sqlite")
    if problem:
        return JobTrial(events=events, wall_s=wall_s, problem=f"{problem} (kept: {directory})")
    shutil.rmtree(directory, ignore_errors=True)
    return JobTrial(events=events, wall_s=wall_s, events_by_node=by_node)


def _trial_job(events: int) -> dict[str, object]:
    synthetic = "raythena.testing.synthetic"
    return {
        "name": "doctor",
        "inputs": [{"path": "events.txt", "events": events}],
        "outputs": {"events_per_file": events, "name": "trial.{n:04d}.bin"},
        "payload": {"python": f"{synthetic}:process", "setup": f"{synthetic}:setup", "options": {"wall_s": _EVENT_S}},
        "merge": "concat",
    }


def _words_of(done: subprocess.CompletedProcess[str]) -> str:
    """Why it failed; empty when it did not."""
    if done.returncode == 0:
        return ""
    words = [line for line in (*done.stdout.splitlines(), *done.stderr.splitlines()) if line.strip()]
    return f"exit code {done.returncode}: {printable(' | '.join(words[-3:]))}"


def _events_by_node(ledger: Path) -> dict[str, int]:
    from raythena.storage.ledger_view import LedgerView

    with LedgerView.read(ledger) as view:
        nodes = view.summary().nodes
    counted: Counter[str] = Counter()
    for one in nodes:
        counted[one.node.partition("-")[0].partition(".")[0]] += one.events
    return dict(counted)
