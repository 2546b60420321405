"""What a pilot needs around it before it starts: directory, configuration, environment, command.

Rules:
- The launch directory holds the three files of the information system, so that the pilot asks no network for them. What the
  site gives is copied untouched: containers, their options and everything else of a queue are the site's and the pilot's
  business.
- The configuration is a complete copy of this very pilot's `default.cfg`, with the site's changes and then ours, which are one:
  the server.
- `PILOT_NOKILL` is always set: without it a pilot ends by killing every process of the user whose parent is process 1.
"""

from __future__ import annotations

import configparser
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from raythena.domain.errors import PayloadError
from raythena.payloads.pilot import start
from raythena.payloads.pilot.channel_leftovers import remove_leftovers
from raythena.payloads.pilot.pilot_options import PilotOptions
from raythena.payloads.pilot.queues import endpoints, queue_object
from raythena.payloads.pilot.release import Release
from raythena.payloads.pilot.server import HOST

_UNSHARE = ("unshare", "--user", "--map-current-user", "--keep-caps", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc")
_START = (sys.executable, "-I", "-S", start.__file__)
_INSIDE = ":wrapper"
"""Ending of `container_type` when the site has put the pilot itself into the container."""


@dataclass(frozen=True, slots=True)
class LaunchPlan:
    """A pilot ready to be started."""

    argv: list[str]
    environment: dict[str, str]
    directory: Path


def prepare(
    options: PilotOptions, release: Release, job: Mapping[str, object], *, cores: int, port: int, directory: Path
) -> LaunchPlan:
    """Fill the launch directory `directory` (made here) for a pilot that talks to `port`.

    Raises OSError, PayloadError, InvalidInput.
    """
    directory.mkdir(parents=True)
    queue = queue_object(options)
    _write(directory / "queuedata.json", queue)
    _write(directory / "cric_pandaqueues.json", {options.queue: queue})
    _write(directory / "cric_ddmendpoints.json", endpoints(options))
    environment = _environment(options, cores, port, directory)
    if release.default_config is not None:
        config = directory / "raythena.cfg"
        write_config(release.default_config, options.config, port, config)
        environment["HARVESTER_PILOT_CONFIG"] = str(config)
    environment.update(options.environment)
    environment["PILOT_NOKILL"] = "1"
    environment.pop("PILOT_OUTPUT_DIR", None)  # the pilot would move the outputs there before anybody has looked at them
    argv = [*_program(options, release), *_arguments(options, job, port, directory)]
    if in_namespace(options, queue, directory):
        argv = _isolated(argv, directory / "private")
    else:
        remove_leftovers()
        argv = [*_START, *argv]
    return LaunchPlan(argv, environment, directory)


def write_config(template: Path, changes: Mapping[str, Mapping[str, str]], port: int, target: Path) -> None:
    """A copy of a pilot's configuration with changes. Raises PayloadError, OSError."""
    config = configparser.RawConfigParser()
    config.optionxform = str  # type: ignore[assignment,method-assign]  # names keep their case
    try:
        config.read_string(template.read_text(encoding="utf-8"))
        for section, values in {**changes, "Pilot": {**changes.get("Pilot", {}), "pandaserver": url(port)}}.items():
            if not config.has_section(section):
                raise PayloadError(f"pilot: config: {template} has no section [{section}]; it has {', '.join(config.sections())}")
            for name, value in values.items():
                config.set(section, name, value)
    except configparser.Error as problem:
        raise PayloadError(f"pilot: {template} cannot be read: {problem}") from problem
    with target.open("w", encoding="utf-8") as stream:
        config.write(stream)


def url(port: int) -> str:
    """Where the server is."""
    return f"http://{HOST}:{port}"


def _isolated(argv: Sequence[str], place: Path) -> list[str]:
    """The command in namespaces of its own: process numbers, IPC, and a /tmp and a /dev/shm, for which `place` is made."""
    place.mkdir(parents=True)
    return [*_UNSHARE, *_START, "--private", str(place), *argv]


def in_namespace(options: PilotOptions, queue: Mapping[str, object], directory: Path) -> bool:
    """Whether to give the pilot namespaces of its own. Raises PayloadError when that is demanded and not possible.

    With a PID namespace every pilot has the same process number, by which it names its channel to AthenaMP; so it gets a `/tmp`
    and a `/dev/shm` of its own as well, or nothing of its own. That is tried below `directory`. `auto` does not when the pilot
    starts containers itself: a set-user-id apptainer refuses to work inside a user namespace.
    """
    if options.pid_namespace == "no":
        return False
    kind = str(queue.get("container_type") or "")
    if options.pid_namespace == "auto" and kind and not kind.endswith(_INSIDE):
        return False
    problem = _namespace_problem(directory)
    if problem and options.pid_namespace == "yes":
        raise PayloadError(f"pilot: pid_namespace: yes, but this node does not allow it: {problem}")
    return not problem


def _namespace_problem(directory: Path) -> str:
    """Why namespaces cannot be had; empty when they can."""
    if shutil.which(_UNSHARE[0]) is None:
        return "there is no program unshare"
    try:
        tried = subprocess.run(_isolated(["true"], directory / "trial"), capture_output=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as problem:
        return str(problem)
    return "" if tried.returncode == 0 else tried.stderr.decode(errors="replace").strip() or f"exit code {tried.returncode}"


def _program(options: PilotOptions, release: Release) -> list[str]:
    if options.command:
        return list(options.command)
    if release.program is None:
        raise PayloadError("pilot: neither `pilot` nor `command` is given")
    return [options.python, str(release.program)]


def _arguments(options: PilotOptions, job: Mapping[str, object], port: int, directory: Path) -> list[str]:
    resource_type = str(job.get("resource_type") or "MCORE")
    ours = {
        "-q": options.queue,
        "-r": options.queue,
        "-s": options.queue,
        "-j": "managed",
        "-i": "PR",
        "-w": "generic",
        "--pilot-user": "atlas",
        "--es-executor-type": "raythena",
        "--url": f"http://{HOST}",
        "-p": str(port),
        "--use-https": "False",
        "--cleanup": "False",
        "--storagedata-url": str(directory / "cric_ddmendpoints.json"),
        "--resource-type": resource_type,
    }
    theirs = {word.partition("=")[0] for word in options.arguments if word.startswith("-")}
    words = [
        f"{name}={value}" if name.startswith("--") else f"{name}{value}" for name, value in ours.items() if name not in theirs
    ]
    if "-t" not in theirs and not options.verify_proxy:
        words.append("-t")  # no check of the proxy: where arcproxy is missing, a pilot that checks never asks for a job
    return [*words, *options.arguments]


def _environment(options: PilotOptions, cores: int, port: int, directory: Path) -> dict[str, str]:
    environment = {
        **os.environ,
        "PILOT_HOME": str(directory),
        "PANDA_SERVER_URL": url(port),
        "ATHENA_PROC_NUMBER": str(cores),
    }
    if options.proxy is not None:
        environment["X509_USER_PROXY"] = str(options.proxy)
    return environment


def _write(path: Path, document: object) -> None:
    path.write_text(json.dumps(document, indent=1), encoding="utf-8")
