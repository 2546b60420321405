"""Events without physics (see `raythena.testing.synthetic`), with a tally of what was begun."""

from tally import note

from raythena.testing.synthetic import process as compute
from raythena.testing.synthetic import setup

__all__ = ["process", "setup"]


def process(event_range, context):
    note(event_range.range_id)
    return compute(event_range, context)
