"""A cheap payload on real ROOT files: reads its event from the input, writes one event's output as a file of its own.

Events of the inputs `held` are not done while the file `hold` exists, so that a test can stop a job where it wants to. The event
with the number `poison` always fails.
"""

import time
from functools import cache
from pathlib import Path

import numpy as np
import uproot


def setup(options):
    return options


@cache
def events_of(path):
    with uproot.open(path) as file:
        return file["EVNT"]["EventNumber"].array(library="np")


def process(event_range, context):
    held, hold = context.state["held"], Path(context.state["hold"])
    while event_range.lfn in held and hold.exists():
        time.sleep(0.05)
    number = int(events_of(event_range.pfn)[event_range.first_event - 1])
    if number == context.state.get("poison"):
        raise ValueError(f"event {number} is poisoned")
    output = context.new_output(".root")
    with uproot.recreate(output) as file:
        file.mktree("HITS", {"EventNumber": "int64", "Energy": "float64"})
        file["HITS"].extend({"EventNumber": np.array([number]), "Energy": np.array([energy(number)])})
    return output


def energy(number):
    """What the event's output must say: a number nobody guesses."""
    return float(np.sqrt(number) * 1.5)
