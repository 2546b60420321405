"""What a job costs besides its events on one machine, with Ray and without: seconds and CPU seconds of a job of one event.

Runs the real `raythena run` with `--on local` and `--on processes` in turn, and reads from the task's log when its first event
was handed out and its last output merged. CPU seconds are those of the command and of everything it started and waited for.

    python benchmarks/start_and_end.py              five runs of each, medians
    python benchmarks/start_and_end.py --runs 1 --json
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import yaml

SYNTHETIC = "raythena.testing.synthetic"
LAUNCHERS = ("local", "processes")


@dataclass(frozen=True)
class Cost:
    """Of one job, in seconds."""

    wall_s: float
    cpu_s: float
    first_event_s: float
    """From the command to the first lease."""
    end_s: float
    """From the last merge to the command's exit."""


def run_once(launcher: str, events: int) -> Cost:
    """One job. Stops the benchmark when it does not end well."""
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        (directory / "f1.evnt").write_bytes(b"events")
        document = {
            "name": "one",
            "inputs": [{"path": "f1.evnt", "events": events}],
            "outputs": {"events_per_file": events, "name": "OUT.{n:04d}.bin"},
            "payload": {"python": f"{SYNTHETIC}:process", "setup": f"{SYNTHETIC}:setup", "options": {"as_file": False}},
            "merge": "concat",
        }
        (directory / "job.yaml").write_text(yaml.safe_dump(document))
        program = [str(Path(sys.executable).parent / "raythena"), "run", "job.yaml", "--taskdir", "task", "--display", "quiet"]
        options = ["--on", launcher, "--nodes", "1", "--cores", "1"]
        before, began = os.times(), time.time()
        done = subprocess.run([*program, *options], cwd=directory, capture_output=True, text=True, check=False)
        ended, after = time.time(), os.times()
        if done.returncode:
            raise SystemExit(f"{launcher} ended with {done.returncode}: {done.stderr}")
        (log,) = (directory / "task" / "logs").glob("*/coordinator.log")
        leased, merged = (moment(log.read_text(), words) for words in ("first lease: ", "merged OUT"))
        used = (after.children_user - before.children_user) + (after.children_system - before.children_system)
        return Cost(ended - began, used, leased - began, ended - merged)


def moment(log: str, words: str) -> float:
    """When the last line with these words was written, in seconds since the epoch."""
    *_, line = (line for line in log.splitlines() if words in line)
    found = re.match(r"[\d-]+ [\d:]+,\d+", line)
    if found is None:
        raise SystemExit(f"no time in {line!r}")
    return datetime.strptime(found[0], "%Y-%m-%d %H:%M:%S,%f").astimezone().timestamp()


def medians(costs: list[Cost]) -> dict[str, float]:
    """Of each figure."""
    return {name: round(statistics.median(getattr(cost, name) for cost in costs), 2) for name in asdict(costs[0])}


def main() -> None:
    """Measure the launchers in turn, so that what else the machine does meets both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--events", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    measured: dict[str, list[Cost]] = {launcher: [] for launcher in LAUNCHERS}
    for _ in range(options.runs):
        for launcher in LAUNCHERS:
            measured[launcher].append(run_once(launcher, options.events))
    found = {launcher: medians(costs) for launcher, costs in measured.items()}
    if options.json:
        print(json.dumps(found))
        return
    print(f"{'launcher':12}{'seconds':>10}{'CPU s':>10}{'to first event':>18}{'from last merge':>18}")
    for launcher, figures in found.items():
        print(f"{launcher:12}{figures['wall_s']:10}{figures['cpu_s']:10}{figures['first_event_s']:18}{figures['end_s']:18}")


if __name__ == "__main__":
    main()
