"""Made-up jobs for the real `raythena harvest`: what happens in each, and what must have come of it.

A seed decides everything: even ones are jobs whose ranges PanDA hands out (way A), odd ones are merged on site (way B); how many
events; the form of outputs; what goes wrong, and after how many events. Whatever Harvester may do wrong it does, too.
"""

from __future__ import annotations

import random
import signal
import sys
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "jobs"))

import psutil
from harvester_kit import LOG, OUTPUTS, Harvest, Site, hits

from harvester_double import Races
from job_kit import eventually, find, raythena_processes

FAULTS = ("none", "power", "sigterm", "worker", "poison", "walltime")
GRACE_S = 30


@dataclass(frozen=True)
class Play:
    """One made-up job."""

    seed: int
    merged_here: bool
    events: int
    """In each of four inputs."""
    archives: bool
    fault: str
    after: int
    """Events that are done when it strikes; the inputs behind the second one wait until then."""
    poison: int
    """Number of the event that fails whenever it is tried; 0: none does."""

    @classmethod
    def of(cls, seed: int) -> Play:
        dice = random.Random(seed)
        events = dice.randint(4, 8)
        fault = dice.choice(FAULTS)
        if fault == "walltime" and seed % 2 == 0:
            fault = "power"  # what PanDA knows of ranges it knows from reports, not from how the job ended
        poison = 1000 * dice.randint(1, 4) + dice.randrange(events) if fault == "poison" else 0
        return cls(seed, seed % 2 == 1, events, dice.random() < 0.5, fault, dice.randint(1, events), poison)

    def __str__(self) -> str:
        form = "merged" if self.merged_here else "archives" if self.archives else "files"
        what = f"{self.fault} after {self.after}" if self.fault not in ("none", "poison") else f"{self.fault} {self.poison or ''}"
        return f"{form:<8} 4x{self.events} {what.strip():<16}"


class CpuMeter:
    """Processor time of everything with a mark, by what it is, looked at once a second: what lives shorter is not seen."""

    def __init__(self, mark: str) -> None:
        self._mark = mark
        self._seen: dict[tuple[int, str], float] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> CpuMeter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(1.0):
            for one in raythena_processes(self._mark):
                try:
                    times = psutil.Process(one.pid).cpu_times()
                except psutil.Error:
                    continue
                # a process is forked before it becomes what it is: the latest name counts
                self._seen = {key: value for key, value in self._seen.items() if key[0] != one.pid or key[1] == one.command}
                self._seen[one.pid, one.command] = times.user + times.system

    @property
    def total_s(self) -> float:
        return sum(self._seen.values())

    def by_program(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for (_, command), seconds in self._seen.items():
            found[_program(command)] += seconds
        return found


_PROGRAMS = {
    "gcs_server ": "gcs",
    "/raylet/raylet ": "raylet",
    "dashboard/agent.py": "dashboard agent",
    "runtime_env/agent": "runtime-env agent",
    "dashboard/dashboard.py": "dashboard",
    "monitor.py": "monitor",
    "process_guard_main.py": "guard",
    "raythena.launch.ray_start start": "ray start",
    "ray::CoordinatorActor": "coordinator",
    "ray::NodeAgentActor": "agent",
    "ray::": "other actors and tasks",
    "default_worker.py": "idle workers",
    "raythena.payloads": "payload",
    " harvest ": "command",
}


def _program(command: str) -> str:
    return next((name for words, name in _PROGRAMS.items() if words in command), command[:40])


class Performance:
    """A play being played, in a directory of its own. `play` raises AssertionError when something came out wrong."""

    def __init__(self, play: Play, directory: Path) -> None:
        self.play = play
        self.mark = uuid.uuid4().hex
        self.stopped_s: float | None = None
        """Time from SIGTERM to the end of the command."""
        payload = {"poison": play.poison} if play.poison else {}
        kind = "merge" if play.merged_here else "events"
        self.site = Site(directory, kind, play.events, play.seed, races=Races.all(), payload=payload)
        self._options = ["--cores", "1", "--grace", str(GRACE_S), "--patience", "90"]
        # all of this Harvester's times are a twentieth of a real one's
        self._options += ["--set", "harvester.answer_patience_s=10"]
        self._options += ["--outputs", "archives" if play.archives else "files"]

    def run(self) -> None:
        """To the end, and look at everything."""
        try:
            with self.site:
                code, batch = self._until_the_end()
                self.site.ended(code, batch)
            left = raythena_processes(self.mark)
            assert left == [], f"left behind: {left}"
            if batch:
                self._check_nothing_is_lost()
            else:
                self._check(code)
        finally:
            for process in raythena_processes(self.mark):
                process.kill()

    def _start(self) -> Harvest:
        return Harvest(self.mark, self.site, *self._options)

    def _until_the_end(self) -> tuple[int, str]:
        """Exit code, and Slurm's word for an end that hides it."""
        command = self._start()
        if self.play.fault in ("none", "poison"):
            self.site.hold.unlink()
        else:
            command.until(
                lambda progress: progress["stored"] + progress["merged"] >= self.play.after, f"{self.play.after} events finished"
            )
            if self.play.fault == "walltime":
                return self._reach_the_walltime(command), "TIMEOUT"
            command = self._strike(command)
        code = command.wait()
        assert code == 0, f"exit code {code}\n{command.errors}"
        return code, ""

    def _reach_the_walltime(self, command: Harvest) -> int:
        """Slurm's warning comes a moment before its kill."""
        command.send(signal.SIGTERM)
        time.sleep(random.Random(self.play.seed).uniform(0.0, 4.0))
        command.kill_everything()
        return 137

    def _strike(self, command: Harvest) -> Harvest:
        """Do what the play says; the command that is at work then."""
        if self.play.fault == "power":
            command.kill_everything()
        elif self.play.fault == "sigterm":
            command.send(signal.SIGTERM)
        else:
            self._kill_a_worker()
        self.site.hold.unlink()
        if self.play.fault == "worker":
            return command
        if self.play.fault == "sigterm":
            asked = time.monotonic()
            assert command.process.wait(GRACE_S) in (0, 5), command.errors
            self.stopped_s = time.monotonic() - asked
            eventually(lambda: not raythena_processes(self.mark), "no process left")
        return self._start()

    def _kill_a_worker(self) -> None:
        (worker, *_) = eventually(lambda: find(self.mark, "worker") or find(self.mark, "payload"), "a worker")
        worker.kill()

    # ---- what must have come of it

    def _check_nothing_is_lost(self) -> None:
        """Killed before its last word, perhaps: what PanDA takes for done is in outputs that it has."""
        panda, inputs = self.site.panda, self.site.document["inFiles"].split(",")
        for number, lfn in enumerate(inputs):
            if lfn in panda.inputs_done:
                output = OUTPUTS[number // 2]
                assert output in panda.registered, f"{lfn} is taken for done, and {output} is not there"
                assert hits(Path(panda.staged[output]["path"])) == self.site.expected(range(number // 2 * 2, number // 2 * 2 + 2))

    def _check(self, code: int) -> None:
        panda = self.site.panda
        assert panda.complaints == [], panda.complaints
        assert (panda.status, code) == ("finished", 0)
        assert panda.attributes.get("pilotErrorCode", 0) == 0, panda.attributes
        assert LOG in panda.staged
        if self.play.merged_here:
            self._check_merged()
        else:
            self._check_events()

    def _check_merged(self) -> None:
        """Every output whole; with a poisoned event all but the one it belongs in, and its inputs are another job's."""
        spoilt = (self.play.poison // 1000 - 1) // 2 if self.play.poison else None
        panda = self.site.panda
        expected = [lfn for number, lfn in enumerate(OUTPUTS) if number != spoilt]
        assert sorted(panda.registered) == [*expected, LOG]
        inputs = self.site.document["inFiles"].split(",")
        assert panda.skipped == ([] if spoilt is None else inputs[2 * spoilt : 2 * spoilt + 2])
        for number, lfn in enumerate(OUTPUTS):
            if number != spoilt:
                assert hits(Path(panda.staged[lfn]["path"])) == self.site.expected(range(2 * number, 2 * number + 2)), lfn
        if spoilt is not None:
            assert panda.metadata is not None
            assert "poisoned" in str(panda.metadata), "the report does not say why an event failed"

    def _check_events(self) -> None:
        """Every event once, with the output that is its own; the poisoned one never, and PanDA counts its attempts down."""
        lost = {event.process_id: event.state for event in self.site.panda.unfinished()}
        for event in self.site.panda.events:
            number = self.site.number(event)
            if number == self.play.poison:
                assert event.finished == 0
                assert event.attempt < 3, "PanDA was never told of the event that failed"
                continue
            assert event.finished == 1, f"event {number} was finished {event.finished} times; not finished: {lost}"
            assert event.path.endswith(".zip") is self.play.archives
            assert hits(self.site.output_of(event)) == [number]
