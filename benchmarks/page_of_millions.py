"""How the page and the report bear many ranges and many nodes: the first look, questions, memory.

python benchmarks/page_of_millions.py [EVENTS] [NODES]

A ledger of a finished job (default: ten million events on 2,000 nodes of 64 cores) is made, then read as the page reads it. With
at most a million events, a report is written too.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from raythena.domain.job import InputFile, Job, MergeSpec, PayloadSpec
from raythena.domain.records import GroupStored
from raythena.domain.results import ENTRY_DTYPE, GroupReport
from raythena.monitor.task_watch import TaskWatch
from raythena.storage.ledger import Ledger, SessionInfo
from raythena.storage.range_records import RangeQuery
from raythena.storage.taskdir import TaskDirectory

PER_FILE, PER_GROUP, GROUPS_IN_COMMIT = 1000, 50, 2000
BEGAN = 1.7e9
_SEED = 5


def make_task(root: Path, events: int, nodes: int) -> TaskDirectory:
    """A job of which every event is stored; a group holds 50 of them."""
    task = TaskDirectory(root)
    task.logs.mkdir(parents=True)
    inputs = tuple(InputFile(f"EVNT.{n:06d}.root", f"/data/EVNT.{n:06d}.root", PER_FILE) for n in range(events // PER_FILE))
    outputs = tuple(file.lfn.replace("EVNT", "HITS") for file in inputs)
    job = Job("many", inputs, outputs, PayloadSpec("process"), MergeSpec(), PER_FILE)
    task.job.write_text(json.dumps(job.to_dict()))
    ledger = Ledger.create(task.ledger, job)
    ledger.begin_session(SessionInfo("s1", "host", 1, BEGAN))
    groups = list(range(events // PER_GROUP))
    dice = np.random.default_rng(_SEED)
    for first in range(0, len(groups), GROUPS_IN_COMMIT):
        ledger.commit([GroupStored(_group(number, nodes, len(groups), dice)) for number in groups[first:][:GROUPS_IN_COMMIT]])
    ledger.close()
    return task


def _group(number: int, nodes: int, groups: int, dice: np.random.Generator) -> GroupReport:
    entries = np.zeros(PER_GROUP, dtype=ENTRY_DTYPE)
    entries["range"] = np.arange(number * PER_GROUP, (number + 1) * PER_GROUP)
    entries["size"], entries["attempt"] = dice.integers(500_000, 1_500_000, PER_GROUP), 1
    entries["wall_s"] = dice.lognormal(3.0, 0.4, PER_GROUP)
    entries["cpu_s"] = entries["wall_s"] * 0.98
    entries["start"] = BEGAN + 60 + 3600 * number / groups + dice.uniform(0, 300, PER_GROUP)
    name = f"g{number}"
    return GroupReport(name, f"nid{number % nodes:05d}.1", number * PER_GROUP // PER_FILE, name, 1, 1, entries)


def timed(name: str, work: Callable[[], object]) -> None:
    """Do it, and print what it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    took = f"{1000 * (time.perf_counter() - wall):9.0f} ms {1000 * (time.process_time() - cpu):9.0f} ms of CPU"
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(f"{name:42} {took}, peak {peak_mb:,.0f} MB", flush=True)


def questions() -> Iterator[tuple[str, RangeQuery]]:
    """What people ask of the table."""
    plain = RangeQuery()
    yield "ranges: the first page", plain
    yield "ranges: a state", replace(plain, states=frozenset({"stored"}))
    yield "ranges: a node", replace(plain, node="nid00017")
    yield "ranges: a file", replace(plain, lfn="EVNT.000042")
    for order in ("wall_s", "size", "start", "node"):
        yield f"ranges: a new order by {order}", replace(plain, sort=order, descending=True)
    yield "ranges: an order of some", replace(plain, node="nid0001", sort="wall_s", descending=True)


def main(events: int, nodes: int) -> None:
    """Print all figures."""
    with tempfile.TemporaryDirectory() as place:
        task = make_task(Path(place) / "many.raythena", events, nodes)
        print(f"{events:,} events on {nodes:,} nodes, a ledger of {task.ledger.stat().st_size / 1e6:,.0f} MB", flush=True)
        watch = TaskWatch(task, time.monotonic, time.time)
        timed("the header, before anything is read", watch.header)
        timed("the first look at the ledger", watch.look)
        for name in ("overview", "occupancy", "nodes", "failures"):
            timed(name, getattr(watch, name))
        for name, query in questions():
            timed(name, lambda query=query: watch.ranges(query, 0, 100))
        timed("ranges: the last page of an order", lambda: watch.ranges(RangeQuery(sort="wall_s"), events - 100, 100))
        if events <= 1_000_000:
            from raythena.cli.report_files import write_html
            from raythena.monitor.task_reading import read_reported

            path = Path(sys.argv[3]) if len(sys.argv) > 3 else Path(place) / "report.html"
            timed("the report", lambda: write_html(path, read_reported(task), None, events))
            print(f"the report has {path.stat().st_size / 1e6:,.1f} MB")


if __name__ == "__main__":
    given = [int(one) for one in sys.argv[1:3]]
    main(*(given + [10_000_000, 2_000][len(given) :]))
