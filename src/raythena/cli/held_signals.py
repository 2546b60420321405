"""Signals that come before a command can answer them: held back by the kernel, and delivered when it can.

`raythena harvest` takes a good second to load, and a batch system may end a job at any time. A process that has loaded nothing
but this has no words yet for PanDA; one that dies of the signal never says any. So the first thing it does is hold the signals,
and the last thing before it works is let them come.
"""

from __future__ import annotations

import signal

HELD = frozenset({signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP})


def hold_signals() -> None:
    """From now on SIGTERM, SIGUSR1 and SIGHUP wait. Programs started meanwhile inherit that: start none."""
    signal.pthread_sigmask(signal.SIG_BLOCK, HELD)


def let_signals_come() -> None:
    """What has waited is delivered, before this returns."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)
