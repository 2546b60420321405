"""Batch jobs of Slurm's from outside: scripts, submission, the queue, cancellation.

A script is directives, lines of the site's, and one command that takes the place of the shell, so that signals reach it. Every
directive can be changed or dropped, because every site refuses another one. Commands of Slurm's get a time limit and their
complaints are kept: a controller that does not answer for a while is normal, and never a reason to end anything.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from raythena.domain.allocation import parse_time_left
from raythena.domain.errors import ExitCode, InvalidInput, RaythenaError

_LIMIT_S = 60.0
_NAME_LIMIT = 60
_FLAG = ""
"""The value of a directive that has none."""


class BatchError(RaythenaError):
    """The batch system refused, or did not answer."""

    exit_code = ExitCode.CLUSTER


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """A job as `squeue` has it."""

    job_id: str
    state: str
    left_s: float | None
    reason: str


def batch_script(directives: Mapping[str, str], before: str, command: Sequence[str]) -> str:
    """A batch script. `before` are lines of shell, such as `module load`; the command replaces the shell that ran them."""
    lines = [
        f"#SBATCH --{name}={shlex.quote(value)}" if value != _FLAG else f"#SBATCH --{name}" for name, value in directives.items()
    ]
    middle = [before.rstrip("\n")] if before.strip() else []
    return "\n".join(["#!/bin/bash", *lines, *middle, f"exec {shlex.join(command)}", ""])


def parse_directives(text: str, source: str) -> dict[str, str]:
    """Directives as people write them, `partition=debug exclusive`, with or without dashes. Raises InvalidInput."""
    try:
        words = shlex.split(text)
    except ValueError as problem:
        raise InvalidInput(source, "", f"{text!r} cannot be cut into words: {problem}") from problem
    directives = {}
    for word in words:
        name, _, value = word.removeprefix("--").partition("=")
        if not name or not name.replace("-", "").isalnum() or "\n" in value:
            raise InvalidInput(source, "", f"{word!r} is no directive", expected="NAME=VALUE or NAME, as sbatch has them")
        directives[name] = value
    return directives


def job_name(name: str) -> str:
    """A name of ours for a batch job."""
    return "raythena-" + "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in name)[:_NAME_LIMIT]


def submit_script(script: Path, *options: str) -> str:
    """Submit it; the job's id. Raises BatchError."""
    answer = _run("sbatch", "--parsable", *options, str(script))
    return answer.strip().splitlines()[-1].partition(";")[0] if answer.strip() else ""


def check_script(script: Path) -> str:
    """Have Slurm look at a script without taking it; what it says. Raises BatchError."""
    done = _call("sbatch", "--test-only", str(script))
    said = f"{done.stdout}{done.stderr}".strip()
    if done.returncode:
        raise BatchError(f"Slurm would refuse this job: {said}")
    return said


def pending_jobs(name: str) -> list[str]:
    """Ids of this user's jobs of that name that have not begun. Raises BatchError."""
    done = _run("squeue", "--noheader", "--me", "--states=PENDING", f"--name={name}", "--format=%i")
    return done.split()


def queued(job_ids: Sequence[str]) -> dict[str, QueuedJob]:
    """What `squeue` knows of these jobs; those it has forgotten are missing. Raises BatchError."""
    found: dict[str, QueuedJob] = {}
    if not job_ids:
        return found
    done = _call("squeue", "--noheader", "--states=all", f"--jobs={','.join(job_ids)}", "--format=%i|%T|%L|%r")
    if done.returncode and "Invalid job id" not in done.stderr:
        raise BatchError(f"squeue ended with {done.returncode}: {done.stderr.strip()}")
    for line in done.stdout.splitlines():
        job_id, state, left, reason = (line.split("|", 3) + [""] * 4)[:4]
        left_s = None
        with contextlib.suppress(InvalidInput):
            left_s = parse_time_left(left)
        found[job_id] = QueuedJob(job_id, state, left_s, "" if reason == "None" else reason)
    return found


def cancel_job(job_id: str, *, gently: bool = False) -> None:
    """Cancel a job; `gently`: only ask its command to come to an end. Raises BatchError."""
    _run("scancel", *(["--signal=TERM", "--batch"] if gently else []), job_id)


def requeue_job(job_id: str) -> None:
    """Put a job that runs back in the queue. Raises BatchError, also where that is not allowed."""
    _run("scontrol", "requeue", job_id)


def node_state(node: str) -> str:
    """What Slurm thinks of a node, such as `allocated` or `down*`. Raises BatchError."""
    return _run("sinfo", "--noheader", f"--nodes={node}", "--format=%T").strip().partition("\n")[0]


def partition_limits(name: str) -> tuple[float | None, int | None]:
    """Longest time in seconds and most nodes of a partition (empty: the default one); None: no limit. Raises BatchError."""
    text = _run("scontrol", "--oneliner", "show", "partition", *([name] if name else []))
    for line in text.splitlines():
        fields = dict(word.partition("=")[::2] for word in line.split())
        if name or fields.get("Default") == "YES":
            nodes = fields.get("MaxNodes", "")
            return parse_time_left(fields.get("MaxTime", "")), int(nodes) if nodes.isdecimal() else None
    return None, None


def _run(*argv: str) -> str:
    done = _call(*argv)
    if done.returncode:
        complaint = done.stderr.strip() or done.stdout.strip()
        raise BatchError(f"{argv[0]} ended with {done.returncode}: {complaint}")
    return done.stdout


def _call(*argv: str) -> subprocess.CompletedProcess[str]:
    # inside of a job: what describes this job must not become what the next one is asked for with
    strange = ("SLURM_", "SLURMD_", "SRUN_", "SQUEUE_")
    environ = {name: value for name, value in os.environ.items() if name == "SLURM_CONF" or not name.startswith(strange)}
    try:
        return subprocess.run(
            argv, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_LIMIT_S, check=False
        )
    except OSError as problem:
        raise BatchError(f"{argv[0]} cannot be run: {problem.strerror}. Is this a machine with Slurm?") from problem
    except subprocess.TimeoutExpired as problem:
        raise BatchError(f"{argv[0]} did not answer in {_LIMIT_S:.0f} s") from problem
