"""What an event range costs that is handed out from outside while the job runs: seconds and memory, by number of ranges.

No Ray, no payload: the real engine and the real ledger, driven as the coordinator drives them, with PanDA's text at one end and
the reports a gateway gets at the other. Ranges come in chunks; each goes all the way: parsed, packed, committed, leased with its
description, reported in groups, committed, published, acknowledged, committed. Then the coordinator is restarted. Every size is
taken in a process of its own, several times; figures are medians of processor time, so waits for the disk are left out.

    python benchmarks/way_a.py [--ranges 10000 100000 1000000] [--chunk 5000] [--repeat 3] [--json]
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

from raythena.domain.given_ranges import GivenRanges
from raythena.domain.job import NO_MERGE, InputFile, Job, MergeSpec, PayloadSpec
from raythena.domain.panda_ranges import parse_event_ranges
from raythena.domain.results import ENTRY_DTYPE, GroupReport
from raythena.engine import commands as do
from raythena.engine import events as ev
from raythena.engine.engine import Engine
from raythena.engine.engine_config import EngineConfig, SupplyConfig
from raythena.runtime.gateway_runner import range_report
from raythena.runtime.session_config import SessionConfig
from raythena.storage.ledger import Ledger, SessionInfo

NODES, LEASE, GROUP = 100, 128, 64
EVENTS_PER_FILE = 2000
PANDA_ID = "5013009653"
STAGES = ("parse", "pack", "take", "lease", "report", "publish", "acknowledge")


def job_of(ranges: int) -> Job:
    """A job of enough files."""
    names = [f"EVNT.24706191._{n:06d}.pool.root.1" for n in range(max(1, -(-ranges // EVENTS_PER_FILE)))]
    inputs = tuple(InputFile(name, f"/in/{name}", 0, guid=f"{n:08X}-E740-5A06-B086-C58344500B35") for n, name in enumerate(names))
    return Job("bench", inputs, ("HITS.root",), PayloadSpec("python"), MergeSpec(NO_MERGE), 1, ranges_given=True)


def answer(job: Job, start: int, stop: int) -> str:
    """The text of a `JobsEventRanges.json`."""
    ranges = []
    for n in range(start, stop):
        file, event = divmod(n, EVENTS_PER_FILE)
        given = job.inputs[file]
        entry = {"eventRangeID": f"24706191-{PANDA_ID}-{24039149400 + file}-{event + 1}-5", "LFN": given.lfn, "GUID": given.guid}
        ranges.append({**entry, "startEvent": event + 1, "lastEvent": event + 1, "scope": "mc23"})
    return json.dumps({PANDA_ID: ranges})


class Bench:
    """One coordinator's life."""

    def __init__(self, directory: Path, ranges: int, chunk: int) -> None:
        self.job = job_of(ranges)
        self.config = SessionConfig("bench", str(directory), self.job)
        engine = EngineConfig(
            max_lease=LEASE, buffer_s=1e9, first_lease_per_core=LEASE, supply=SupplyConfig(max_ahead=chunk, first_request=chunk)
        )
        self.path = directory / "ledger.sqlite"
        self.ledger = Ledger.create(self.path, self.job)
        self.ledger.begin_session(SessionInfo("bench", "here", os.getpid(), time.time()))
        self.engine = Engine(self.job, None, engine)
        for node in range(NODES):
            self.engine.step(ev.NodeJoined(node=f"n{node}", cores=1), 0.0)
        self.pfn_of = {file.lfn: file.pfn for file in self.job.inputs}
        self.spent = dict.fromkeys(STAGES, 0.0)
        self.n_groups = self.n_told = 0
        self.now = 1.0
        self.finished = False

    def timed(self, stage: str, work: Callable[[], Any]) -> Any:
        """Do it, and note how long it took."""
        began = time.process_time()
        result = work()
        self.spent[stage] += time.process_time() - began
        return result

    def step(self, event: ev.Event) -> list[do.Command]:
        """One step; everything it wants committed is committed, and the engine told."""
        self.now += 1e-3
        commands = self.engine.step(event, self.now)
        others = [command for command in commands if not isinstance(command, do.Commit)]
        commits = [command for command in commands if isinstance(command, do.Commit)]
        if commits:
            self.ledger.commit([commit.record for commit in commits])
            others += self.step(ev.Committed(tuple(commit.ticket for commit in commits)))
        self.finished = self.finished or any(isinstance(command, do.Finish) for command in others)
        return others

    def go(self, text: str) -> None:
        """One chunk from its text to its acknowledgement."""
        parsed = self.timed("parse", lambda: parse_event_ranges(text, "bench", self.pfn_of)[PANDA_ID])
        chunk = self.timed("pack", lambda: GivenRanges.pack(parsed, self.job.inputs))
        self.timed("take", lambda: self.step(ev.RangesGiven(chunk)))
        leases = self.timed("lease", self.lease)
        groups = [group for lease in leases for group in self.groups_of(lease)]
        published = self.timed("report", lambda: self.report(groups))
        reports = self.timed("publish", lambda: [range_report(each, self.engine.table, self.config) for each in published])
        self.n_told += sum(len(report.ranges) for report in reports)
        self.timed("acknowledge", lambda: self.step(ev.ReportsAcknowledged(tuple(report.number for report in reports))))

    def lease(self) -> list[do.Lease]:
        """Everything there is, to the nodes in turn, with the descriptions they get."""
        leases: list[do.Lease] = []
        while self.engine.table.counts[0]:
            for node in range(NODES):
                for command in self.step(ev.NodeReport(node=f"n{node}", queued=0, running=(), unreported=1)):
                    if isinstance(command, do.Lease):
                        leases.append(command)
                        self.engine.table.event_ranges(command.ranges)
        return leases

    def groups_of(self, lease: do.Lease) -> list[GroupReport]:
        """What a node would report. Not timed."""
        files = self.engine.table.files_of(lease.ranges)
        groups = []
        for file in np.unique(files).tolist():
            mine = lease.ranges[files == file]
            for start in range(0, len(mine), GROUP):
                entries = np.zeros(len(mine[start : start + GROUP]), ENTRY_DTYPE)
                entries["range"] = mine[start : start + GROUP]
                entries["size"], entries["wall_s"] = 40_000, 60.0
                name = f"bench/{lease.node}/{self.n_groups:08d}"
                self.n_groups += 1
                groups.append(GroupReport(name, lease.node, file, f"staging/{name}.zip", 1, 1, entries))
        return groups

    def report(self, groups: list[GroupReport]) -> list[do.PublishReport]:
        """All groups of a chunk in one transaction."""
        commits: list[do.Commit] = []
        for group in groups:
            commits += [each for each in self.engine.step(ev.GroupReported(group), self.now) if isinstance(each, do.Commit)]
        self.ledger.commit([commit.record for commit in commits])
        commands = self.step(ev.Committed(tuple(commit.ticket for commit in commits)))
        return [command for command in commands if isinstance(command, do.PublishReport)]


def measure(ranges: int, chunk: int) -> dict[str, float]:
    """One run."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("RAYTHENA_BENCH_DIR")) as directory:
        bench = Bench(Path(directory), ranges, chunk)
        began_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        for start in range(0, ranges, chunk):
            bench.go(answer(bench.job, start, min(start + chunk, ranges)))
        bench.step(ev.RangesEnded())
        if not bench.finished or bench.n_told != ranges:
            raise SystemExit(f"{bench.n_told} of {ranges} ranges were reported")
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        bench.ledger.close()
        began = time.process_time()
        with Ledger.open(bench.path, bench.job) as ledger:
            again = Engine(bench.job, ledger.restore(), EngineConfig())
        restart_s = time.process_time() - began
        if again.resumed != ranges:
            raise SystemExit(f"restart found {again.resumed} of {ranges} ranges")
        per_range = {f"{stage}_us": 1e6 * spent / ranges for stage, spent in bench.spent.items()}
        total_us = sum(per_range.values())
        sizes = {"ledger_bytes": bench.path.stat().st_size / ranges, "memory_bytes": (peak_mb - began_mb) * 2**20 / ranges}
        return {**per_range, "total_us": total_us, "restart_us": 1e6 * restart_s / ranges, "peak_mb": peak_mb, **sizes}


def in_own_process(ranges: int, chunk: int) -> dict[str, float]:
    """One run in a fresh interpreter, so that memory is its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--one", str(ranges), "--chunk", str(chunk)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{ranges} ranges failed:\n{done.stderr}")
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def main() -> None:
    """Measure every size; print a table: microseconds of processor time and bytes, per range; `peak_mb` is the process's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranges", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--chunk", type=int, default=5000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.one, arguments.chunk)))
        return
    before: dict[str, float] = {}
    for ranges in arguments.ranges:
        runs = [in_own_process(ranges, arguments.chunk) for _ in range(arguments.repeat)]
        figures = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        if arguments.json:
            print(json.dumps({"ranges": ranges, "chunk": arguments.chunk, **figures}))
            continue
        if not before:
            print(f"{'ranges':>10}", *(f"{key:>14}" for key in figures))
        print(f"{ranges:>10}", *(f"{value:>14.1f}" for value in figures.values()))
        if before:
            print(f"{'ratio':>10}", *(f"{figures[key] / before[key]:>14.2f}" if before[key] else " " * 14 for key in figures))
        before = figures


if __name__ == "__main__":
    main()
