"""The process of ours on each node: starts Ray there, and is the life of everything of ours on that machine.

Whoever starts it (a step of Slurm, ssh) gives it one line of JSON on standard input, the order, and keeps that channel open; it
answers with lines on standard output. Where standard input is not passed on, `--order=FILE` names a file with that line; it has
mode 600, and the channel is closed when it is removed. The secret of the session travels this way, and so is in no command line,
no environment that others could read, and in files of mode 600 only.

Rules:
- It ends when it is told to, when the channel is closed, when a signal comes, and when its Ray has ended. Whichever it is,
  everything that it started ends with it and its directories are removed. Killed, it leaves both to its process guard.
- When the head's machine is silent it may become the head's successor, see `successor`; else it ends after a while.
- Its directories are private and new: nothing on the node is shared with another job, another start, or a Ray of somebody else.
- It decides nothing: whether it is started again is up to the head, who succeeds the head is decided in `engine.succession`.

Lines to it: the order, `{"say": "stop"}`. Lines from it: `{"say": "starting", address, cores, directory}`;
`{"say": "facts", facts}`, what the node is like, see `start_checks`; `{"say": "up"}`, Ray runs; `{"say": "ended", reason}`. Each
stands behind a mark, because batch systems and shells say things of their own on standard output.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Coroutine, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from raythena.domain.allocation import slurm_allocation, usable_cores
from raythena.domain.errors import ClusterError, InvalidInput, RaythenaError
from raythena.engine.succession import Move, Sight, Succession
from raythena.launch.addresses import own_address
from raythena.launch.certificates import Authority, tls_environment
from raythena.launch.environment_archive import unpack
from raythena.launch.headless import end_headless_job
from raythena.launch.launcher import Continuation
from raythena.launch.private import BASE, private_directory, temporary_directory
from raythena.launch.ray_environment import ray_environment, start_node, without_ray, write_token
from raythena.launch.successor import Successor
from raythena.runtime.process_guard import ProcessGuard
from raythena.runtime.session_config import NODE_ENDS_AT_VARIABLE, NODE_RESOURCE

MARK = "raythena-node: "
"""Before every line of ours."""
_CONNECT_LIMIT_S = 15.0
_HEAD_LOOK_S = 15.0
_DOUBT_LOOK_S = 2.0
_TAIL_CHARACTERS = 1500
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_ORDER_LIMIT_BYTES = 1 << 20
_ORDER_OPTION = "--order="
_LOOK_S = 1.0
_UP = ("the node is up", "Ray runtime started")
"""What `ray_start` prints then, and what `ray start` does."""


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
    continuation: Continuation | None = None
    rank: int = 0
    """Its place among those that may succeed the head."""
    ends_at: float = 0.0
    """When the node leaves, in seconds since the epoch; 0: not before the job is over."""
    environment: str = ""
    """An archive to unpack and start from; empty: this Python does."""
    environment_sha256: str = ""
    authority: Authority | None = None
    """With TLS: who signs this node's certificate."""

    def line(self) -> bytes:
        """As it is sent."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def parse(cls, line: bytes) -> NodeOrder:
        """As it is received. Raises ClusterError."""
        try:
            words = json.loads(line)
            if words.get("continuation"):
                words["continuation"] = Continuation(**words["continuation"])
            if words.get("authority"):
                words["authority"] = Authority(**words["authority"])
            return cls(**words)
        except (ValueError, TypeError, AttributeError) as problem:
            raise ClusterError(f"no order came through standard input ({len(line)} bytes: {problem})") from problem


def cores_here(order: NodeOrder) -> int:
    """Cores to keep busy on this node."""
    if order.cores:
        return order.cores
    allocation = slurm_allocation(os.environ)
    node = allocation and allocation.named(os.environ.get("SLURMD_NODENAME", ""))
    return usable_cores(node.cores if node else 0, len(os.sched_getaffinity(0)))


class NodeProcess:
    """One life of Ray on this node, and what follows when the head's machine dies."""

    def __init__(self, order: NodeOrder) -> None:
        self.order = order
        self._process_guard = ProcessGuard()
        self._told = False
        self._stirred = asyncio.Event()
        """There is something to look at, before it is time to."""
        self._status: int | None = None
        self._succession = Succession(order.continuation.session if order.continuation else "", order.rank)
        self._successor = None if order.continuation is None else Successor(order.continuation, order.job_id)
        self.nobody_goes_on = False
        """The head is lost, and the batch system should know."""

    def end(self) -> None:
        """Have everything end, soon."""
        self._told = True
        if self._successor is not None:
            self._successor.end()
        self._stirred.set()

    def channel_closed(self) -> None:
        """Nobody is at the other end any more. Whoever has taken the head's place does not need anybody there."""
        if self._successor is None or not self._successor.is_head:
            self.end()

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
                look = asyncio.create_task(asyncio.to_thread(self._look_at_node))
                up = asyncio.create_task(_tell_when_up(directory))
                reason = await self._watch(directory)
                look.cancel()
                up.cancel()
                return reason
            finally:
                await self._process_guard.stop()

    async def _watch(self, directory: Path) -> str:
        """Look after the head until this process is not needed any more; why."""
        while not self._told:
            sight = await self._sight()
            match self._succession.look(sight, time.monotonic()):
                case Move.CLAIM:
                    await self._claim()
                case Move.STAND_BY:
                    await self._end_ray()
                case Move.LEAVE if sight.head_answers:
                    return f"its Ray ended with {self._status}: {_last_words(directory)}"
                case Move.LEAVE:
                    return f"the head at {self.order.head} is silent, and another one is at work"
                case Move.GIVE_UP:
                    self.nobody_goes_on = True
                    return f"the head at {self.order.head} is silent"
            if not self._told:
                await self._wait()
        return ""

    def _look_at_node(self) -> None:
        """Tell the head what this node is like. Ray starts meanwhile, and does not wait for what this imports."""
        import msgspec

        from raythena.launch.node_probe import FactsRequest, facts

        order = self.order
        request = FactsRequest(
            node=order.name,
            others=(order.head.rpartition(":")[0],),
            interface=order.interface,
            scratch=order.scratch_directory,
            socket_base=order.ray_directory or str(BASE),
            shared=order.continuation.task_directory if order.continuation else "",
            measure=False,
        )
        say("facts", facts=msgspec.to_builtins(facts(request)))

    async def _sight(self) -> Sight:
        answers = not await is_silent(self.order.head)
        if answers or self._successor is None:
            return Sight(head_answers=answers, ray_runs=self._status is None)
        return await self._successor.sight(ray_runs=self._status is None)

    async def _claim(self) -> None:
        """Become the head, if the lease says so; ends when that is over."""
        if self._successor is None or not await self._successor.take_lease():
            return
        await self._end_ray()
        if await self._successor.lead():
            self.end()
        else:
            self._succession.claim_failed(time.monotonic())

    async def _end_ray(self) -> None:
        await self._process_guard.stop()
        if self._status is None:
            self._status = 0

    async def _wait(self) -> None:
        """Until something happens, or it is time for another look."""
        pause_s = _DOUBT_LOOK_S if self._succession.doubts else _HEAD_LOOK_S
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stirred.wait(), pause_s)
        self._stirred.clear()

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
        python = sys.executable
        if self.order.environment:
            place = Path(tempfile.mkdtemp(prefix="environment-", dir=temporary))
            archive, sha256 = Path(self.order.environment), self.order.environment_sha256
            python = str(await asyncio.to_thread(unpack, archive, sha256, place))
        token = directory / "token"
        write_token(token, self.order.token)
        environ = {name: value for name, value in os.environ.items() if name not in without_ray(os.environ)}
        environ |= {**ray_environment(token), "TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1"}
        if self.order.authority is not None:
            environ |= tls_environment(self.order.authority, directory, address)
        if self.order.ends_at:
            environ[NODE_ENDS_AT_VARIABLE] = str(self.order.ends_at)
        argv = start_node(self.order.head, address, cores, NODE_RESOURCE, temporary=directory / "r", name=self.order.name)
        argv[0] = python
        log = directory / "log"
        await self._process_guard.spawn(argv, env=environ, stdout=log, stderr=log, cwd=Path("/"), on_exit=self._ray_ended)

    def _ray_ended(self, status: int) -> None:
        self._status = status
        self._stirred.set()


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


async def _tell_when_up(directory: Path) -> None:
    """Say so as soon as Ray runs here."""
    log = directory / "log"
    while True:
        if log.exists() and any(words in log.read_text(errors="replace") for words in _UP):
            return say("up")
        await asyncio.sleep(_LOOK_S / 4)


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


def heard(line: bytes) -> dict[str, object] | None:
    """What a node process says in a line of its standard output; None when somebody else wrote that line."""
    _, mark, text = line.decode(errors="replace").partition(MARK)
    if mark:
        with contextlib.suppress(ValueError):
            said: dict[str, object] = json.loads(text)
            return said
    return None


async def _standard_input() -> asyncio.StreamReader:
    reader = asyncio.StreamReader(limit=_ORDER_LIMIT_BYTES)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


async def _obey(reader: asyncio.StreamReader, node: NodeProcess) -> None:
    """Read on until the channel is closed, or something is said: there is one word only."""
    if await reader.readline():
        node.end()
    else:
        node.channel_closed()


async def _obey_file(path: Path, node: NodeProcess) -> None:
    """Look until the file is gone. A shared disk that does not answer for a moment has not removed it."""
    while True:
        try:
            await asyncio.to_thread(path.stat)
        except FileNotFoundError:
            return node.channel_closed()
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
        if node.nobody_goes_on and node.order.job_id:
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
