"""Hosts named in a file, reached by a remote shell: `ssh`, or what PBS has in its place.

The command runs on one of them, which becomes the head. `ssh` passes standard input on, the channel to each node process;
`pbsdsh` and `pbs_tmrsh` do not, so there (`launch.remote_stdin` false) the order is a file only its owner can read, in a private
directory beside the task, and the channel is open for as long as that file is there.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from raythena.domain.errors import InvalidInput
from raythena.domain.host_list import Host, parse_hosts
from raythena.launch.addresses import source_address
from raythena.launch.launcher import LauncherPlugin, LaunchOrder, NodeCommand
from raythena.launch.many_machines import ManyMachines
from raythena.launch.remote_nodes import NodeSpec

NODE_FILE = "PBS_NODEFILE"
_PLACE = "{host}"
_PROGRAM = (sys.executable, "-P", "-m", "raythena.launch.node_process")


def remote_command(template: str, host: str, program: tuple[str, ...] = _PROGRAM) -> tuple[str, ...]:
    """The command that starts a program on a host. Raises InvalidInput."""
    try:
        words = shlex.split(template)
    except ValueError as problem:
        raise InvalidInput("settings", "launch.remote_shell", f"cannot be cut into words: {problem}") from problem
    if not any(_PLACE in word for word in words):
        raise InvalidInput("settings", "launch.remote_shell", f"{template!r} has no place for the host", expected=_PLACE)
    return (*(word.replace(_PLACE, host) for word in words), *program)


def is_this_machine(host: Host) -> bool:
    """Whether a host is the machine this process runs on."""
    name = host.name.rpartition("@")[2]
    here = socket.gethostname()
    if name in {here, here.partition(".")[0], "localhost"} or name.partition(".")[0] == here:
        return True
    with contextlib.suppress(OSError):
        address = socket.gethostbyname(name)
        # packets to an address of our own leave from that address, or stay within the machine
        return source_address(address) in {"", address}
    return False


def hosts_of(order: LaunchOrder) -> tuple[Host, ...]:
    """The hosts of an order. Raises InvalidInput."""
    path = order.hosts or order.environ.get(NODE_FILE, "")
    if not path:
        raise InvalidInput("launch.hosts", "", "is not set", expected="a file with a host in each line", hint=f"or {NODE_FILE}")
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise InvalidInput(path, "", f"cannot be read: {problem}", expected="a file with a host in each line") from problem
    return parse_hosts(text, path)


class HostCluster(ManyMachines):
    """The hosts of a file, at most `order.nodes` of them, this machine included."""

    def __init__(self, order: LaunchOrder) -> None:
        hosts = hosts_of(order)
        here = [host for host in hosts if is_this_machine(host)]
        if not here:
            where = socket.gethostname()
            raise InvalidInput(
                "launch.hosts", "", f"{where} is not among them", expected="the machine of this command, and others"
            )
        others = [host for host in hosts if host not in here]
        specs = [
            NodeSpec(host.name, remote_command(order.remote_shell, host.name), host.cores, by_file=not order.remote_stdin)
            for host in others
        ]
        super().__init__(order, here[0].cores, [host.name.rpartition("@")[2] for host in others], specs, dict(os.environ))


def _words(order: LaunchOrder) -> str:
    hosts = len(hosts_of(order))
    return f"{min(hosts, order.nodes or hosts)} hosts"


def _commands(order: LaunchOrder, program: tuple[str, ...]) -> list[NodeCommand]:
    """The program itself here, and through the remote shell on each other host."""
    commands = []
    for host in hosts_of(order)[: order.nodes]:
        argv = program if is_this_machine(host) else remote_command(order.remote_shell, host.name, program)
        commands.append(NodeCommand(host.name.rpartition("@")[2], argv))
    return commands


def _is_here(environ: Mapping[str, str]) -> bool:
    return bool(environ.get("PBS_JOBID")) and bool(environ.get(NODE_FILE))


PLUGIN = LauncherPlugin("ssh", _is_here, HostCluster, _words, _commands)
