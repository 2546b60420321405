"""The real `raythena harvest` through many made-up jobs, with every race and fault switched on.

    python tests/campaigns/harvester_command.py [--seeds 200] [--first 0] [--jobs 1]

One seed is one job, on a Ray cluster of its own with one node and one core: see `harvester_plays`. Nothing, or the power, a
SIGTERM, a payload's worker or an event fails, or the walltime is over; after a power cut or SIGTERM the command is started again
in the same access point, after the walltime nobody does.
Every event must come out once, every file must be what was said of it, and PanDA must have nothing to complain of. One line for
each seed; a seed that fails leaves its directory, and is run again with `--seeds 1 --first SEED`. Ends with 1 if any failed.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from harvester_plays import CpuMeter, Performance, Play


@dataclass
class Outcome:
    """What became of one seed."""

    play: Play
    problem: str = ""
    wall_s: float = 0.0
    stopped_s: float | None = None
    cpu_s: float = 0.0
    programs: Counter[str] = field(default_factory=Counter)
    happened: Counter[str] = field(default_factory=Counter)


def perform(seed: int) -> Outcome:
    """Play one seed, and say it in one line."""
    outcome = Outcome(Play.of(seed))
    directory = Path(tempfile.mkdtemp(prefix=f"harvest-{seed}-"))
    began = time.monotonic()
    performance = Performance(outcome.play, directory)
    try:
        with CpuMeter(performance.mark) as meter:
            performance.run()
    except Exception as problem:  # noqa: BLE001 (whatever it was: the other seeds go on, and this one has failed)
        outcome.problem = f"{type(problem).__name__}: {problem}"
    outcome.wall_s, outcome.cpu_s, outcome.programs = time.monotonic() - began, meter.total_s, meter.by_program()
    outcome.stopped_s = performance.stopped_s
    outcome.happened.update(performance.site.double.happened)
    if not outcome.problem:
        shutil.rmtree(directory, ignore_errors=True)
    verdict = f"FAILED, see {directory}\n{outcome.problem}" if outcome.problem else "ok"
    print(f"seed {seed:>4} {outcome.play} {outcome.wall_s:6.1f} s, {outcome.cpu_s:5.1f} CPU s: {verdict}", flush=True)
    return outcome


def main() -> int:
    """Run the seeds; say what happened in them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="seeds at the same time")
    options = parser.parse_args()
    began = time.monotonic()
    with ThreadPoolExecutor(options.jobs) as pool:
        outcomes = list(pool.map(perform, range(options.first, options.first + options.seeds)))
    summarise(outcomes, time.monotonic() - began)
    return 1 if any(outcome.problem for outcome in outcomes) else 0


def summarise(outcomes: list[Outcome], wall_s: float) -> None:
    """What was played, what Harvester did, where the processor time went."""
    count = max(1, len(outcomes))
    for title, counted in (
        ("faults", Counter(outcome.play.fault for outcome in outcomes)),
        ("races", sum((outcome.happened for outcome in outcomes), Counter[str]())),
    ):
        print(f"{title}: " + ", ".join(f"{number} {name}" for name, number in sorted(counted.items())))
    for merged_here, way in ((False, "ranges from PanDA"), (True, "merged on site")):
        stops = [one.stopped_s for one in outcomes if one.stopped_s is not None and one.play.merged_here is merged_here]
        if stops:
            print(f"from SIGTERM to the end, {way}: median {statistics.median(stops):.1f} s, longest {max(stops):.1f} s")
    programs = sum((outcome.programs for outcome in outcomes), Counter[str]())
    print(
        "processor seconds of a seed: " + ", ".join(f"{name} {seconds / count:.1f}" for name, seconds in programs.most_common())
    )
    failed = [outcome.play.seed for outcome in outcomes if outcome.problem]
    print(f"{len(outcomes) - len(failed)} of {len(outcomes)} seeds in {wall_s:.0f} s; failed: {failed or 'none'}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
