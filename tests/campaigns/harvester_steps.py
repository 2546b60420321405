"""The end of the batch job at every step of a worker with on-site merging, in every way Slurm may call it.

    python tests/campaigns/harvester_steps.py [--every 7]

For each plan (mapType, what the task lets be missing, events per output, how far the job gets) the worker lives once, and before
every single change it makes to a directory the question is put: what would PanDA make of the job if the batch job were over now,
TIMEOUT, PREEMPTED, FAILED, NODE_FAIL, or COMPLETED by a script that hides the exit code? Then it lives again, killed at every
`--every`-th step and started again in the same access point, with the same question at each step of the second life. No input may
be taken for done of which an output is missing, no output may be registered whose inputs are given to another job, and what is
registered must be what was staged. Ends with 1 if anything of that went wrong.

With OneToMany and outputs that may be missing nobody can be told anything: such jobs are refused, and the campaign looks at how
they end; taken all the same (`--allow-event-loss`), the loss is counted.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from harvester_double.on_site import Plan, Verdict, every_step, killed_and_started_again
from raythena.gateways.harvester.harvester_config import MapType

SHM = Path("/dev/shm")
PLANS = [
    Plan(map_type, allowed, per_output, merged)
    for map_type, allowed, (per_output, merged) in itertools.product(
        MapType, ("nothing", "outputs", "log"), ((20, 40), (20, 20), (20, 0), (5, 40), (5, 15), (5, 0))
    )
]


def refused(plan: Plan) -> bool:
    """Whether a worker does not take such a job."""
    return plan.map_type is MapType.ONE_TO_MANY and plan.allowed != "nothing" and not plan.allow_event_loss


def once(plan: Plan, tally: Counter[str]) -> list[Verdict]:
    """Asked at every step of one life."""
    with tempfile.TemporaryDirectory(dir=SHM if SHM.is_dir() else None) as directory:
        found, _ = every_step(Path(directory), plan)
    if refused(plan):
        tally["jobs refused"] += 1
        return found[-1:]
    return _counted(found, tally)


def twice(plan: Plan, kill_at: int, tally: Counter[str]) -> tuple[bool, list[Verdict]]:
    """Killed, started again, asked at every step."""
    with tempfile.TemporaryDirectory(dir=SHM if SHM.is_dir() else None) as directory:
        more, found = killed_and_started_again(Path(directory), plan, kill_at)
    tally["workers killed and started again"] += more
    return more, _counted(found, tally)


def _counted(found: list[Verdict], tally: Counter[str]) -> list[Verdict]:
    tally["ends"] += len(found)
    tally["ends before the worker's first word"] += sum(each.silent for each in found)
    return [each for each in found if not each.silent]


def main() -> int:
    """Every plan; say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=7, help="kill and start again at every so many steps; 0: never")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    tally: Counter[str] = Counter()
    began, failures = time.monotonic(), 0
    for plan in PLANS:
        found = once(plan, tally)
        kill_at, more = 0, bool(options.every) and not refused(plan)
        while more:
            more, after = twice(plan, kill_at, tally)
            found += after
            kill_at += options.every
        wrong = [each for each in found if each.wrong]
        failures += len(wrong)
        print(f"{plan}: {len(found)} ends, {len(wrong)} wrong", flush=True)
        for each in wrong[:5]:
            print(f"    {each}")
    for plan in [replace(plan, allow_event_loss=True) for plan in PLANS if refused(plan)]:
        found = once(plan, Counter())
        print(f"{plan}: {sum(bool(each.lost) for each in found)} of {len(found)} ends lose events")
    for name, count in sorted(tally.items()):
        print(f"{count:>8,} {name}")
    print(f"{failures} ends went wrong; {time.monotonic() - began:.0f} s")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
