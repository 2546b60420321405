"""Workers without processes: puppets on the other end of the pool's sockets, moved by tests."""

import asyncio
import contextlib
import json

from raythena.domain.ranges import EventRange
from raythena.payloads.workers.worker_pool import WorkerPool
from raythena.runtime.payload_interface import LeasedRange, PayloadContext, Started


class Puppet:
    """One worker, as the pool sees it: a connection and an exit status."""

    def __init__(self, spawn, on_exit, pid):
        self.spawn, self.pid, self._on_exit = spawn, pid, on_exit
        self.killed = False
        self.over = False

    async def connect(self, ready=True):
        self.reader, self.writer = await asyncio.open_unix_connection(str(self.spawn.socket))
        if ready:
            self.say(type="ready", version=1, pid=self.pid)
        return self

    def say(self, **fields):
        self.send(json.dumps(fields).encode() + b"\n")

    def send(self, data):
        self.writer.write(data)

    async def hear(self, timeout_s=2.0):
        return json.loads(await asyncio.wait_for(self.reader.readline(), timeout_s))

    async def hear_ranges(self, count):
        return [await self.hear() for _ in range(count)]

    def output(self, name="out", text="data"):
        path = self.spawn.scratch / name
        path.write_text(text)
        return path

    def done(self, token, path=None, **more):
        path = path or self.output(f"out-{token}")
        self.say(**{"type": "done", "range": token, "output": str(path), "cpu_s": 0, "wall_s": 0.001, "started_at": 1.0} | more)

    def exit(self, status=0):
        if not self.over:
            self.over = True
            with contextlib.suppress(AttributeError):
                self.writer.close()
            self._on_exit(status)


class Strings:
    """A spawner whose workers are puppets. `failures` are raised by the next spawns."""

    def __init__(self, obedient=True):
        self.born = asyncio.Queue()
        self.puppets = {}
        self.failures = []
        self.stopped = 0
        self.obedient = obedient

    async def start(self):
        pass

    async def spawn(self, spawn, on_exit):
        if self.failures:
            raise self.failures.pop(0)
        puppet = Puppet(spawn, on_exit, 1000 + len(self.puppets))
        self.puppets[puppet.pid] = puppet
        self.born.put_nowait(puppet)
        return puppet.pid

    def failed_start(self, spawn, how):
        return None

    def kill(self, pid):
        self.puppets[pid].killed = True
        asyncio.get_running_loop().call_soon(self.puppets[pid].exit, -9)

    async def stop(self):
        self.stopped += 1

    async def worker(self, ready=True):
        puppet = await asyncio.wait_for(self.born.get(), 60.0)
        return await puppet.connect(ready)


class Stage(WorkerPool):
    """A pool of puppets."""

    def __init__(self):
        super().__init__()
        self.strings = Strings()
        self.story = []
        self.starts = []

    def make_spawner(self, context):
        return self.strings

    def give(self, *indices):
        self.feed([LeasedRange(i, EventRange(f"r-{i}", "lfn", "/pfn", "guid", i, i)) for i in indices])

    async def take(self, count, timeout_s=8.0):
        """The next `count` outcomes other than Started; no more may be there."""
        found = []
        deadline = asyncio.get_running_loop().time() + timeout_s
        while len(found) < count:
            assert asyncio.get_running_loop().time() < deadline, f"only {found} of {count} outcomes"
            outcomes = await self.poll(0.1)
            self.starts += [outcome for outcome in outcomes if isinstance(outcome, Started)]
            found += [outcome for outcome in outcomes if not isinstance(outcome, Started)]
        assert len(found) == count, found
        self.story += found
        return found


@contextlib.asynccontextmanager
async def stage(directory, cores=1, **limits):
    pool = Stage()
    settings = {"min_time_limit_s": 5.0, "first_time_limit_s": 5.0} | limits
    await pool.start(PayloadContext("n", cores, directory / "scratch", {}, "job", directory / "logs", **settings))
    try:
        yield pool
    finally:
        await pool.stop()


def play(scene, directory, cores=1, **limits):
    """Run `scene(pool)`, a coroutine function, on a stage."""

    async def run():
        async with stage(directory, cores, **limits) as pool:
            await scene(pool)

    asyncio.run(run())
