"""The demo's simulation, with a tally of what was begun."""

from tally import note

from raythena.demo.simulation import process as simulate
from raythena.demo.simulation import setup

__all__ = ["process", "setup"]


def process(event_range, context):
    note(event_range.range_id)
    return simulate(event_range, context)
