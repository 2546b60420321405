"""A cluster of several machines: Ray's head on this one, node processes on the others.

Common to all launchers that start something on other machines by a command. What they add is which machines there are, the
command, and what the batch system knows of the end.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence
from pathlib import Path

from raythena.domain.allocation import usable_cores
from raythena.domain.errors import InternalError
from raythena.launch.addresses import own_address
from raythena.launch.environment_archive import REMOVAL_LIMIT_S, checked
from raythena.launch.join_desk import JoinAnswer, JoinDesk
from raythena.launch.launcher import LaunchOrder, ray_session
from raythena.launch.node_probe import FactsRequest, facts
from raythena.launch.node_process import NodeOrder
from raythena.launch.private import BASE
from raythena.launch.ray_head import RayHead
from raythena.launch.remote_nodes import NodeSpec, RemoteNodes
from raythena.launch.start_checks import StartChecks
from raythena.runtime.driver import Session
from raythena.runtime.session_config import JoinedNodes, SessionConfig

_LOOPBACK = "127."
_MANY_CORES = 4
"""A head node with so many cores leaves one to the coordinator."""


def head_cores(order: LaunchOrder, given: int) -> int:
    """Cores for payloads on the head node; `given` is what the batch system gave us there, 0 if that is not known."""
    if order.head_cores is not None:
        return order.head_cores
    cores = order.cores or usable_cores(given, len(os.sched_getaffinity(0)))
    return cores - 1 if cores >= _MANY_CORES else cores


class ManyMachines:
    """This machine and others, at most `order.nodes` in all. `names` are how the others are known to the network."""

    joined_nodes: JoinedNodes | None = None
    keeps_scratch = True

    def __init__(
        self,
        order: LaunchOrder,
        given_cores: int,
        names: Sequence[str],
        specs: Sequence[NodeSpec],
        environ: dict[str, str],
        *,
        job_id: str = "",
        head_node: str = "",
    ) -> None:
        """`job_id`: a Slurm job that must not go on without `head_node`. Raises InvalidInput."""
        most = len(specs) if order.nodes is None else order.nodes - 1
        self._order = order
        self._environment_sha256 = checked(Path(order.environment)) if order.environment else ""
        self._head_cores = head_cores(order, given_cores)
        self._names = names[:most]
        self._specs = specs[:most]
        self._environ = environ
        self._job_id, self._head_node = job_id, head_node
        self._head: RayHead | None = None
        self._nodes: RemoteNodes | None = None
        self._look: asyncio.Task[None] | None = None
        self._join_desk: JoinDesk | None = None

    async def start(self) -> None:
        """Start the head here. Raises ClusterError, InvalidInput."""
        address = "127.0.0.1"
        if self._specs or self._order.interface:
            address = await asyncio.to_thread(own_address, self._order.interface, self._names)
        self._head = RayHead(
            address, self._head_cores, self._order.scratch_directory, self._order.ray_directory, encrypted=self._order.tls
        )
        await self._head.start()

    async def add_nodes(self) -> None:
        """Begin to start a node process on each other machine."""
        head = self._started_head()
        if self._order.session:
            place = Path(self._order.shared_directory)
            self._join_desk = JoinDesk(place, self._order.session, self._join_answer, head.private_directory, self._order.tell)
            self._join_desk.open()
        if not self._specs:
            return
        letters = None
        if any(spec.by_file for spec in self._specs):
            letters = head.private_directory(Path(self._order.shared_directory))
        checks = StartChecks(self._order.tell)
        self._nodes = RemoteNodes(
            self._specs,
            self._node_order,
            self._environ,
            self._order.policy,
            self._order.tell,
            letters=letters,
            checks=checks,
            stop_limit_s=REMOVAL_LIMIT_S if self._order.environment else None,
        )
        self._nodes.begin()
        self._look = asyncio.create_task(self._look_here(checks))

    async def _look_here(self, checks: StartChecks) -> None:
        order = self._order
        request = FactsRequest(
            node=self._head_node or socket.gethostname(),
            others=tuple(self._names),
            interface=order.interface,
            scratch=order.scratch_directory,
            socket_base=order.ray_directory or str(BASE),
            shared=order.shared_directory,
            measure=False,
        )
        checks.head_looked(await asyncio.to_thread(facts, request))

    def _join_answer(self) -> JoinAnswer:
        head = self._started_head()
        if head.address.startswith(_LOOPBACK):
            return JoinAnswer(refusal=f"the job runs on one node, which is known as {head.address}: give it launch.interface")
        return JoinAnswer(head=head.join_address, token=head.token_file.read_text(), authority=head.authority)

    def _started_head(self) -> RayHead:
        if self._head is None:
            raise InternalError("the head was not started")
        return self._head

    def _node_order(self, spec: NodeSpec, name: str) -> NodeOrder:
        head, order = self._started_head(), self._order
        token = head.token_file.read_text()
        return NodeOrder(
            name,
            head.join_address,
            token,
            cores=order.cores or spec.cores,
            interface=order.interface,
            scratch_directory=order.scratch_directory,
            ray_directory=order.ray_directory,
            job_id=self._job_id,
            head_node=self._head_node,
            continuation=order.continuation,
            rank=self._specs.index(spec),
            environment=order.environment and str(Path(order.environment).absolute()),
            environment_sha256=self._environment_sha256,
            authority=head.authority,
        )

    def failure(self) -> str:
        """Why the cluster cannot go on; "" while it can."""
        if self._head is not None and (problem := self._head.failure()):
            return problem
        if self._nodes is not None and self._head_cores == 0:
            return self._nodes.failure()
        return ""

    async def ends_at(self) -> float | None:
        """Nobody has told us."""
        return None

    def session(self, config: SessionConfig) -> Session:
        """What runs a session here."""
        return ray_session(config)

    async def stop(self) -> None:
        """End everything on all machines. Safe to call twice."""
        if self._look is not None:
            self._look.cancel()
        if self._join_desk is not None:
            await self._join_desk.close()
        if self._nodes is not None:
            await self._nodes.stop()
        if self._head is not None:
            await self._head.stop()
