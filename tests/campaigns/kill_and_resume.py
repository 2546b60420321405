"""`kill -9` at random moments of a real job, and proof that nothing was lost, repeated or changed.

Each round runs the demo's simulation through `raythena run` on two logical nodes, kills one process (the command itself, the
coordinator, an agent, a payload worker) at a random moment, resumes when the command died with it, and compares every number of
every event with a run that nobody disturbed. Rounds are drawn from a seed. The exit code is 1 if any round lost, repeated or
changed an event, computed a committed one again, left a process behind or did not come to its end.

    python tests/campaigns/kill_and_resume.py --rounds 20 --seed 1
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).parents[1] / "ray"))

from ray_kit import Command, Process, ToyJob, eventually, find, raythena_processes

from raythena.demo.reference import compare
from raythena.demo.workload import prepare_demo
from raythena.domain.job import Job
from raythena.validation import validate

TARGETS = ("driver", "coordinator", "agent", "worker")
ROUND_LIMIT_S = 180.0
GONE_WITHIN_S = 15.0


@dataclass
class Round:
    """One kill and what came of it."""

    target: str
    moment_s: float = 0.0
    phase: str = ""
    committed_before: int = 0
    computed_again: int = 0
    recovery_s: float | None = None
    took_s: float = 0.0
    problem: str = ""

    def row(self, number: int) -> str:
        recovery = "-" if self.recovery_s is None else f"{self.recovery_s:.1f}"
        return (
            f"{number:>5}  {self.target:<11}  {self.moment_s:>8.1f}  {self.phase:<8}  {self.committed_before:>9}  "
            f"{self.computed_again:>14}  {recovery:>10}  {self.took_s:>6.1f}  {self.problem or 'identical'}"
        )


HEADER = "round  target       moment/s  phase     committed  computed again  recovery/s  took/s  verdict"


class Campaign:
    """All rounds of one job."""

    def __init__(self, base: Path, events: int, seed: int) -> None:
        self._base = base
        self._random = random.Random(seed)
        self._demo = prepare_demo(base / "evnt", events=events, files=4, events_per_output=events // 2, seed=20240611)
        self._reference: list[Path] = []
        self._spans_s = (0.0, 0.0)

    def run_reference(self) -> None:
        """The run that nobody disturbs; it also tells how long a run takes."""
        began = time.monotonic()
        round_ = _Life(self._base / "reference", self._demo)
        command = round_.command()
        command.until_finished(1)
        first_s = time.monotonic() - began
        if command.wait(ROUND_LIMIT_S) != 0:
            raise SystemExit(f"the undisturbed run failed:\n{command.errors}")
        self._spans_s = (first_s, time.monotonic() - began)
        self._reference = [round_.toy.task / "outputs" / lfn for lfn in round_.toy.job.outputs]
        verdict = validate(round_.toy.task)
        if not verdict.ok:
            raise SystemExit(f"the undisturbed run is not valid: {verdict.summary()}")
        print(f"undisturbed: first event committed after {first_s:.1f} s, end after {self._spans_s[1]:.1f} s", flush=True)

    def run_round(self, number: int) -> Round:
        """One kill; what is wrong, if anything, is in the result."""
        life = _Life(self._base / f"round-{number}", self._demo)
        first_s, end_s = self._spans_s
        target = TARGETS[number % len(TARGETS)]
        # The command may be killed at any time of its life, the others only while they live.
        moment_s = self._random.uniform(0.5 if target == "driver" else 0.8 * first_s, 0.95 * end_s)
        outcome = Round(target)
        began = time.monotonic()
        try:
            while not self._disturb(life, outcome, moment_s):
                # The job was over before its moment came, or its victim had gone: begin again, and strike earlier.
                life.begin_again()
                moment_s *= 0.7
            outcome.problem = self._judge(life)
        except Exception as problem:  # noqa: BLE001 (whatever went wrong is this round's verdict, the others go on)
            outcome.problem = f"{type(problem).__name__}: {problem}"
        outcome.took_s = time.monotonic() - began
        life.end()
        if not outcome.problem:
            shutil.rmtree(life.base)
        return outcome

    def _disturb(self, life: _Life, outcome: Round, moment_s: float) -> bool:
        """Run the job, kill, resume if need be. False when there was nothing left to kill."""
        began = time.monotonic()
        command = life.command()
        time.sleep(moment_s)
        victim = command.process if outcome.target == "driver" else self._victim(life, outcome.target, command)
        if victim is None or not command.running:
            command.wait(ROUND_LIMIT_S)
            return False
        outcome.phase = command.last_progress().get("phase", "startup")
        before = life.committed()
        victim.kill()
        killed_at, killed_wall = time.monotonic(), time.time()
        outcome.moment_s, outcome.committed_before = killed_at - began, len(before)
        if outcome.target == "driver":
            command.wait(ROUND_LIMIT_S)
            eventually(lambda: not raythena_processes(life.mark), "no process left", GONE_WITHIN_S)
            before = life.committed()
            command = life.command("--resume")
        outcome.recovery_s = _recovery(command, len(before), killed_at)
        code = command.wait(ROUND_LIMIT_S)
        if code != 0:
            raise AssertionError(f"exit code {code}: {command.errors[-300:]}")
        computed = life.tally()
        outcome.computed_again = len(computed) - life.toy.job.n_events
        again = {one for at, one in computed if at > killed_wall + 1.0} & {life.ids[index] for index in before}
        if again and outcome.target == "driver":
            raise AssertionError(f"{len(again)} committed events were computed again, {min(again)} for one")
        return True

    def _victim(self, life: _Life, role: str, command: Command) -> Process | None:
        """One of those that live, waited for; None when the command ended meanwhile."""
        while command.running:
            if found := find(life.mark, role):
                return self._random.choice(found)
            time.sleep(0.01)
        return None

    def _judge(self, life: _Life) -> str:
        """What is wrong with the task now; empty for nothing."""
        toy = life.toy
        if left := raythena_processes(life.mark):
            return f"left behind: {left[0].command}"
        if len(toy.committed()) != toy.job.n_events:
            return f"{len(toy.committed())} events committed instead of {toy.job.n_events}"
        verdict = validate(toy.task)
        if not verdict.ok:
            return verdict.summary()
        return compare([toy.task / "outputs" / lfn for lfn in toy.job.outputs], self._reference).problem


class _Life:
    """A task directory and the commands that work on it."""

    def __init__(self, base: Path, demo: Job) -> None:
        self.base = base
        self.mark = uuid.uuid4().hex
        base.mkdir(parents=True)
        (base / "scratch").mkdir()
        self.toy = ToyJob(_job_file(base, demo))
        self.ids = [f"{file.lfn}-{event}" for file in demo.inputs for event in range(1, file.n_events + 1)]
        self._tally = base / "tally"

    def command(self, *options: str) -> Command:
        return Command(self.mark, self.toy, *options, environment={"E2E_TALLY": str(self._tally)})

    def committed(self) -> dict[int, int]:
        return self.toy.committed() if (self.toy.task / "ledger.sqlite").exists() else {}

    def tally(self) -> list[tuple[float, str]]:
        lines = (line.split() for line in self._tally.read_text().splitlines())
        return [(float(at), one) for at, one in lines]

    def begin_again(self) -> None:
        shutil.rmtree(self.toy.task)
        self._tally.unlink(missing_ok=True)

    def end(self) -> None:
        for process in raythena_processes(self.mark):
            process.kill(signal.SIGKILL)


def _job_file(base: Path, demo: Job) -> Path:
    tallied = {"python": "tallied:process", "setup": "tallied:setup", "path": [str(Path(__file__).parent)]}
    document = {
        "name": "demo",
        "inputs": [{"path": file.pfn, "events": file.n_events, "guid": file.guid} for file in demo.inputs],
        "outputs": {"events_per_file": demo.events_per_output, "names": list(demo.outputs)},
        "payload": {**tallied, "options": demo.payload.options["options"]},
        "merge": "root",
    }
    path = base / "job.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def _recovery(command: Command, before: int, killed_at: float) -> float | None:
    """Seconds from the kill to the first event committed after it; None when everything was committed before."""
    while command.running:
        progress = command.last_progress()
        if progress and progress["stored"] + progress["merged"] > before:
            return time.monotonic() - killed_at
        if progress and before == progress["events"]:
            return None
        time.sleep(0.05)
    return None


def main() -> int:
    """Run the campaign; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--events", type=int, default=400)
    parser.add_argument("--first", type=int, default=0, help="number of the first round; it decides which target comes first")
    parser.add_argument("--directory", type=Path, help="keep everything that went wrong here")
    options = parser.parse_args()
    base = options.directory or Path(tempfile.mkdtemp(prefix="raythena-kills-"))
    campaign = Campaign(base.absolute(), options.events, options.seed)
    campaign.run_reference()
    print(HEADER, flush=True)
    rounds = []
    for number in range(options.first, options.first + options.rounds):
        rounds.append(campaign.run_round(number))
        print(rounds[-1].row(number), flush=True)
    bad = sum(1 for one in rounds if one.problem)
    print(f"{len(rounds) - bad} of {len(rounds)} rounds identical" + (f"; see {base}" if bad else ""))
    if not bad and options.directory is None:
        shutil.rmtree(base)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
