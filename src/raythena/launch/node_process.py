"""The process of ours on each node: starts Ray there, and is the life of everything of ours on that machine.

Whoever starts it (a step of Slurm, ssh) gives it one line of JSON on standard input, the order, and keeps that channel open; it
answers with lines on standard output. Where standard input is not passed on, `--order=FILE` names a file with that line; it has
mode 600, and the channel is closed when it is removed. The secret of the session travels this way, and so is in no command line,
no environment that others could read, and in files of mode 600 only.

Rules:
- It ends when it is told to, when the channel is closed, when a signal comes, when its Ray has ended, and when nothing comes
  back from the head's machine for a minute. Whichever it is,
  everything that it started ends with it and its directories are removed. Killed, it leaves both to its process guard.
- Its directories are private and new: nothing on the node is shared with another job, another start, or a Ray of somebody else.
- It decides nothing: whether it is started again is up to the head.

Lines to it: the order, `{"say": "stop"}`. Lines from it: `{"say": "starting", address, cores, directory}`, `{"say": "ended",
reason}`; each behind a mark, because batch systems and shells say things of their own on standard output.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
from collections.abc import Coroutine, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from raythena.domain.allocation import slurm_allocation, usable_cores
from raythena.domain.errors import ClusterError, InvalidInput, RaythenaError
from raythena.launch.addresses import own_address
from raythena.launch.headless import end_headless_job
from raythena.launch.private import private_directory, temporary_directory
from raythena.launch.ray_environment import ray_environment, start_node, without_ray, write_token
from raythena.runtime.process_guard import ProcessGuard
from raythena.runtime.session_config import NODE_RESOURCE

MARK = "raythena-node: "
"""Before every line of ours."""
_CONNECT_LIMIT_S = 15.0
_HEAD_LOOK_S = 20.0
_HEAD_PATIENCE_S = 60.0
_TAIL_CHARACTERS = 1500
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_ORDER_LIMIT_BYTES = 1 << 20
_ORDER_OPTION = "--order="
_LOOK_S = 1.0


@dataclass(frozen=True, slots=True)
class NodeOrder:
    """What a node is told."""

    name: str
    """By which the head knows this start of this node."""
    head: str
    """`host:port`."""
    token: str
    cores: int
    """0: what the batch system and the kernel give us."""
    interface: str
    scratch_directory: str
    job_id: str
    """Slurm job that must not go on without its head node; empty: none."""
    head_node: str
    """As Slurm names it."""
    ray_directory: str = ""

    def line(self) -> bytes:
        """As it is sent."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def parse(cls, line: bytes) -> NodeOrder:
        """As it is received. Raises ClusterError."""
        try:
            return cls(**json.loads(line))
        except (ValueError, TypeError) as problem:
            raise ClusterError(f"no order came through standard input ({len(line)} bytes: {problem})") from problem


def cores_here(order: NodeOrder) -> int:
    """Cores to keep busy on this node."""
    if order.cores:
        return order.cores
    allocation = slurm_allocation(os.environ)
    node = allocation and allocation.named(os.environ.get("SLURMD_NODENAME", ""))
    return usable_cores(node.cores if node else 0, len(os.sched_getaffinity(0)))


class NodeProcess:
    """One life of Ray on this node."""

    def __init__(self, order: NodeOrder) -> None:
        self.order = order
        self._process_guard = ProcessGuard()
        self._over = asyncio.Event()
        self._status: int | None = None
        self._head_lost = ""

    def end(self) -> None:
        """Have everything end, soon."""
        self._over.set()

    async def run(self) -> str:
        """Start Ray, wait for the end; why it ended, "" when it was told to. Raises RaythenaError, OSError."""
        address = await self._find_address()
        cores = cores_here(self.order)
        with (
            private_directory(self._process_guard, short=self.order.ray_directory) as directory,
            temporary_directory(self._process_guard, directory, self.order.scratch_directory) as temporary,
        ):
            try:
                await self._start(address, cores, directory, temporary)
                say("starting", address=address, cores=cores, directory=str(directory))
                watch = asyncio.create_task(self._watch_head())
                await self._over.wait()
                watch.cancel()
                if self._head_lost:
                    return self._head_lost
                return "" if self._status is None else f"its Ray ended with {self._status}: {_last_words(directory)}"
            finally:
                await self._process_guard.stop()

    async def _watch_head(self) -> None:
        """End when the head's machine has been silent for long. Ray may take minutes to see that nobody answers any more."""
        silent_s = 0.0
        while silent_s < _HEAD_PATIENCE_S:
            await asyncio.sleep(_HEAD_LOOK_S)
            silent_s = silent_s + _HEAD_LOOK_S if await is_silent(self.order.head) else 0.0
        self._head_lost = f"the head at {self.order.head} has been silent for {silent_s:.0f} s"
        self.end()

    async def _find_address(self) -> str:
        host, _, port = self.order.head.rpartition(":")
        address = own_address(self.order.interface, [host])
        try:
            _, writer = await asyncio.wait_for(
                asyncio.open_connection(host, int(port), local_addr=(address, 0)), timeout=_CONNECT_LIMIT_S
            )
        except OSError as problem:
            why = f"nothing came back in {_CONNECT_LIMIT_S:.0f} s" if isinstance(problem, TimeoutError) else problem.strerror
            raise ClusterError(f"the head at {self.order.head} cannot be reached from {address}: {why}") from problem
        writer.close()
        return address

    async def _start(self, address: str, cores: int, directory: Path, temporary: Path) -> None:
        token = directory / "token"
        write_token(token, self.order.token)
        environ = {name: value for name, value in os.environ.items() if name not in without_ray(os.environ)}
        environ |= {**ray_environment(token), "TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1"}
        argv = start_node(self.order.head, address, cores, NODE_RESOURCE, temporary=directory / "r", name=self.order.name)
        log = directory / "log"
        await self._process_guard.spawn(argv, env=environ, stdout=log, stderr=log, cwd=Path("/"), on_exit=self._ray_ended)

    def _ray_ended(self, status: int) -> None:
        self._status = status
        self.end()


async def is_silent(head: str) -> bool:
    """Whether nothing comes back from the head's machine, not even that nobody listens there any more."""
    host, _, port = head.rpartition(":")
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(host, int(port)), timeout=_CONNECT_LIMIT_S)
    except ConnectionRefusedError:
        return False
    except OSError:
        return True
    writer.close()
    return False


def _last_words(directory: Path) -> str:
    """What Ray printed last, on one line."""
    log = directory / "log"
    text = log.read_text(errors="replace")[-_TAIL_CHARACTERS:] if log.exists() else ""
    return " | ".join(line.strip() for line in text.splitlines() if line.strip()) or "it printed nothing"


def say(what: str, **more: object) -> None:
    """Tell the head something, if it is still there."""
    with contextlib.suppress(OSError, ValueError):  # ValueError: standard output was closed
        sys.stdout.write(f"{MARK}{json.dumps({'say': what, **more})}\n")
        sys.stdout.flush()


def heard(line: bytes) -> dict[str, str] | None:
    """What a node process says in a line of its standard output; None when somebody else wrote that line."""
    _, mark, text = line.decode(errors="replace").partition(MARK)
    if mark:
        with contextlib.suppress(ValueError):
            said: dict[str, str] = json.loads(text)
            return said
    return None


async def _standard_input() -> asyncio.StreamReader:
    reader = asyncio.StreamReader(limit=_ORDER_LIMIT_BYTES)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


async def _obey(reader: asyncio.StreamReader, node: NodeProcess) -> None:
    """Read on until the channel is closed, or something is said: there is one word only."""
    await reader.readline()
    node.end()


async def _obey_file(path: Path, node: NodeProcess) -> None:
    """Look until the file is gone. A shared disk that does not answer for a moment has not removed it."""
    while True:
        try:
            await asyncio.to_thread(path.stat)
        except FileNotFoundError:
            return node.end()
        except OSError:
            pass
        await asyncio.sleep(_LOOK_S)


async def _take_order(arguments: Sequence[str]) -> tuple[NodeProcess, Coroutine[None, None, None]]:
    """The node process that was ordered, and what ends it when the channel is closed. Raises ClusterError."""
    files = [Path(word.removeprefix(_ORDER_OPTION)) for word in arguments if word.startswith(_ORDER_OPTION)]
    if not files:
        reader = await _standard_input()
        node = NodeProcess(NodeOrder.parse(await reader.readline()))
        return node, _obey(reader, node)
    try:
        line = files[0].read_bytes()
    except OSError as problem:
        raise ClusterError(f"the order cannot be read: {problem}") from problem
    node = NodeProcess(NodeOrder.parse(line))
    return node, _obey_file(files[0], node)


async def _main(arguments: Sequence[str]) -> int:
    try:
        node, channel = await _take_order(arguments)
        for number in _SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, node.end)
        obeying = asyncio.create_task(channel)
        reason = await node.run()
        obeying.cancel()
        say("ended", reason=reason)
        if reason and node.order.job_id and await is_silent(node.order.head):
            await asyncio.to_thread(end_headless_job, node.order.job_id, node.order.head_node)
        return 1 if reason else 0
    except (RaythenaError, InvalidInput) as problem:
        reason = str(problem)
    except OSError as problem:
        reason = f"{problem.strerror or problem}: {problem.filename or tempfile.gettempdir()}"
    say("ended", reason=reason)
    return 1 if reason else 0


def main() -> None:
    """Be the process of a node; standard input is the channel to the head."""
    sys.exit(asyncio.run(_main(sys.argv[1:])))


if __name__ == "__main__":
    main()
