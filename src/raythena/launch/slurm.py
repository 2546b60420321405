"""Every node of a Slurm allocation: the head where the batch script runs, a step of its own for each other node.

Steps are independent of each other, because one `srun` for all nodes gives up all when one cannot be started. They overlap with
whatever else runs in the job, and take all cores of their node without being bound to any. What `sbatch` has put in the
environment for steps (tasks per node, memory, distribution) is for steps of the user's, and is not inherited.

Slurm may not know for half a minute that a node is dead, and takes a dead node out of the job for good once it does. So nothing
here waits for Slurm: it is asked for the time that is left, once, and its errors change nothing.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from collections.abc import Mapping

from raythena.domain.allocation import AllocatedNode, Allocation, parse_time_left, slurm_allocation
from raythena.domain.errors import InvalidInput
from raythena.launch.launcher import LauncherPlugin, LaunchOrder, NodeCommand
from raythena.launch.many_machines import ManyMachines
from raythena.launch.remote_nodes import NodeSpec

_ASK_LIMIT_S = 30.0
_KEPT = ("SLURM_CONF", "SLURM_JOB_ID", "SLURM_JOBID", "SLURM_CLUSTER_NAME", "SLURM_WORKING_CLUSTER")
_KEPT_PARTS = ("SLURM_HET_SIZE", "_HET_GROUP_")
_STEP = (
    "srun",
    "--nodes=1",
    "--ntasks=1",
    "--overlap",
    "--cpu-bind=none",
    "--no-kill",
    "--kill-on-bad-exit=0",
    "--wait=0",
    "--mpi=none",
    "--input=0",
)
NODE_PROCESS = (sys.executable, "-P", "-m", "raythena.launch.node_process")
"""The command that starts a node process."""


def step_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for `srun`: this one, without what tells steps how to be made."""

    def is_kept(name: str) -> bool:
        ours = name in _KEPT or any(part in name for part in _KEPT_PARTS)
        return ours or not name.startswith(("SLURM_", "SLURMD_", "SRUN_", "SBATCH_", "SALLOC_"))

    return {name: value for name, value in environ.items() if is_kept(name)}


def step(node: AllocatedNode, options: tuple[str, ...] = (), program: tuple[str, ...] = NODE_PROCESS) -> NodeSpec:
    """The command that starts a program on a node; `options` win over ours."""
    part = () if node.part is None else (f"--het-group={node.part}",)
    return NodeSpec(node.name, (*_STEP, *part, f"--nodelist={node.name}", *options, *program))


class SlurmCluster(ManyMachines):
    """The nodes of the allocation this process is in, at most `order.nodes` of them, this one included."""

    def __init__(self, order: LaunchOrder) -> None:
        self._allocation, here = _allocation(order.environ)
        self._tell = order.tell
        others = [node for node in self._allocation.nodes if node.name != here.name]
        specs = [step(node, order.step_options) for node in others]
        names = [node.name for node in others]
        job_id = self._allocation.job_id
        super().__init__(order, here.cores, names, specs, step_environment(os.environ), job_id=job_id, head_node=here.name)

    async def ends_at(self) -> float | None:
        """The end of the allocation, as the environment or else `squeue` has it."""
        if self._allocation.ends_at is not None:
            return self._allocation.ends_at
        try:
            left_s = parse_time_left(await _ask("squeue", "--noheader", f"--jobs={self._allocation.job_id}", "--format=%L"))
        except (OSError, InvalidInput) as problem:
            self._tell(f"the end of the allocation is not known: {problem}")
            return None
        return None if left_s is None else time.time() + left_s


async def _ask(*argv: str) -> str:
    """What a command of Slurm's prints. Raises OSError, TimeoutError among them."""
    process = await asyncio.create_subprocess_exec(
        *argv, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        out, complaint = await asyncio.wait_for(process.communicate(), _ASK_LIMIT_S)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise TimeoutError(f"{argv[0]} did not answer in {_ASK_LIMIT_S:.0f} s") from None
    if process.returncode:
        raise OSError(f"{argv[0]} ended with {process.returncode}: {complaint.decode(errors='replace').strip()}")
    return out.decode(errors="replace")


def _allocation(environ: Mapping[str, str]) -> tuple[Allocation, AllocatedNode]:
    """The allocation and this node in it. Raises InvalidInput."""
    allocation = slurm_allocation(environ)
    if allocation is None:
        raise InvalidInput(
            "--on", "slurm", "this is no Slurm job", expected="SLURM_JOB_ID", hint="Submit a batch script that runs this command"
        )
    name = environ.get("SLURMD_NODENAME") or socket.gethostname()
    here = allocation.named(name)
    if here is None:
        raise InvalidInput(
            "--on",
            "slurm",
            f"{name} is no node of job {allocation.job_id}",
            expected="one of its nodes",
            hint="Below salloc: srun --overlap --nodes=1 --ntasks=1 --pty raythena run ...",
        )
    return allocation, here


def _words(order: LaunchOrder) -> str:
    allocation, _ = _allocation(order.environ)
    return f"{min(len(allocation.nodes), order.nodes or len(allocation.nodes))} nodes of Slurm job {allocation.job_id}"


def _commands(order: LaunchOrder, program: tuple[str, ...]) -> list[NodeCommand]:
    """The program itself here, and as a step on each other node."""
    allocation, here = _allocation(order.environ)
    others = [node for node in allocation.nodes if node.name != here.name]
    kept = others if order.nodes is None else others[: order.nodes - 1]
    steps = (step(node, order.step_options, program) for node in kept)
    return [NodeCommand(here.name, program), *(NodeCommand(spec.name, spec.argv) for spec in steps)]


def _is_here(environ: Mapping[str, str]) -> bool:
    return bool(environ.get("SLURM_JOB_ID"))


PLUGIN = LauncherPlugin("slurm", _is_here, SlurmCluster, _words, _commands)
