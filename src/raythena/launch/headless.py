"""A Slurm job whose head node has died: it must not stay in the queue as running with nothing in it.

`--no-kill` keeps a job alive when a node dies, also when that is the node of the batch script. Nobody is left then who could end
the job, and the other nodes are paid for until the walltime is over. So each node process that has lost its Ray looks whether
Slurm, too, counts the head's node as down; if so it puts the job back in the queue, where that is not allowed it cancels it.

Several node processes do this at the same time. A job that is not running any more is left alone, so that nobody cancels what
another one has just put back. Whatever Slurm does not answer changes nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from raythena.launch.slurm_batch import BatchError, cancel_job, node_state, queued, requeue_job

logger = logging.getLogger(__name__)

_PATIENCE_S = 120.0
"""Slurm notices the death of a node after half a minute by default, at some sites later."""
_LOOK_S = 10.0
_SETTLE_S = 15.0


def end_headless_job(
    job_id: str,
    head_node: str,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Put the job back, or cancel it, if its head node is down; what was done, "" for nothing."""
    began = clock()
    while not _is_down(head_node):
        if clock() - began > _PATIENCE_S:
            return ""
        sleep(_LOOK_S)
    try:
        requeue_job(job_id)
    except BatchError as problem:
        logger.info("cannot put job %s back: %s", job_id, problem)
    else:
        return "put back in the queue"
    sleep(_SETTLE_S)
    return _cancel_if_running(job_id)


def _is_down(node: str) -> bool:
    try:
        return node_state(node).startswith("down")
    except BatchError:
        return False


def _cancel_if_running(job_id: str) -> str:
    try:
        job = queued([job_id]).get(job_id)
        if job is None or job.state != "RUNNING":
            return ""
        cancel_job(job_id)
    except BatchError:
        return ""
    return "cancelled"
