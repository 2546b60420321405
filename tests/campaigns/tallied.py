"""The demo's simulation, with a tally of what was computed: one line for every event, whoever computed it, however often."""

import os
import time
from pathlib import Path

from raythena.demo.simulation import process as simulate
from raythena.demo.simulation import setup

__all__ = ["process", "setup"]


def process(event_range, context):
    output = simulate(event_range, context)
    with Path(os.environ["E2E_TALLY"]).open("a") as tally:
        tally.write(f"{time.time():.3f} {event_range.range_id}\n")
    return output
