"""The nodes of a cluster that are other machines: a node process on each, started again when it makes sense.

How a process is started on a node is a command line (`srun`, `ssh`), made by the launcher. When to start and when to give up is
decided by `engine.node_starts`. A node is up when Ray lists it; one that Ray says is dead, or whose start takes too long, has its
process ended, which may not be possible for a while, and is not waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from raythena.engine.node_starts import NodePhase, NodeStarts, Retry, StartPolicy
from raythena.launch.joining import ask_ray
from raythena.launch.node_process import NodeOrder, heard
from raythena.launch.ray_head import RayNode, ray_nodes
from raythena.launch.start_checks import StartChecks

logger = logging.getLogger(__name__)

_LOOK_S = 0.5
_STOP_LIMIT_S = 10.0
"""A node process that was told to end and does not is cut off."""
_CUT_OFF_LIMIT_S = 3.0
_WORDS = 6
"""Lines of the starting command's own that are kept."""
_LONGEST = 300


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """One node, and the command that starts a node process there."""

    name: str
    argv: tuple[str, ...]
    cores: int = 0
    """To use there; 0: what the node process finds."""
    by_file: bool = False
    """The command does not pass standard input on: the order is a file, and the channel is open while it is there."""


@dataclass(slots=True, eq=False)
class _Start:
    """One start of one node."""

    name: str
    """Known to Ray by it."""
    began: float
    asked_at: float
    """The same on the wall clock."""
    process: asyncio.subprocess.Process | None = None
    task: asyncio.Task[None] | None = None
    ending: asyncio.Task[None] | None = None
    letter: Path | None = None
    reason: str = ""
    """Why it is being ended, or what it said itself."""
    words: deque[str] = field(default_factory=lambda: deque(maxlen=_WORDS))


class RemoteNodes:
    """Node processes on other machines. Use `begin`, and always `stop`. Belongs to one event loop."""

    def __init__(
        self,
        specs: Sequence[NodeSpec],
        order: Callable[[NodeSpec, str], NodeOrder],
        environ: Mapping[str, str],
        policy: StartPolicy,
        tell: Callable[[str], None],
        *,
        letters: Path | None = None,
        checks: StartChecks | None = None,
        asks_ray: bool = True,
        stop_limit_s: float | None = None,
    ) -> None:
        """`order` makes the order for a start of that name; `letters` is a private directory all nodes see.

        `asks_ray`: Ray says which nodes there are; otherwise what node processes say has to do. `stop_limit_s`: how long one may
        take to end, for those that have much to remove.
        """
        self._checks = checks
        self._asks_ray = asks_ray
        self._stop_limit_s = stop_limit_s or _STOP_LIMIT_S
        self._specs = {spec.name: spec for spec in specs}
        self._order = order
        self._environ = dict(environ)
        self._starts = NodeStarts(self._specs, policy, time.monotonic())
        self._tell = tell
        self._letters = letters
        self._now: dict[str, _Start] = {}
        self._counts = dict.fromkeys(self._specs, 0)
        self._watch: asyncio.Task[None] | None = None
        self._left: set[_Start] = set()
        """Starts that count as ended, whose processes have not."""
        self._stopping = False

    def begin(self) -> None:
        """Begin to start nodes, and go on until `stop`."""
        self._watch = asyncio.create_task(self._run())

    def failure(self) -> str:
        """Why no node will ever be there; "" as long as one may."""
        if self._watch is not None and self._watch.done() and not self._watch.cancelled():
            return f"a defect while nodes were started: {self._watch.exception()!r}"
        if not self._specs or not self._starts.hopeless:
            return ""
        reasons = self._starts.reasons()
        told = "; ".join(f"{name}: {reason}" for name, reason in list(reasons.items())[:3])
        return f"none of {len(reasons)} other nodes can be used: {told}"

    async def stop(self) -> None:
        """End all node processes at once; those that cannot be reached are left to their own rules."""
        self._stopping = True
        if self._watch is not None:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):  # what it failed with has been told by `failure`
                await self._watch
        starts = [*self._now.values(), *self._left]
        for start in starts:
            self._end(start, "")
        tasks = {task for start in starts for task in (start.task, start.ending) if task is not None}
        if tasks:
            await asyncio.wait(tasks, timeout=self._stop_limit_s + _CUT_OFF_LIMIT_S + 1.0)

    # ---- the watch

    async def _run(self) -> None:
        while True:
            now = time.monotonic()
            for name in self._starts.due(now):
                self._start(name, now)
            for name in self._starts.overdue(now):
                self._end(self._now[name], f"not up after {now - self._now[name].began:.0f} s")
            try:
                if self._asks_ray:
                    self._compare(await ask_ray(ray_nodes))
            except Exception as problem:  # noqa: BLE001 (Ray raises bare Exceptions; its head may be away for a moment)
                logger.warning("cannot list the nodes: %s", problem)
            await asyncio.sleep(_LOOK_S)

    def _compare(self, nodes: Sequence[RayNode]) -> None:
        alive = {node.name: node.alive for node in nodes}
        for name, start in list(self._now.items()):
            phase = self._starts.phase(name)
            if phase is NodePhase.STARTING and alive.get(start.name):
                self._came_up(name, start)
            elif alive.get(start.name) is False:
                self._lost(name, start)

    def _came_up(self, name: str, start: _Start) -> None:
        self._starts.came_up(name, time.monotonic())
        self._tell(f"node {name} is there after {time.monotonic() - start.began:.1f} s")

    def _lost(self, name: str, start: _Start) -> None:
        """Ray has given the node up. Its process may be out of reach for long, and a new one does not wait for its end."""
        self._end(start, "its Ray node is dead")
        self._ended(name, start, start.reason)
        self._left.add(start)

    # ---- one start

    def _start(self, name: str, now: float) -> None:
        self._counts[name] += 1
        start = _Start(f"{name}.{self._counts[name]}", now, time.time())
        self._now[name] = start
        start.task = asyncio.create_task(self._attend(name, start))

    async def _attend(self, name: str, start: _Start) -> None:
        """Be with a node process from its start to its end."""
        spec = self._specs[name]
        order = self._order(spec, start.name).line()
        try:
            process = await asyncio.create_subprocess_exec(
                *spec.argv,
                *self._address_letter(spec, start, order),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env=self._environ,
                start_new_session=True,  # Ctrl-C is for the command
            )
        except OSError as problem:
            self._ended(name, start, f"{spec.argv[0]} cannot be run: {problem.strerror}")
            return
        start.process = process
        if process.stdin is not None and start.letter is None:
            process.stdin.write(order)
        await self._listen(name, start, process)
        status = await process.wait()
        if start.ending is not None:
            await start.ending
        self._left.discard(start)
        words = " | ".join(start.words)
        self._ended(name, start, start.reason or f"{Path(spec.argv[0]).name} ended with {status}: {words}")

    def _address_letter(self, spec: NodeSpec, start: _Start, order: bytes) -> tuple[str, ...]:
        """Put the order into a file where it cannot go through standard input; the words that say so. Raises OSError."""
        if not spec.by_file or self._letters is None:
            return ()
        start.letter = self._letters / start.name
        start.letter.touch(mode=0o600, exist_ok=False)
        start.letter.write_bytes(order)
        return (f"--order={start.letter}",)

    async def _listen(self, name: str, start: _Start, process: asyncio.subprocess.Process) -> None:
        while process.stdout is not None and (line := await _line(process.stdout)):
            said = heard(line)
            if said is None:
                start.words.append(line.decode(errors="replace").strip()[:_LONGEST])
            elif said["say"] == "starting":
                logger.info("node %s: %s cores at %s, files in %s", start.name, said["cores"], said["address"], said["directory"])
            elif said["say"] == "up":
                if not self._asks_ray and self._now.get(name) is start and self._starts.phase(name) is NodePhase.STARTING:
                    self._came_up(name, start)
            elif said["say"] == "ended":
                start.reason = start.reason or str(said["reason"])
            elif said["say"] == "facts" and self._checks is not None:
                self._checks.node_looked(name, said["facts"], start.asked_at)

    def _ended(self, name: str, start: _Start, reason: str) -> None:
        if self._now.get(name) is start and not self._stopping:
            del self._now[name]
            match self._starts.ended(name, reason, time.monotonic()):
                case Retry(pause_s, failures, limit):
                    self._tell(f"node {name}: {reason}; again in {pause_s:.0f} s ({failures} of {limit})")
                case _:
                    self._tell(f"node {name} is set aside: {reason}")

    # ---- the end of a start

    def _end(self, start: _Start, reason: str) -> None:
        """Have a node process end; safe to repeat."""
        start.reason = start.reason or reason
        if start.ending is None:
            start.ending = asyncio.create_task(self._end_process(start))

    async def _end_process(self, start: _Start) -> None:
        """Close the channel, which is all a healthy node process needs; cut off what does not end by that."""
        process = start.process
        if start.letter is not None:
            with contextlib.suppress(OSError):  # the guard removes it in the end
                start.letter.unlink(missing_ok=True)
        if process is None:
            if start.task is not None:
                start.task.cancel()
            return
        if process.stdin is not None:
            process.stdin.close()
        for limit_s, signal_it in ((self._stop_limit_s, process.terminate), (_CUT_OFF_LIMIT_S, process.kill)):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), limit_s)
                return
            with contextlib.suppress(ProcessLookupError):
                signal_it()


async def _line(stream: asyncio.StreamReader) -> bytes:
    """The next line; one that is too long is thrown away. Empty at the end."""
    while True:
        try:
            return await stream.readline()
        except ValueError:  # the reader has dropped what it had
            continue
