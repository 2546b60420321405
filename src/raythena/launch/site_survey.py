"""Asking all nodes what they are like, at the same time: what `raythena doctor` holds against what a job needs.

On each node runs a `node_probe`, started by a command line of the launcher's. The survey asks each for its facts, has each reach
the others, and takes a lock on one node to see whether the next is refused. A node that does not answer in time is told as such
and delays nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from raythena.domain.errors import ClusterError
from raythena.domain.site_facts import Link, LockTrial, NodeFacts, SiteFacts
from raythena.launch.launcher import NodeCommand
from raythena.launch.node_probe import MARK, NONCE_FILE

PROBE = (sys.executable, "-P", "-m", "raythena.launch.node_probe")
"""What runs on each node."""
_FACTS_LIMIT_S = 180.0
_ANSWER_LIMIT_S = 30.0
_END_LIMIT_S = 5.0
_LINE_BYTES = 1 << 22
_WORDS = 4
_MAX_LINKS_EACH = 8
"""Other nodes that each node tries to reach."""
_MAX_LOCK_PAIRS = 4


@dataclass(frozen=True, slots=True)
class SurveyOptions:
    """What is looked at."""

    shared: str = ""
    """A directory that all nodes should see; empty: none."""
    scratch: str = ""
    interface: str = ""
    thorough: bool = True
    """Also what takes seconds."""


@dataclass(slots=True)
class _Conversation:
    """A probe on one node."""

    spec: NodeCommand
    process: asyncio.subprocess.Process
    words: deque[str] = field(default_factory=lambda: deque(maxlen=_WORDS))

    async def ask(self, limit_s: float = _ANSWER_LIMIT_S, **request: object) -> dict[str, Any]:
        """The answer to one request. Raises ClusterError."""
        if self.process.stdin is None or self.process.stdout is None:
            raise ClusterError("the probe has no channel")
        try:
            with contextlib.suppress(OSError):  # it is gone: what it said, and how it ended, says more
                self.process.stdin.write(json.dumps(request).encode() + b"\n")
                await self.process.stdin.drain()
            async with asyncio.timeout(limit_s):
                while line := await self.process.stdout.readline():
                    text = line.decode(errors="replace")
                    if text.startswith(MARK):
                        answer: dict[str, Any] = json.loads(text.removeprefix(MARK))
                        return answer
                    self.words.append(text.strip()[:300])
        except TimeoutError:
            raise ClusterError(f"no answer in {limit_s:.0f} s{self._said()}") from None
        except (OSError, ValueError) as problem:
            raise ClusterError(f"{problem}{self._said()}") from problem
        raise ClusterError(f"{self.spec.argv[0]} ended with {await self.process.wait()}{self._said()}")

    def _said(self) -> str:
        return f": {' | '.join(self.words)}" if self.words else ""

    async def end(self) -> None:
        """Close the channel; kill what does not end by that."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.process.wait(), _END_LIMIT_S)
            return
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()


async def survey(specs: Sequence[NodeCommand], options: SurveyOptions, environ: Mapping[str, str]) -> SiteFacts:
    """Ask all nodes. `environ` is that of the commands that start the probes. Raises OSError if the shared directory refuses."""
    nonce = secrets.token_hex(8)
    with _nonce_file(options.shared, nonce) as lock_file:
        started = await asyncio.gather(*(_open(spec, environ) for spec in specs))
        there = [one for one in started if isinstance(one, _Conversation)]
        unreachable = {spec.name: one for spec, one in zip(specs, started, strict=True) if isinstance(one, str)}
        try:
            return await _converse(there, unreachable, options, nonce, lock_file)
        finally:
            await asyncio.gather(*(one.end() for one in there))


@contextlib.contextmanager
def _nonce_file(shared: str, nonce: str) -> Iterator[str]:
    """A file in the shared directory by which nodes know it again, and on which locks are tried."""
    if not shared:
        yield ""
        return
    path = Path(shared) / NONCE_FILE
    path.write_text(nonce)
    try:
        yield str(path)
    finally:
        path.unlink(missing_ok=True)


async def _open(spec: NodeCommand, environ: Mapping[str, str]) -> _Conversation | str:
    """Start a probe; a text says why it could not be."""
    try:
        process = await asyncio.create_subprocess_exec(
            *spec.argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=dict(environ),
            limit=_LINE_BYTES,
            start_new_session=True,
        )
    except OSError as problem:
        return f"{spec.argv[0]} cannot be run: {problem.strerror}"
    return _Conversation(spec, process)


async def _converse(
    there: list[_Conversation], unreachable: dict[str, str], options: SurveyOptions, nonce: str, lock_file: str
) -> SiteFacts:
    names = tuple(one.spec.name for one in there)
    found = await asyncio.gather(*(_facts(one, names, options, nonce) for one in there))
    nodes: dict[str, NodeFacts] = {}
    for one, said in zip(there, found, strict=True):
        if isinstance(said, NodeFacts):
            nodes[one.spec.name] = said
        else:
            unreachable[one.spec.name] = said
    alive = [one for one in there if one.spec.name in nodes]
    asked_at = {}
    for one in alive:
        nodes[one.spec.name], asked_at[one.spec.name] = await _clock(one, nodes[one.spec.name])
    links = await _links(alive, nodes) if options.thorough and len(alive) > 1 else ()
    locks = [await _lock(*pair, lock_file) for pair in _pairs(alive)] if options.thorough and lock_file else []
    return SiteFacts(
        nodes=tuple(nodes.values()), unreachable=unreachable, asked_at=asked_at, links=tuple(links), locks=tuple(locks)
    )


async def _facts(one: _Conversation, names: tuple[str, ...], options: SurveyOptions, nonce: str) -> NodeFacts | str:
    others = tuple(name for name in names if name != one.spec.name)[:_MAX_LINKS_EACH]
    try:
        answer = await one.ask(
            _FACTS_LIMIT_S,
            do="facts",
            node=one.spec.name,
            others=others,
            interface=options.interface,
            scratch=options.scratch,
            shared=options.shared,
            nonce=nonce,
            measure=options.thorough,
        )
        return msgspec.convert(answer["facts"], NodeFacts) if "facts" in answer else str(answer.get("problem"))
    except (ClusterError, msgspec.ValidationError) as problem:
        return str(problem)


async def _clock(one: _Conversation, facts: NodeFacts) -> tuple[NodeFacts, tuple[float, float]]:
    """The facts with what the clock shows, and between which moments here it was read."""
    before = time.time()
    with contextlib.suppress(ClusterError):
        answer = await one.ask(do="clock")
        return replace(facts, clock_s=float(answer["clock_s"])), (before, time.time())
    return facts, (facts.clock_s, facts.clock_s)


async def _links(alive: list[_Conversation], nodes: Mapping[str, NodeFacts]) -> list[Link]:
    """Each node reaches the next few."""
    ports: dict[str, int] = {}
    for one in alive:
        with contextlib.suppress(ClusterError):
            answer = await one.ask(do="listen", address=nodes[one.spec.name].chosen_address or "127.0.0.1")
            ports[one.spec.name] = int(answer.get("port", 0))
    tried = await asyncio.gather(*(_reach_next(position, alive, nodes, ports) for position in range(len(alive))))
    return [link for links in tried for link in links]


async def _reach_next(
    position: int, alive: list[_Conversation], nodes: Mapping[str, NodeFacts], ports: Mapping[str, int]
) -> list[Link]:
    one, links = alive[position], []
    for step in range(1, min(len(alive), _MAX_LINKS_EACH + 1)):
        target = alive[(position + step) % len(alive)].spec.name
        address = nodes[target].chosen_address
        try:
            answer = await one.ask(do="connect", address=address, port=ports.get(target, 0))
            problem = str(answer.get("problem", ""))
        except ClusterError as trouble:
            problem = str(trouble)
        links.append(Link(source=one.spec.name, target=target, address=address, problem=problem))
    return links


def _pairs(alive: list[_Conversation]) -> Iterator[tuple[_Conversation, _Conversation]]:
    """Neighbours, a few of them; two probes on one machine are a pair too."""
    for position in range(min(len(alive) - 1, _MAX_LOCK_PAIRS)):
        yield alive[position], alive[position + 1]


async def _lock(holder: _Conversation, other: _Conversation, path: str) -> LockTrial:
    """Hold a lock on one node and try it on another, before and after it is given back."""
    trial = LockTrial(holder=holder.spec.name, other=other.spec.name)
    try:
        first = await holder.ask(do="lock", path=path)
        if not first.get("granted"):
            return replace(trial, problem=str(first.get("problem") or "a lock on a new file is refused"))
        during = await other.ask(do="lock", path=path)
        await other.ask(do="unlock")
        await holder.ask(do="unlock")
        after = await other.ask(do="lock", path=path)
        await other.ask(do="unlock")
    except ClusterError as problem:
        return replace(trial, problem=str(problem))
    return replace(
        trial,
        refused_while_held=during.get("granted") is False,
        granted_after_release=bool(after.get("granted")),
        problem=str(during.get("problem") or after.get("problem") or ""),
    )
