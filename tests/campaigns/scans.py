"""Scans killed at random moments, one kill each: coordinator, agent, worker, node and command, so often each; nothing may change.

    python tests/campaigns/scans.py [--kills 20] [--seed 1] [--roles coordinator,agent]

What must hold: the same points as in a scan nobody disturbed, with the same bounds; every point settled once; the command ends
with 0; no process left. Prints a line for each kill, and what went wrong; the exit status is the number of scans that were not as
they must be.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
import uuid
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "ray")]

from ray_kit import find, raythena_processes  # noqa: E402
from test_scans import SCAN, ScanCommand, assert_settled_once, points_of  # noqa: E402

from raythena.tune.scan_results import read_scan  # noqa: E402

ROLES = ("coordinator", "agent", "worker", "raylet", "command")
POINTS = SCAN["budget"]["points"]


def undisturbed(directory: Path) -> tuple[list[str], float]:
    """The points as they must be, and how long the scan takes."""
    began = time.monotonic()
    command = ScanCommand(directory, uuid.uuid4().hex)
    code = command.wait()
    if code != 0:
        raise SystemExit(f"the scan itself fails: {(directory / 'err').read_text()}")
    return points_of(read_scan(command.task)), time.monotonic() - began


def killed(directory: Path, role: str, after_s: float) -> tuple[list[str], str]:
    """The points of a scan in which one process was killed, and what happened."""
    mark = uuid.uuid4().hex
    command = ScanCommand(directory, mark)
    time.sleep(after_s)
    victims = [] if role == "command" else find(mark, role)
    if role == "command" and command.process.poll() is None:
        command.process.send_signal(signal.SIGKILL)
        command.wait()
        arguments = ["--resume"] if command.task.ledger.exists() else []
        command = ScanCommand(directory, mark, *arguments)
        story = f"command after {after_s:.1f} s, {'resumed' if arguments else 'begun again'}"
    elif victims:
        victim = random.Random(after_s).choice(victims)
        victim.kill()
        story = f"{role} (one of {len(victims)}) after {after_s:.1f} s"
    else:
        story = f"no {role} to kill after {after_s:.1f} s"
    code = command.wait()
    if code != 0:
        raise AssertionError(f"exit code {code}: {(directory / 'err').read_text()[-500:]}")
    if left := raythena_processes(mark):
        raise AssertionError(f"left behind: {left}")
    assert_settled_once(command.task, POINTS)
    return points_of(read_scan(command.task)), story


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
        print(f"undisturbed: {len(expected)} points in {lasts_s:.1f} s", flush=True)
        for number in range(options.kills):
            for role in options.roles.split(","):
                try:
                    found, story = killed(Path(place) / f"{role}-{number}", role, dice.uniform(0.1, 0.95) * lasts_s)
                    verdict = "as it must be" if found == expected else "OTHER POINTS"
                except AssertionError as problem:
                    story, verdict = role, f"WRONG: {problem}"
                bad += verdict != "as it must be"
                print(f"{number + 1:3}. {story}: {verdict}", flush=True)
    print(f"{bad} of {options.kills * len(options.roles.split(','))} scans were not as they must be")
    return min(bad, 100)


if __name__ == "__main__":
    sys.exit(main())
