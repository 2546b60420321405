"""How long a core is idle between two events when AthenaMP is fed directly, and what feeding costs.

    python benchmarks/athenamp_idle.py [--events N] [--cores N] [--event-s SECONDS]

AthenaMP is the stand-in of the tests (`tests/stand_ins`), whose workers note when each event begins and ends; its scatterer looks
for messages once a millisecond, as the real one does. Events sleep, so more workers than cores are no problem. The first event of
each worker is left out, and so are the last ones, after which there is nothing to give out.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "stand_ins" / "python"))

from athenamp_stand_in.content import write_evnt
from raythena.domain.ranges import EventRange
from raythena.payloads.athenamp import AthenaMPPayload
from raythena.payloads.latency import LatencySummary
from raythena.runtime.payload_interface import Done, LeasedRange, PayloadContext, Started

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Figures:
    """What was measured. Seconds."""

    wall_s: float
    agent_cpu_s: float
    gaps_s: list[float]
    """Idle time of a worker between the end of one event and the beginning of the next, as the worker saw it."""
    exit_s: float
    told: LatencySummary


async def drive(directory: Path, settings: argparse.Namespace) -> Figures:
    """Compute the events as an agent would: feed what the payload wants, remove what it gives."""
    evnt, times = directory / "EVNT.1.root", directory / "times"
    guid = write_evnt(evnt, range(1, settings.events + 1))
    command = [sys.executable, str(ROOT / "tests/stand_ins/bin/Sim_tf.py"), f"--inputEVNTFile={evnt}"]
    command += ["--outputHITSFile=HITS.root", "--eventService=True", "--CA"]
    plan = json.dumps({"event_s": settings.event_s, "spread": settings.spread, "times": str(times)})
    options = {"command": command, "environment": {"ATHENAMP_STAND_IN": plan}}
    payload = AthenaMPPayload()
    await payload.start(PayloadContext("n", settings.cores, directory / "scratch", options, "bench", directory / "logs"))
    fed = done = 0
    begin, cpu = time.perf_counter(), time.process_time()
    while done < settings.events:
        count = min(payload.appetite, settings.events - fed)
        numbers = range(fed + 1, fed + count + 1)
        payload.feed([LeasedRange(n, EventRange(f"E-{n}", "E", str(evnt), guid, n, n)) for n in numbers])
        fed += count
        outcomes = [outcome for outcome in await payload.poll(1.0) if not isinstance(outcome, Started)]
        for outcome in outcomes:
            if not isinstance(outcome, Done):
                raise SystemExit(f"an event came to grief: {outcome}")
            outcome.path.unlink()
        done += len(outcomes)
    wall_s, cpu_s = time.perf_counter() - begin, time.process_time() - cpu
    await payload.drain(60.0)
    told = payload.latency()
    await payload.stop()
    notes = [json.loads(line) for line in times.read_text(encoding="utf-8").splitlines()]
    return Figures(wall_s, cpu_s, gaps_of(notes, settings), told.exit_s or 0.0, told)


def gaps_of(notes: list[dict[str, float]], settings: argparse.Namespace) -> list[float]:
    """Idle times between two events of one worker, of events begun while there still were some to give out."""
    ended: dict[float, float] = {}
    found: dict[float, list[float]] = defaultdict(list)
    for note in sorted(notes, key=lambda note: note["at"]):
        if note["what"] == "end":
            ended[note["pid"]] = note["at"]
        elif note["what"] == "begin" and note["pid"] in ended and note["event"] <= settings.events - settings.cores:
            found[note["pid"]].append(note["at"] - ended.pop(note["pid"]))
    return [gap for gaps in found.values() for gap in gaps]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--events", type=int, default=60)
    parser.add_argument("--cores", type=int, default=2, help="workers of AthenaMP")
    parser.add_argument("--event-s", type=float, default=1.0)
    parser.add_argument("--spread", type=float, default=0.1, help="event times lie this fraction around the mean")
    settings = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as directory:
        figures = asyncio.run(drive(Path(directory), settings))
    gaps = sorted(figures.gaps_s)
    print(f"{settings.events} events of {settings.event_s:g} s, {settings.cores} workers; load {os.getloadavg()[0]:.1f}")
    print(f"idle between two events: median {1000 * statistics.median(gaps):.2f} ms, mean {1000 * statistics.mean(gaps):.2f} ms,")
    print(f"    99% below {1000 * gaps[int(0.99 * (len(gaps) - 1))]:.2f} ms, longest {1000 * gaps[-1]:.2f} ms ({len(gaps)} gaps)")
    print(f"agent: {100 * figures.agent_cpu_s / figures.wall_s:.2f}% of a core")
    print(f"as the node's log tells it: {figures.told.in_words()}")


if __name__ == "__main__":
    main()
