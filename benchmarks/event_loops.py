"""What ranges of many events and workers of many threads gain, in one run, with the C++ event loop of `examples/cpp/threads.cpp`.

    python benchmarks/event_loops.py [--events N] [--cores N]

Three comparisons, each a line:

    bare       events of 1 ms, in ranges of 1 and of 50, by as many workers as `--cores` says: what messages cost
    opening    the same where each range costs 10 ms before its first event, as opening and positioning an input file does
    threads    events of 200 ms by one worker of four threads with four ranges in flight: the share of the threads' time that is
               spent on events, from the first to the last

Events sleep, so the figures are those of the machinery and not of the machine; but the agent and the workers' own bookkeeping
need processor time, which is scarce on a small machine with many workers.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from raythena.domain.ranges import EventRange
from raythena.runtime.payload_interface import Done, Failed, LeasedRange, PayloadContext, payload_plugin

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Figures:
    """What one agent measured."""

    events: int
    wall_s: float
    occupancy: float

    @property
    def per_s(self) -> float:
        """Events in a second."""
        return self.events / self.wall_s


def built(directory: Path) -> str:
    """The example, compiled."""
    compiler = shutil.which("c++") or shutil.which("g++")
    if compiler is None:
        spec = importlib.util.find_spec("ziglang")
        if spec is None:
            raise SystemExit("needs a C++ compiler (Debian: apt-get install g++)")
    words = [compiler] if compiler else ["python", "-m", "ziglang", "c++"]
    program, include = directory / "threads", ROOT / "src" / "raythena" / "payloads" / "include"
    source = ROOT / "examples" / "cpp" / "threads.cpp"
    subprocess.run([*words, "-std=c++17", "-O2", f"-I{include}", source, "-o", program, "-pthread"], check=True)
    return str(program)


async def drive(options: dict[str, object], events: int, cores: int, directory: Path) -> Figures:
    """Pass `events` events through the payload, as an agent would."""
    payload = payload_plugin("process").factory()
    await payload.start(PayloadContext("bench", cores, directory / "scratch", options, "bench", directory / "logs"))
    await asyncio.sleep(1.0)  # workers come up meanwhile
    fed, done = 0, list[Done]()
    begin = time.perf_counter()
    try:
        while len(done) < events:
            count = min(payload.appetite, events - fed)
            if count:
                ranges = (EventRange(f"EVNT-{n}", "EVNT", "/EVNT", "guid", n, n) for n in range(fed + 1, fed + count + 1))
                payload.feed([LeasedRange(each.first_event, each) for each in ranges])
                fed += count
            for outcome in await payload.poll(1.0):
                if isinstance(outcome, Failed):
                    raise SystemExit(f"an event came to grief: {outcome}")
                if isinstance(outcome, Done):
                    done.append(outcome)
                    payload.collected([outcome.path])
    finally:
        wall_s = time.perf_counter() - begin
        await payload.stop()
    first, last = min(one.started_at for one in done), max(one.started_at + one.wall_s for one in done)
    return Figures(events, wall_s, sum(one.wall_s for one in done) / ((last - first) * cores))


def run(options: dict[str, object], events: int, cores: int) -> Figures:
    """One payload in a directory of its own."""
    with tempfile.TemporaryDirectory() as directory:
        return asyncio.run(drive(options, events, cores, Path(directory)))


def compare(name: str, command: list[str], events: int, cores: int) -> None:
    """Ranges of 1 against ranges of 50."""
    one = run({"command": command}, events, cores)
    many = run({"command": command, "events_per_range": 50}, events, cores)
    ratio = many.per_s / one.per_s
    print(f"{name:8} {cores} workers: {one.per_s:9,.0f} events/s in ranges of 1, {many.per_s:9,.0f} of 50: {ratio:.1f} times")


def main() -> None:
    """Run the comparisons."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--cores", type=int, default=16)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        program = built(Path(directory))
        compare("bare", [program, "--event-ms", "1"], given.events, given.cores)
        compare("opening", [program, "--event-ms", "1", "--range-ms", "10"], given.events, given.cores)
        shape = {"cores_per_worker": 4, "ranges_in_flight": 4}
        threads = run({"command": [program, "--event-ms", "200"], **shape}, 400, 4)
        print(f"threads  4 threads, 4 ranges in flight, events of 200 ms: {threads.occupancy:.1%} occupied")


if __name__ == "__main__":
    main()
