"""A clock that a test moves."""

import asyncio


class HandClock:
    """Stands still at 100 s (1,000,000,100 s since the epoch) until `now` is changed. Sleeping moves it on."""

    def __init__(self):
        self.now = 100.0

    def monotonic_s(self):
        return self.now

    def wall_s(self):
        return 1e9 + self.now

    async def sleep(self, seconds):
        self.now += seconds
        await asyncio.sleep(0)
