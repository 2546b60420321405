"""From settings to a cluster: which launcher, and what it is told."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping

from raythena.cli.settings import Settings, placed
from raythena.domain.errors import InvalidInput
from raythena.launch.launcher import Cluster, LaunchOrder, choose_launcher


def make_cluster(settings: Settings, environ: Mapping[str, str], shared: str, tell: Callable[[str], None]) -> Cluster:
    """The cluster these settings ask for, nothing of it started yet; `shared`: a directory all nodes see. Raises InvalidInput."""
    return choose_launcher(settings.launch.on, environ).launch(launch_order(settings, environ, shared, tell))


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
