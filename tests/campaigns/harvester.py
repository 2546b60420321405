"""The Harvester gateway through many made-up histories, with every race and fault switched on.

    python tests/campaigns/harvester.py [--seeds 200] [--first 0]

One seed is one job: the double gives ranges out and takes reports in, tears and delays files, forgets, restarts and loses; in
every second history the worker dies at random steps and starts again in the same access point. Every event must come out once,
and PanDA must have nothing to complain of. The clock is virtual; a history takes a fraction of a second. A seed that fails is run
again with `--seeds 1 --first SEED`. Ends with 1 if any failed.
"""

from __future__ import annotations

import argparse
import collections
import json
import logging
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from harvester_double import HarvesterDouble, PandaDouble, Races
from harvester_double.worker import Worker

DOCUMENT = json.loads((Path(__file__).parents[1] / "fixtures/harvester/events-HPCJobs.json").read_text())["5750099001"]
SHM = Path("/dev/shm")


def history(directory: Path, seed: int) -> tuple[HarvesterDouble, Worker]:
    """One job, to its end. Raises AssertionError when something came out wrong."""
    lfns, guids = (DOCUMENT[key].split(",") for key in ("inFiles", "GUID"))
    events = 5 + 7 * (seed % 6)
    panda = PandaDouble(DOCUMENT, [(lfn, guid, events) for lfn, guid in zip(lfns, guids, strict=True)])
    double = HarvesterDouble(directory / "point", panda, Races.all(), seed)
    double.submit(DOCUMENT)
    worker = Worker(directory / "point", double, seed, kills=0.03 if seed % 2 else 0.0)
    worker.run()
    double.worker_ended(0)
    assert not panda.complaints, panda.complaints
    assert all(event.finished <= 1 for event in panda.events), "an event came out twice"
    lost = [event for event in panda.unfinished() if event.attempt == 3 or event.state == "sent"]
    assert not lost, f"{len(lost)} events are lost"
    return double, worker


def main() -> int:
    """Run the histories; say what happened in them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    happened: collections.Counter[str] = collections.Counter()
    failed: list[int] = []
    began = time.monotonic()
    for seed in range(options.first, options.first + options.seeds):
        with tempfile.TemporaryDirectory(dir=SHM if SHM.is_dir() else None) as directory:
            try:
                double, worker = history(Path(directory), seed)
            except AssertionError as problem:
                failed.append(seed)
                print(f"seed {seed}: {problem}")
                continue
        happened.update(double.happened)
        happened["jobs"] += 1
        happened["events finished"] += sum(event.finished for event in double.panda.events)
        happened["lives of workers"] += worker.lives
        happened["seconds of virtual time"] += round(worker.now)
    for name, count in sorted(happened.items()):
        print(f"{count:>10,} {name}")
    print(
        f"{options.seeds - len(failed)} of {options.seeds} seeds in {time.monotonic() - began:.0f} s; failed: {failed or 'none'}"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
