"""Nodes of another allocation, added to a job that runs: what `raythena join` does.

The job's head is asked through the task directory (`storage.join_requests`), and answers with its address and the session's
secret. Then a node process is started on each node here, as the head starts them on its own. When the session is over, the answer
is gone and the nodes leave; when another head has taken its place meanwhile, they join that one. When this allocation comes to
its end they begin nothing more in time, and are gone with it: for the job that is a node that was lost with nothing on it.

These nodes never become the head: what they are part of ends before, or elsewhere.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from raythena.domain.allocation import slurm_allocation
from raythena.domain.errors import ClusterError, InvalidInput, StorageError
from raythena.launch.environment_archive import REMOVAL_LIMIT_S, checked
from raythena.launch.join_desk import LOOK_S, JoinAnswer
from raythena.launch.launcher import LauncherPlugin, LaunchOrder
from raythena.launch.node_process import NodeOrder
from raythena.launch.remote_nodes import NodeSpec, RemoteNodes
from raythena.launch.slurm import NODE_PROCESS, step, step_environment
from raythena.storage.join_requests import JoinRequest, JoinRequests
from raythena.storage.task_lease import SILENCE_S, Holder
from raythena.storage.taskdir import TaskDirectory

ANSWER_LIMIT_S = 60.0
_LAST_S = 10.0
"""Before the end of the allocation, for the end of everything here."""
_PATIENCE_S = 3 * SILENCE_S
"""For a head that took the place of a dead one."""


def specs_here(plugin: LauncherPlugin, order: LaunchOrder) -> list[NodeSpec]:
    """A node process on each node we are given, this one included. Raises InvalidInput."""
    allocation = slurm_allocation(order.environ)
    if plugin.name == "slurm" and allocation is not None:
        return [step(node, order.step_options) for node in allocation.nodes[: order.nodes]]
    if not order.remote_stdin:
        raise InvalidInput("launch.remote_stdin", "", "is false", expected="true: `raythena join` sends its orders that way")
    if plugin.commands is None:
        raise InvalidInput("--on", "", f"{plugin.name!r} cannot start anything on its nodes", expected="slurm, ssh or local")
    return [NodeSpec(command.name, command.argv) for command in plugin.commands(order, NODE_PROCESS)]


class AddedNodes:
    """The nodes of this allocation as part of a job. Use `run`; `end` ends it from a signal handler."""

    def __init__(
        self,
        task: TaskDirectory,
        specs: Sequence[NodeSpec],
        order: LaunchOrder,
        ends_at: float | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._task = task
        self._specs = specs
        self._order = order
        self._leaves_at = None if ends_at is None else ends_at - _LAST_S
        self._clock = clock
        self._requests = JoinRequests(task.root)
        self._environment_sha256 = checked(Path(order.environment)) if order.environment else ""
        self._told = asyncio.Event()

    def end(self) -> None:
        """Leave the job."""
        self._told.set()

    async def run(self) -> str:
        """Be part of the job for as long as it goes on here; why that is over. Raises ClusterError, StorageError."""
        last, since = "", self._clock()
        while not self._is_over:
            session = await asyncio.to_thread(self.session)
            if not session:
                return "the job is over" if last else "nobody is at work on this task"
            if session != last:
                last, since = session, self._clock()
                await self._be_part_of(session)
                continue
            if self._clock() - since > _PATIENCE_S:
                return f"session {session} does not go on"
            await self._pause()
        return "told to leave" if self._told.is_set() else "the end of this allocation is near"

    @property
    def _is_over(self) -> bool:
        return self._told.is_set() or (self._leaves_at is not None and time.time() >= self._leaves_at)

    def session(self) -> str:
        """The session at work on the task, "" when there is none. Raises StorageError."""
        try:
            holder = Holder.read(self._task.lease)
        except OSError as problem:
            raise StorageError(f"cannot read {self._task.lease}: {problem.strerror or problem}") from problem
        return "" if holder is None else holder.session

    async def _be_part_of(self, session: str) -> None:
        """Join a session, and stay until it is over. Raises ClusterError, StorageError."""
        who = f"{len(self._specs)} nodes of {self._order.environ.get('SLURM_JOB_ID') or socket.gethostname()}"
        name = await asyncio.to_thread(self._requests.ask, JoinRequest(session=session, who=who))
        try:
            path = await self._answered(name, session)
            if path is not None:
                await self._work(path, _read(path), name, session)
        finally:
            self._requests.withdraw(name)

    async def _answered(self, name: str, session: str) -> Path | None:
        """Where the answer is; None when the session is over before. Raises ClusterError."""
        began = self._clock()
        while not self._is_over and await asyncio.to_thread(self.session) == session:
            path = await asyncio.to_thread(self._requests.answer, name)
            if path is not None:
                return path
            if self._clock() - began > ANSWER_LIMIT_S:
                raise ClusterError(f"session {session} does not answer: its command runs on one machine only, or is gone")
            await self._pause()
        return None

    async def _work(self, path: Path, answer: JoinAnswer, name: str, session: str) -> None:
        """Have the nodes here for as long as the session goes on. Raises ClusterError, StorageError."""
        if answer.refusal:
            raise ClusterError(answer.refusal)

        def order(spec: NodeSpec, start: str) -> NodeOrder:
            cores = self._order.cores or spec.cores
            return replace(self._node_order(answer), name=f"{start}+{name[:6]}", cores=cores)

        policy, environ = self._order.policy, step_environment(os.environ)
        limit_s = REMOVAL_LIMIT_S if self._order.environment else None
        nodes = RemoteNodes(self._specs, order, environ, policy, self._order.tell, asks_ray=False, stop_limit_s=limit_s)
        nodes.begin()
        try:
            while await self._goes_on(path, session):
                if problem := nodes.failure():
                    raise ClusterError(problem)
                await self._pause()
        finally:
            await nodes.stop()

    async def _goes_on(self, answer: Path, session: str) -> bool:
        """Whether the session still is the one at work, and wants us. Raises StorageError."""
        if self._is_over or not await asyncio.to_thread(answer.exists):
            return False
        return await asyncio.to_thread(self.session) == session

    def _node_order(self, answer: JoinAnswer) -> NodeOrder:
        order = self._order
        return NodeOrder(
            "",
            answer.head,
            answer.token,
            cores=0,
            interface=order.interface,
            scratch_directory=order.scratch_directory,
            job_id="",
            head_node="",
            ray_directory=order.ray_directory,
            ends_at=self._leaves_at or 0.0,
            environment=order.environment and str(Path(order.environment).absolute()),
            environment_sha256=self._environment_sha256,
            authority=answer.authority,
        )

    async def _pause(self) -> None:
        try:
            await asyncio.wait_for(self._told.wait(), LOOK_S)
        except TimeoutError:
            return


def _read(path: Path) -> JoinAnswer:
    """Raises ClusterError."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=JoinAnswer)
    except (OSError, msgspec.MsgspecError) as problem:
        raise ClusterError(f"the answer {path} cannot be read: {problem}") from problem
