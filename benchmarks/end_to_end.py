"""A whole job on local nodes: event ranges per second, and how busy the cores are.

Runs the real `raythena run` on a local Ray cluster and reads the figures from the ledger it leaves: first event's start, last
event's end, and how long each event kept its core. Occupancy is busy core-seconds over cores × the time between first and last
event.

    python benchmarks/end_to_end.py free            20,000 events that cost nothing, 4 nodes × 1 core, payload `process` (C++)
    python benchmarks/end_to_end.py occupancy       2,000 events of 20 ms and 400 of 200 ms, 2 nodes × 1 core
    python benchmarks/end_to_end.py                 both

The baseline of `free`, measured in the same run, is one process that writes the same files one after the other, syncing each to
disk, as anything must that acknowledges every event by itself. That of `occupancy` is the ideal: events × cost / cores.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from raythena.storage.ledger_view import LedgerView

ROOT = Path(__file__).resolve().parents[1]
SYNTHETIC = "raythena.testing.synthetic"


@dataclass(frozen=True)
class Run:
    """What one job measured."""

    events: int
    span_s: float
    """From the first event's start to the last event's end."""
    committed_s: float
    """From the first event's start to the last merge."""
    occupancy: float
    wall_s: float
    """Of the whole command, cluster included."""
    gap_ms: float
    """Median pause of a core between two events."""


def run_job(directory: Path, document: dict[str, object], nodes: int, cores: int) -> Run:
    """Run one job to the end. Stops the benchmark when it does not end well."""
    job = directory / "job.yaml"
    job.write_text(yaml.safe_dump(document))
    task = directory / "task"
    program = [str(Path(sys.executable).parent / "raythena"), "run", str(job), "--taskdir", str(task), "--display", "quiet"]
    began = time.monotonic()
    done = subprocess.run([*program, "--nodes", str(nodes), "--cores", str(cores)], capture_output=True, text=True, check=False)
    wall_s = time.monotonic() - began
    if done.returncode:
        raise SystemExit(f"the job ended with {done.returncode}:\n{done.stderr}")
    run = read_ledger(task, nodes * cores, wall_s)
    shutil.rmtree(task)
    return run


def read_ledger(task: Path, cores: int, wall_s: float) -> Run:
    """The figures of a finished task."""
    with LedgerView.read(task / "ledger.sqlite") as ledger:
        events = np.concatenate([chunk.events for chunk in ledger.iter_events()])
    ends = events["start"] + events["wall_s"]
    first, last = float(events["start"].min()), float(ends.max())
    busy_s = float(events["wall_s"].sum(dtype=np.float64))
    merged_at = max(path.stat().st_mtime for path in (task / "outputs").iterdir())
    return Run(
        len(events), last - first, merged_at - first, busy_s / (cores * (last - first)), wall_s, 1e3 * median_gap_s(events)
    )


def median_gap_s(events: np.ndarray) -> float:
    """Pauses on nodes of one core: from the end of an event to the start of the next."""
    gaps = []
    for node in np.unique(events["node"]):
        mine = np.sort(events[events["node"] == node], order="start")
        gaps.append(mine["start"][1:] - (mine["start"] + mine["wall_s"])[:-1])
    return float(np.median(np.concatenate(gaps)))


def inputs(directory: Path, files: int, events: int) -> list[dict[str, object]]:
    """Input files; the payloads here never open them."""
    (directory / "in").mkdir(exist_ok=True)
    entries: list[dict[str, object]] = []
    for number in range(files):
        path = directory / "in" / f"EVNT.{number:06d}"
        path.write_text("made up\n")
        entries.append({"path": str(path), "events": events // files})
    return entries


def job_document(directory: Path, files: int, events: int, payload: dict[str, object]) -> dict[str, object]:
    """A job whose outputs are put end to end, a quarter of the events in each."""
    return {
        "name": "bench",
        "inputs": inputs(directory, files, events),
        "outputs": {"events_per_file": events // 4, "name": "OUT.{n:06d}.jsonl"},
        "payload": payload,
        "merge": "concat",
    }


def free_events(repeat: int, events: int = 20_000) -> None:
    """Ranges per second when events cost nothing."""
    with tempfile.TemporaryDirectory(prefix="raythena-bench-") as name:
        directory = Path(name)
        program = directory / "event_loop"
        compiler = [os.environ.get("CXX", "g++"), "-std=c++17", "-O2", f"-I{ROOT}/src/raythena/payloads/include"]
        subprocess.run([*compiler, str(ROOT / "examples/cpp/event_loop.cpp"), "-o", str(program), "-pthread"], check=True)
        for mode in ("spool", "file"):
            payload = {"process": [str(program), "--mode", mode]}
            runs = [run_job(directory, job_document(directory, 4, events, payload), 4, 1) for _ in range(repeat)]
            computed = statistics.median(run.events / run.span_s for run in runs)
            merged = statistics.median(run.events / run.committed_s for run in runs)
            print(f"free events, {mode:5}: {computed:8,.0f}/s computed and stored, {merged:8,.0f}/s up to the last merge")
        baseline = statistics.median(one_by_one(directory, 2000) for _ in range(repeat))
        print(f"one synced file per event, one process: {baseline:8,.0f}/s", flush=True)


def one_by_one(directory: Path, events: int) -> float:
    """The baseline: events per second when each is made durable by itself."""
    target = directory / "baseline"
    target.mkdir()
    began = time.perf_counter()
    for number in range(events):
        with (target / str(number)).open("wb") as output:
            output.write(b'{"EventNumber": 1}\n')
            output.flush()
            os.fsync(output.fileno())
    rate = events / (time.perf_counter() - began)
    shutil.rmtree(target)
    return rate


def occupancy(repeat: int) -> None:
    """How busy two nodes of one core are kept."""
    for events, cost_s in ((2_000, 0.02), (400, 0.2)):
        with tempfile.TemporaryDirectory(prefix="raythena-bench-") as name:
            directory = Path(name)
            options = {"wall_s": cost_s, "spread": 0.5}
            payload = {"python": f"{SYNTHETIC}:process", "setup": f"{SYNTHETIC}:setup", "options": options}
            runs = [run_job(directory, job_document(directory, 4, events, payload), 2, 1) for _ in range(repeat)]
        shares = sorted(run.occupancy for run in runs)
        middle = statistics.median(shares)
        span_s = statistics.median(run.span_s for run in runs)
        gap_ms = statistics.median(run.gap_ms for run in runs)
        wall_s = statistics.median(run.wall_s for run in runs)
        print(
            f"{events:,} events of {1e3 * cost_s:.0f} ms: occupancy {100 * middle:.1f} % "
            f"(from {100 * shares[0]:.1f} to {100 * shares[-1]:.1f}), first to last event {span_s:.1f} s "
            f"(ideal {events * cost_s / 2:.1f} s), pause between events {gap_ms:.2f} ms, whole command {wall_s:.0f} s",
            flush=True,
        )


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="?", choices=("free", "occupancy", "all"), default="all")
    parser.add_argument("--repeat", type=int, default=3)
    given = parser.parse_args()
    if given.what in ("free", "all"):
        free_events(given.repeat)
    if given.what in ("occupancy", "all"):
        occupancy(given.repeat)


if __name__ == "__main__":
    main()
