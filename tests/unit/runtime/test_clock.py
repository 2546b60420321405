"""The two clocks, passed in as one value."""

import time

from raythena.runtime.clock import SYSTEM_CLOCK, Clock


def test_a_moment_of_the_monotonic_clock_has_a_wall_clock_time():
    clock = Clock(monotonic=lambda: 100.0, wall=lambda: 5000.0)
    assert clock.wall_of(90.0) == 4990.0


def test_the_system_clock_is_that_of_the_machine():
    assert abs(SYSTEM_CLOCK.wall_of(time.monotonic()) - time.time()) < 60
