"""The clocks of a process, passed in."""

import asyncio
import time
from types import SimpleNamespace

import pytest

from raythena.runtime.clock import SYSTEM_CLOCK, answer_within, wall_of
from raythena.testing.clocks import ManualClock


def test_a_moment_of_the_monotonic_clock_has_a_wall_clock_time():
    clock = SimpleNamespace(monotonic_s=lambda: 100.0, wall_s=lambda: 5000.0)
    assert wall_of(clock, 90.0) == 4990.0


def test_the_system_clock_is_that_of_the_machine():
    before = SYSTEM_CLOCK.monotonic_s()
    asyncio.run(SYSTEM_CLOCK.sleep(0.01))
    assert SYSTEM_CLOCK.monotonic_s() - before >= 0.009
    assert abs(wall_of(SYSTEM_CLOCK, time.monotonic()) - time.time()) < 60


async def never() -> None:
    await asyncio.get_running_loop().create_future()


def test_an_answer_is_waited_for_as_long_as_was_said_and_no_longer():
    async def ask() -> list[bool]:
        clock = ManualClock()
        in_time, too_late = (asyncio.create_task(answer_within(2.0, answer, clock)) for answer in (clock.sleep(1.9), never()))
        await clock.advance(1.99)
        assert in_time.done()
        assert not too_late.done()
        await clock.advance(0.01)
        return [await in_time, await too_late]

    assert asyncio.run(ask()) == [True, False]


def test_what_the_answer_raises_is_raised():
    async def refuse() -> None:
        raise ConnectionError("nobody there")

    with pytest.raises(ConnectionError):
        asyncio.run(answer_within(2.0, refuse(), SYSTEM_CLOCK))
