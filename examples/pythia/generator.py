"""An event generator as a payload: Pythia 8, one event for each number.

`initialise` runs once on each node, before workers are forked, and so pays for Pythia's start once. `generate` begins each event
from the event's own seed: which worker generates it, and what that worker did before, makes no difference.
"""

import json

import pythia8mc


def initialise(options):
    """Pythia, ready to generate."""
    pythia = pythia8mc.Pythia("", False)
    for setting in ("Print:quiet = on", *options["settings"]):
        pythia.readString(setting)
    if not pythia.init():
        raise RuntimeError("Pythia cannot be initialised with these settings")
    return pythia


def generate(event_range, context):
    """One line of JSON: the collision in figures."""
    pythia = context.state
    pythia.rndm.init(event_range.seed)
    if not pythia.next():
        raise RuntimeError("Pythia gave this event up")
    info = pythia.infoPython()
    event = {
        "EventNumber": event_range.first_event,
        "seed": event_range.seed,
        "process": info.code(),
        "mass": round(info.mHat(), 6),
        "particles": pythia.event.nFinal(),
        "charged": pythia.event.nFinal(True),
    }
    return json.dumps(event).encode() + b"\n"
