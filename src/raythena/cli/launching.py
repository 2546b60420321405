"""From settings to a cluster: which launcher, and what it is told."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from raythena.cli.settings import Settings, placed
from raythena.domain.errors import InvalidInput
from raythena.launch.launcher import Cluster, Continuation, LaunchOrder, choose_launcher
from raythena.launch.successor import passed_on
from raythena.runtime.session_config import SessionConfig

_RESUME = "--resume"
_NEED_RESUME = ("run", "demo")
"""Commands that go on with a task only when they are told to."""
_WATCHED = "harvest"
"""The command whose batch job Harvester watches: it takes a job that was cancelled for one that came to nothing."""


def make_cluster(
    settings: Settings,
    environ: Mapping[str, str],
    shared: str,
    tell: Callable[[str], None],
    goes_on: Continuation | None = None,
    *,
    session: str = "",
) -> Cluster:
    """The cluster these settings ask for, nothing of it started yet; `shared`: a directory all nodes see. Raises InvalidInput."""
    order = replace(launch_order(settings, environ, shared, tell), continuation=goes_on, session=session)
    return choose_launcher(settings.launch.on, environ).launch(order)


def continuation(settings: Settings, environ: Mapping[str, str], config: SessionConfig) -> Continuation | None:
    """This very command, as another node would give it if this machine died; None where none shall."""
    if not settings.launch.succession:
        return None
    words = sys.argv[1:]
    at = next((place for place, word in enumerate(words) if word in _NEED_RESUME), None)
    if at is not None and _RESUME not in words:
        words.insert(at + 1, _RESUME)
    argv = (sys.executable, "-P", "-m", "raythena.cli", *words)
    watched = next((word for word in words if not word.startswith("-")), "") == _WATCHED
    place = str(Path.cwd())
    return Continuation(config.session, config.task_directory, argv, place, passed_on(environ), told_by_exit_code=watched)


def launch_order(settings: Settings, environ: Mapping[str, str], shared: str, tell: Callable[[str], None]) -> LaunchOrder:
    """The settings as a launcher wants them. Raises InvalidInput."""
    launch = settings.launch
    try:
        step_options = tuple(shlex.split(launch.step_options))
    except ValueError as problem:
        raise InvalidInput("settings", "launch.step_options", f"cannot be cut into words: {problem}") from problem
    order = LaunchOrder(
        environ=environ,
        scratch_directory=settings.runtime.scratch_dir,
        shared_directory=shared,
        nodes=settings.nodes.count or None,
        cores=settings.nodes.cores_per_node or None,
        head_cores=None if launch.head_cores < 0 else launch.head_cores,
        step_options=step_options,
        tell=tell,
    )
    return placed(order, settings)


def nodes_in_words(settings: Settings, environ: Mapping[str, str]) -> str:
    """What the job will run on, for a person. Raises InvalidInput."""
    plugin = choose_launcher(settings.launch.on, environ)
    return plugin.words(launch_order(settings, environ, "", lambda _: None))
