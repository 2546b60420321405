"""Joining a head that is up, and perhaps not ready yet.

The head's port answers before its nodes are registered, and on a busy machine that can be seconds. Ray gives up sooner than that,
with errors of three classes and no code; which of them mean *not yet* is told by their words. Every other error is final at once:
a wrong token does not become right.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from raythena.domain.errors import ClusterError

PATIENCE_S = 60.0
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.25, 5.0
_NOT_YET = (
    "connect to gcs",
    "failed to get node info",
    "no node info found",
    "timed out waiting for node info",
    "not found in nodeinfo",
    "may not have started successfully",
    "timed out during startup",
)
"""In Ray's words (its modules `services` and `node`), in lower case."""


_NEVER = threading.Event()
_Answer = TypeVar("_Answer")


async def ask_ray(question: Callable[[], _Answer], stopped: threading.Event | None = None) -> _Answer:
    """Do in a thread what waits for Ray.

    Whoever is cancelled meanwhile gives up only when the thread has ended: it must not meet Ray's shutdown. `stopped`, if given,
    is set then, so that it ends soon.
    """
    thread = asyncio.ensure_future(asyncio.to_thread(question))
    try:
        return await asyncio.shield(thread)
    except asyncio.CancelledError:
        if stopped is not None:
            stopped.set()
        await asyncio.wait([thread])
        if not thread.cancelled():
            thread.exception()  # nobody is left to hear of it
        raise


def join(
    address: str,
    attempt: Callable[[], object],
    give_up: Callable[[], object],
    clock: Callable[[], float] = time.monotonic,
    wait: Callable[[float], bool] = _NEVER.wait,
) -> None:
    """Make attempts until one succeeds; `give_up` clears away what a failed one has left.

    `wait` pauses for some seconds, and is true when no other attempt is to follow. Raises ClusterError.
    """
    began, pause_s = clock(), _FIRST_PAUSE_S
    while True:
        try:
            attempt()
            return
        except Exception as problem:  # Ray raises bare Exceptions here; what it was is in the error that follows
            give_up()
            waited_s = clock() - began
            if not means_not_yet(problem) or waited_s + pause_s > PATIENCE_S:
                raise ClusterError(f"cannot connect to Ray at {address} (after {waited_s:.0f} s): {problem}") from problem
        if wait(pause_s):
            raise ClusterError(f"stopped while connecting to Ray at {address}")
        pause_s = min(2 * pause_s, _LAST_PAUSE_S)


def means_not_yet(problem: Exception) -> bool:
    """Whether the same attempt may succeed a moment later."""
    text = str(problem).lower()
    return isinstance(problem, ConnectionError) or any(words in text for words in _NOT_YET)
