"""A node that leaves begins nothing it would not finish, and everything it would."""

import math

from hypothesis import given
from hypothesis import strategies as st

from raythena.engine.departure import Departure

SECONDS = st.floats(0.0, 1e6)


def test_whoever_stays_is_never_stopped():
    assert Departure().notice(1e12, 1e9) == ""
    assert math.isinf(Departure().at)


def test_an_event_of_mean_length_and_its_report_find_room():
    departure = Departure(1000.0, kept_s=15.0)
    assert departure.notice(900.0, 50.0) == ""
    assert "ends before" in departure.notice(911.0, 50.0)
    assert departure.notice(911.0, 1.0) == ""


@given(SECONDS, SECONDS, SECONDS, SECONDS)
def test_what_was_stopped_stays_so(at, now, later, mean_event_s):
    """The longer events are, the sooner; and never again once it has begun."""
    departure = Departure(at)
    if departure.notice(now, mean_event_s):
        assert departure.notice(now + later, mean_event_s)
        assert departure.notice(now, mean_event_s + later)
    else:
        assert now + mean_event_s < at
