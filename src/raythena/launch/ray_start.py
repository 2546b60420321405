"""A node of Ray's without the helper programs that nobody asks anything here; run as `python -m raythena.launch.ray_start`.

`ray start` puts Python programs of Ray's beside the processes that make a node: a dashboard, even where it is switched off, and
on each node an agent of the dashboard and one that makes environments for tasks. They take one to two seconds of processor time
and 150 MB before the first event, and where they are not up within 15 seconds the node gives up. Ray has no switch for them. So
a node is made here of the same parts that `ray start` makes it of, but:

- There is no dashboard.
- In place of each agent the raylet starts a program that waits for the raylet's end (it watches its agents, and ends with them).
- The ports of the agents are told beforehand. They are such that only root could listen there, and nobody does.

It takes those options of `ray start` that `ray_environment` writes, and stays until one of the node's processes ends; what that
one said last is printed. A Ray that has not these parts is left to its own `ray start`, helpers and all.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Protocol

if TYPE_CHECKING:
    from ray._private.parameter import RayParams

_LOOK_S = 1.0
_WORKER_PORTS = (10002, 19999)
"""As `ray start` has them."""
_LAST_LINES = 20
_AGENTS = ("--dashboard_agent_command=", "--runtime_env_agent_command=")
_PORT_NAMES = (
    "METRICS_AGENT_PORT_NAME",
    "METRICS_EXPORT_PORT_NAME",
    "DASHBOARD_AGENT_LISTEN_PORT_NAME",
    "RUNTIME_ENV_AGENT_PORT_NAME",
)
_WAITS = "/bin/sh -c cat agent"
"""Its standard input is a pipe from the raylet, in which nothing is ever written; words that the raylet adds mean nothing."""


class StartedNode(Protocol):
    """What is used of Ray's `Node`."""

    def dead_processes(self) -> list[tuple[str, subprocess.Popen[bytes]]]:
        """Those that have ended, with their kinds."""

    def get_logs_dir_path(self) -> str:
        """Where they write."""

    def kill_all_processes(self, check_alive: bool, allow_graceful: bool) -> None:
        """End the others."""


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The options of one node, as `ray start` would take them."""
    parser = argparse.ArgumentParser("ray start", allow_abbrev=False)
    for flag in ("--block", "--disable-usage-stats", "--head", "--no-monitor"):
        parser.add_argument(flag, action="store_true")
    for word in ("--include-log-monitor", "--include-dashboard", "--temp-dir", "--node-ip-address", "--address", "--node-name"):
        parser.add_argument(word)
    for number in ("--object-store-memory", "--num-cpus", "--port"):
        parser.add_argument(number, type=int)
    parser.add_argument("--resources", type=json.loads)
    return parser.parse_args(words)


def is_known() -> bool:
    """Whether the Ray that is installed has the parts a node is made of here."""
    try:
        import ray._private.node as ray_node
        import ray._private.parameter as ray_parameter
        import ray._private.services as ray_services
        import ray._raylet as ray_core
    except ImportError:
        return False
    wanted = (
        (ray_node, ("Node",)),
        (ray_parameter, ("RayParams",)),
        (ray_services, ("start_ray_process", "start_api_server", "resolve_ip_for_localhost", "canonicalize_bootstrap_address")),
        (ray_core, ("persist_port", *_PORT_NAMES)),
    )
    return all(hasattr(module, name) for module, names in wanted for name in names)


def without_agents(command: Sequence[str]) -> list[str]:
    """The raylet's command line with programs that wait for its end in place of its agents."""
    return [next((f"{agent}{_WAITS}" for agent in _AGENTS if word.startswith(agent)), word) for word in command]


def _leave_helpers_out() -> None:
    import ray._raylet as core
    from ray._private import services

    start_process: Callable[..., object] = services.start_ray_process

    def start(command: list[str], process_type: str, *arguments: object, **more: object) -> object:
        if any(word.startswith(_AGENTS) for word in command):
            options = dict(word[2:].partition("=")[::2] for word in command if word.startswith("--"))
            for port, name in enumerate(_PORT_NAMES, start=1):
                core.persist_port(  # type: ignore[attr-defined]
                    options["session_dir"], options["node_id"], getattr(core, name), port
                )
            command = without_agents(command)
        return start_process(command, process_type, *arguments, **more)

    vars(services).update(start_ray_process=start, start_api_server=lambda *_, **__: ("", None))


def _parameters(options: argparse.Namespace) -> RayParams:
    """What `ray start` makes of the same options."""
    from ray._private import services
    from ray._private.parameter import RayParams

    address = services.resolve_ip_for_localhost(options.node_ip_address)
    parameters = RayParams(
        node_ip_address=address,
        node_name=options.node_name or address,
        min_worker_port=_WORKER_PORTS[0],
        max_worker_port=_WORKER_PORTS[1],
        object_store_memory=options.object_store_memory,
        num_cpus=options.num_cpus,
        resources=options.resources,
        temp_dir=options.temp_dir,
        include_dashboard=False,
        include_log_monitor=False,  # type: ignore[arg-type]  # not None, which means True
        no_monitor=True,
    )
    if options.head:
        parameters.gcs_server_port = options.port
    else:
        parameters.gcs_address = services.canonicalize_bootstrap_address(options.address, temp_dir=options.temp_dir)
    return parameters


def _stay(node: StartedNode) -> NoReturn:
    """Until one of the node's processes ends, which ends the node."""
    print("the node is up", flush=True)
    while not (dead := node.dead_processes()):
        time.sleep(_LOOK_S)
    for kind, process in dead:
        print(f"{kind} ended with {process.returncode}; its last words:\n{last_words(Path(node.get_logs_dir_path()), kind)}")
    sys.stdout.flush()
    node.kill_all_processes(check_alive=False, allow_graceful=False)
    os._exit(1)


def last_words(logs: Path, kind: str) -> str:
    """The end of what a process wrote."""
    texts = [path.read_text(errors="replace") for path in (logs / f"{kind}.out", logs / f"{kind}.err") if path.exists()]
    return "\n".join(line for text in texts for line in text.splitlines()[-_LAST_LINES:])


def main() -> None:
    """Start a node and stay with it."""
    if not is_known():
        from ray.scripts.scripts import main as ray_main

        ray_main()  # type: ignore[no-untyped-call]
        return
    from ray._private.node import Node

    options = parse(sys.argv[2:])
    _leave_helpers_out()
    _stay(Node(_parameters(options), head=options.head, shutdown_at_exit=True, spawn_reaper=False, connect_only=False))


if __name__ == "__main__":
    main()
