"""The clocks of a process, passed in."""

import asyncio
import time
from types import SimpleNamespace

from raythena.runtime.clock import SYSTEM_CLOCK, wall_of


def test_a_moment_of_the_monotonic_clock_has_a_wall_clock_time():
    clock = SimpleNamespace(monotonic_s=lambda: 100.0, wall_s=lambda: 5000.0)
    assert wall_of(clock, 90.0) == 4990.0


def test_the_system_clock_is_that_of_the_machine():
    before = SYSTEM_CLOCK.monotonic_s()
    asyncio.run(SYSTEM_CLOCK.sleep(0.01))
    assert SYSTEM_CLOCK.monotonic_s() - before >= 0.009
    assert abs(wall_of(SYSTEM_CLOCK, time.monotonic()) - time.time()) < 60
