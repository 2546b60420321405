"""The demo's simulation, with a tally of what was begun: one line for every event, whoever computes it, however often.

A line is short and written by one call to a file opened for appending, so lines of many processes never mix.
"""

import os
import time

from raythena.demo.simulation import process as simulate
from raythena.demo.simulation import setup

__all__ = ["process", "setup"]


def process(event_range, context):
    tally = os.open(os.environ["E2E_TALLY"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(tally, f"{time.time():.3f} {os.getpid()} {event_range.range_id}\n".encode())
    finally:
        os.close(tally)
    return simulate(event_range, context)
