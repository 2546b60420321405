"""What an event range costs in bookkeeping: build, hand out, commit durably, restart; seconds and memory, by number of ranges.

No Ray, no payload: the real engine and the real ledger, driven as the coordinator drives them. Every figure is taken in a
process of its own and is the median of several. The baseline, measured in the same run, keeps one Python object per range and
rewrites its whole state as JSON, which is how such bookkeeping is usually begun.

    python benchmarks/bookkeeping.py [--ranges 10000 100000 1000000 5000000] [--repeat 3] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from raythena.domain.job import InputFile, Job, MergeSpec, PayloadSpec
from raythena.domain.results import ENTRY_DTYPE, GroupReport
from raythena.engine import commands as do
from raythena.engine import events as ev
from raythena.engine.engine import Engine
from raythena.engine.engine_config import EngineConfig
from raythena.storage.ledger import Ledger, SessionInfo

MODES = {"1→N": (5000, 1000), "N→1": (500, 1000)}
"""Events per input file, events per output file."""
NODES = 100
LEASE = 128
MESSAGES_PER_COMMIT = 100
BASELINE_LIMIT = 1_000_000
"""The baseline is not measured above this: it would need more memory than a laptop has."""


def job_of(ranges: int, mode: str) -> Job:
    """A job of about `ranges` events."""
    per_input, per_output = MODES[mode]
    inputs = tuple(InputFile(f"EVNT.{n:06d}", f"/in/EVNT.{n:06d}", per_input) for n in range(max(1, ranges // per_input)))
    events = len(inputs) * per_input
    outputs = tuple(f"HITS.{n:06d}" for n in range(-(-events // per_output)))
    return Job("bench", inputs, outputs, PayloadSpec("python"), MergeSpec(), per_output)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds, and what the work returned."""
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def measure(ranges: int, mode: str, per_message: int) -> dict[str, float]:
    """One run of ours."""
    job = job_of(ranges, mode)
    config = EngineConfig(max_lease=LEASE, buffer_s=1e9, first_lease_per_core=LEASE)
    with tempfile.TemporaryDirectory(dir=os.environ.get("RAYTHENA_BENCH_DIR")) as directory:
        path = Path(directory) / "ledger.sqlite"
        figures = first_life(path, job, config, per_message)
        restart_s, again = timed(lambda: restart(path, job, config))
        if again.resumed != again.outputs.n_ranges:
            raise SystemExit(f"restart found {again.resumed} of {again.outputs.n_ranges} ranges")
    return {**figures, "restart_s": restart_s}


def first_life(path: Path, job: Job, config: EngineConfig, per_message: int) -> dict[str, float]:
    """A coordinator that sees every range finished."""
    build_s, engine = timed(lambda: Engine(job, None, config))
    for node in range(NODES):
        engine.step(ev.NodeJoined(node=f"n{node}", cores=1), 0.0)
    hand_out_s, leases = timed(lambda: hand_out(engine))
    groups = group_reports(engine, leases, per_message)
    ledger = Ledger.create(path, job)
    ledger.begin_session(SessionInfo("bench", "here", os.getpid(), time.time()))
    process_s, _ = timed(lambda: process(engine, ledger, groups))
    ledger.close()
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    times = {"build_s": build_s, "hand_out_s": hand_out_s, "process_s": process_s}
    return {**times, "ledger_mb": path.stat().st_size / 1e6, "peak_mb": peak_mb}


def hand_out(engine: Engine) -> list[do.Lease]:
    """Everything, in leases of 128, to 100 nodes in turn."""
    leases: list[do.Lease] = []
    now = 0.0
    while engine.table.counts[0]:
        for node in range(NODES):
            now += 1e-3
            commands = engine.step(ev.NodeReport(node=f"n{node}", queued=0, running=(), unreported=1), now)
            leases += [command for command in commands if isinstance(command, do.Lease)]
    return leases


def group_reports(engine: Engine, leases: list[do.Lease], per_message: int) -> list[GroupReport]:
    """What the nodes would report: groups of at most `per_message` ranges, each for one output. Not timed."""
    groups: list[GroupReport] = []
    for lease in leases:
        for start in range(0, len(lease.ranges), per_message):
            ranges = lease.ranges[start : start + per_message]
            outputs = engine.outputs.outputs_of(ranges)
            for output in np.unique(outputs):
                entries = np.zeros(int((outputs == output).sum()), ENTRY_DTYPE)
                entries["range"] = ranges[outputs == output]
                entries["size"], entries["adler32"], entries["wall_s"] = 40_000, 0x1234ABCD, 60.0
                name = f"bench/{lease.node}/{len(groups):08d}"
                groups.append(GroupReport(name, lease.node, int(output), f"staging/{name}.zip", 1, 1, entries))
    return groups


def process(engine: Engine, ledger: Ledger, groups: list[GroupReport]) -> None:
    """Report every group; commit durably, 100 messages to a transaction; tell the engine."""
    waiting: list[do.Commit] = []
    for number, group in enumerate(groups, 1):
        waiting += [command for command in engine.step(ev.GroupReported(group), 1e6) if isinstance(command, do.Commit)]
        if number % MESSAGES_PER_COMMIT == 0 or number == len(groups):
            ledger.commit([commit.record for commit in waiting])
            engine.step(ev.Committed(tuple(commit.ticket for commit in waiting)), 1e6)
            waiting = []


def restart(path: Path, job: Job, config: EngineConfig) -> Engine:
    """A new coordinator: open and verify the ledger, rebuild the engine."""
    with Ledger.open(path, job) as ledger:
        return Engine(job, ledger.restore(), config)


class RangeObject:
    """One range of the baseline."""

    def __init__(self, range_id: str, lfn: str, event: int) -> None:
        self.range_id, self.lfn, self.event = range_id, lfn, event
        self.status, self.node, self.result = "ready", "", None


def measure_baseline(ranges: int, mode: str, per_message: int) -> dict[str, float]:
    """One run of the baseline: dictionaries of objects, state rewritten whole."""
    per_input = MODES[mode][0]
    files = [f"EVNT.{n:06d}" for n in range(max(1, ranges // per_input))]
    build_s, table = timed(
        lambda: {f"{lfn}-{n}": RangeObject(f"{lfn}-{n}", lfn, n) for lfn in files for n in range(1, per_input + 1)}
    )
    ready = list(table)

    def give() -> list[list[str]]:
        leases = [ready[start : start + LEASE] for start in range(0, len(ready), LEASE)]
        for number, lease in enumerate(leases):
            for range_id in lease:
                table[range_id].status, table[range_id].node = "assigned", f"n{number % NODES}"
        return leases

    hand_out_s, leases = timed(give)
    with tempfile.TemporaryDirectory(dir=os.environ.get("RAYTHENA_BENCH_DIR")) as directory:
        path = Path(directory) / "state.json"

        def take() -> None:
            for lease in leases:
                for range_id in lease:
                    found = table[range_id]
                    found.status, found.result = "finished", {"path": f"/out/{range_id}", "size": 40_000, "adler32": "1234abcd"}
            with path.open("w") as state:
                json.dump({key: value.__dict__ for key, value in table.items()}, state)
                state.flush()
                os.fsync(state.fileno())

        process_s, _ = timed(take)
        restart_s, _ = timed(lambda: json.loads(path.read_text()))
        size_mb = path.stat().st_size / 1e6
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    figures = {"build_s": build_s, "hand_out_s": hand_out_s, "process_s": process_s, "restart_s": restart_s}
    return {**figures, "ledger_mb": size_mb, "peak_mb": peak_mb}


def in_own_process(what: str, ranges: int, mode: str, per_message: int) -> dict[str, float]:
    """One measurement in a fresh interpreter, so that memory is its own."""
    argv = [sys.executable, __file__, "--one", what, str(ranges), mode, str(per_message)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{what} with {ranges} ranges failed:\n{done.stderr}")
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def median_of(what: str, ranges: int, mode: str, per_message: int, repeat: int) -> dict[str, float]:
    """Medians of several runs."""
    runs = [in_own_process(what, ranges, mode, per_message) for _ in range(repeat)]
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]}


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ranges", type=int, nargs="+", default=[10_000, 100_000, 1_000_000, 5_000_000])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        what, ranges, mode, per_message = given.one
        work = measure_baseline if what == "baseline" else measure
        print(json.dumps(work(int(ranges), mode, int(per_message))))
        return
    columns = ("build_s", "hand_out_s", "process_s", "restart_s", "ledger_mb", "peak_mb")
    print(f"{'':10} {'ranges':>9} {'mode':5} {'batch':>5} " + " ".join(f"{column:>10}" for column in columns))
    for ranges in given.ranges:
        for mode in MODES:
            cases = [("raythena", 16), ("raythena", 64)] + ([("baseline", 64)] if ranges <= BASELINE_LIMIT else [])
            for what, per_message in cases:
                figures = median_of(what, ranges, mode, per_message, given.repeat)
                if given.json:
                    print(json.dumps({"what": what, "ranges": ranges, "mode": mode, "batch": per_message, **figures}))
                else:
                    row = " ".join(f"{figures[column]:10.3f}" for column in columns)
                    print(f"{what:10} {ranges:9,} {mode:5} {per_message:5} {row}", flush=True)


if __name__ == "__main__":
    main()
