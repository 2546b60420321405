"""Joining a head that is up, and perhaps not ready yet.

The head's port answers before its nodes are registered, and on a busy machine that can be seconds. Ray gives up sooner than that,
with errors of three classes and no code; which of them mean *not yet* is told by their words. Every other error is final at once:
a wrong token does not become right.
"""

from __future__ import annotations

import time
from collections.abc import Callable

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


def join(
    address: str,
    attempt: Callable[[], object],
    give_up: Callable[[], object],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Make attempts until one succeeds; `give_up` clears away what a failed one has left. Raises ClusterError."""
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
        sleep(pause_s)
        pause_s = min(2 * pause_s, _LAST_PAUSE_S)


def means_not_yet(problem: Exception) -> bool:
    """Whether the same attempt may succeed a moment later."""
    text = str(problem).lower()
    return isinstance(problem, ConnectionError) or any(words in text for words in _NOT_YET)
