"""Scans killed at random moments, one kill each: coordinator, agent, worker, node and command, so often each; nothing may change.

    python tests/campaigns/scans.py [--kills 20] [--seed 1] [--roles coordinator,agent]

The moment is drawn: how many points are to be settled by then. What must hold: the same points as in a scan nobody
disturbed, with the same bounds; every point settled once; the command ends with 0; no process left. Prints a line for each kill:
how many points had their results, how long it took until another had, how many trainings were begun again, and what went wrong;
the exit status is the number of scans that were not as they must be.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
import time
import uuid
from collections import Counter
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "jobs")]

from test_scans import SCAN, ScanCommand, assert_settled_once, points_of  # noqa: E402

from job_kit import Process, eventually, raythena_processes  # noqa: E402
from raythena.tune.scan_results import read_scan  # noqa: E402

ROLES = ("coordinator", "agent", "worker", "raylet", "command")
POINTS = 60
LONGER = {**SCAN, "budget": {"points": POINTS}}


def undisturbed(directory: Path) -> tuple[list[str], float]:
    """The points as they must be, and how long the scan takes from its first result on."""
    command = ScanCommand(directory, uuid.uuid4().hex, scan=LONGER)
    command.until_finished(1)
    began = time.monotonic()
    code = command.wait()
    if code != 0:
        raise SystemExit(f"the scan itself fails: {(directory / 'err').read_text()}")
    return points_of(read_scan(command.task)), time.monotonic() - began


def one_to_kill(command: ScanCommand, role: str) -> Process | None:
    """Whom to kill, as soon as there is somebody; None: the command itself. Raises AssertionError when the scan is over."""
    if role == "command":
        return None

    def found() -> list[Process]:
        assert command.process.poll() is None, "the scan was over before anything was killed"
        return command.victims(role)

    return random.Random(f"{role} {command.mark}").choice(eventually(found, f"a {role} that can be killed"))


def killed(directory: Path, role: str, at_points: int) -> tuple[list[str], str]:
    """The points of a scan in which one process was killed when so many points were settled, and what happened."""
    mark = uuid.uuid4().hex
    command = ScanCommand(directory, mark, scan=LONGER)
    command.until_finished(at_points)
    victim, settled, began = one_to_kill(command, role), settled_points(command), time.monotonic()
    if victim is None:
        command.process.send_signal(signal.SIGKILL)
        command.wait()
        command = ScanCommand(directory, mark, "--resume", scan=LONGER)
    else:
        victim.kill()
    going_on_s = seconds_until_more(command, settled, began)
    code = command.wait()
    if code != 0:
        raise AssertionError(f"exit code {code}: {(directory / 'err').read_text()[-500:]}")
    if left := raythena_processes(mark):
        raise AssertionError(f"left behind: {left}")
    assert_settled_once(command.task, POINTS)
    again = repeated_trainings(directory)
    return points_of(read_scan(command.task)), f"{role} at {settled} points; more after {going_on_s}; {again} trained again"


def settled_points(command: ScanCommand) -> int:
    """Points with a result, as the scan tells it."""
    try:
        progress = json.loads(command.task.status.read_text())
        return int(progress["stored"] + progress["merged"])
    except (OSError, ValueError, KeyError):
        return 0


def seconds_until_more(command: ScanCommand, settled: int, began: float) -> str:
    """From the kill until another point had its result."""
    while command.process.poll() is None:
        if settled_points(command) > settled:
            return f"{time.monotonic() - began:.1f} s"
        time.sleep(0.05)
    return "the end"


def repeated_trainings(directory: Path) -> int:
    """Points whose training was begun more than once."""
    return sum(count > 1 for count in Counter((directory / "trained").read_text().split()).values())


def main() -> int:
    """All kills; how many scans were not as they must be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20, help="for each kind of process")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--roles", default=",".join(ROLES))
    options = parser.parse_args()
    dice = random.Random(options.seed)
    bad = 0
    with tempfile.TemporaryDirectory(prefix="scans-") as place:
        expected, lasts_s = undisturbed(Path(place) / "undisturbed")
        print(f"undisturbed: {len(expected)} points, {lasts_s:.1f} s from the first result to the end", flush=True)
        for number in range(options.kills):
            for role in options.roles.split(","):
                try:
                    found, story = killed(Path(place) / f"{role}-{number}", role, dice.randint(1, POINTS * 4 // 5))
                    verdict = "as it must be" if found == expected else "OTHER POINTS"
                except AssertionError as problem:
                    story, verdict = role, f"WRONG: {problem}"
                bad += verdict != "as it must be"
                print(f"{number + 1:3}. {story}: {verdict}", flush=True)
    print(f"{bad} of {options.kills * len(options.roles.split(','))} scans were not as they must be")
    return min(bad, 100)


if __name__ == "__main__":
    sys.exit(main())
