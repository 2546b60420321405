"""One pilot, from its start to its end: its server, its processes, its log.

Rules: the server listens before the pilot starts; the pilot's processes are below a process guard of their own, so that killing
them means killing all of them, AthenaMP in whatever session it put itself included, and so that none survives the agent.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path

import psutil

from raythena.domain.errors import PayloadError
from raythena.payloads.account import read_report
from raythena.payloads.athena_workers import PLACES, AthenaWorkers
from raythena.payloads.last_words import end_of, last_words
from raythena.payloads.pilot.launch import prepare
from raythena.payloads.pilot.panda_server import Answer, PandaServer
from raythena.payloads.pilot.pilot_options import PilotOptions
from raythena.payloads.pilot.pilotlog import NAME, PilotLog
from raythena.payloads.pilot.release import Release
from raythena.payloads.pilot.run_times import RunTimes
from raythena.payloads.pilot.server import PilotServer
from raythena.payloads.workers.slot import describe_status
from raythena.runtime.clock import SYSTEM_CLOCK, Clock
from raythena.runtime.process_guard import ProcessGuard

LOG = logging.getLogger(__name__)
OUT, ERR = "pilot.out", "pilot.err"
JOB = "PanDA_Pilot*"
"""The job's directory, in the launch directory."""
_JOURNAL = "requests.jsonl"
_KEPT = (NAME, OUT, ERR, "pilot_timing.json", "queuedata.json", "raythena.cfg")
_SAID = ("payload.stderr", "payload.stdout")
_KEPT_OF_JOB = (*_SAID, "jobReport.json", "log.EVNTtoHITS", "memory_monitor_summary.json")
_TAIL_BYTES = 2000


class RunningPilot:
    """A pilot at work. `number` counts those of this payload from 1."""

    def __init__(
        self,
        number: int,
        directory: Path,
        panda: PandaServer,
        *,
        log_dir: Path,
        on_call: Callable[[Answer], None],
        on_end: Callable[[], None],
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._clock = clock
        self.number = number
        self.directory = directory
        self.panda = panda
        self.log = PilotLog(directory / NAME)
        self.workers = AthenaWorkers(directory, f"{JOB}/{PLACES}")
        """AthenaMP's, once there are any."""
        self.log_dir = log_dir / f"pilot-{number}"
        self.server = PilotServer(panda, on_call, self.log_dir / _JOURNAL, clock)
        self.times = RunTimes(clock.wall_s())
        self.began = clock.monotonic_s()
        self.status: int | None = None
        """How the pilot ended; None while it runs."""
        self.over_seen_at: float | None = None
        """When its log first said that everything is reported."""
        self.quiet_since: float | None = None
        """Since when nothing is owed by a pilot that gets no more."""
        self.busy_at = self.began
        """When it last asked something, or used CPU."""
        self._cpu_s = 0.0
        self._process_guard = ProcessGuard()
        self._on_end = on_end

    async def start(self, options: PilotOptions, release: Release, job: Mapping[str, object], cores: int) -> int:
        """Listen, prepare, start; the pilot's process id. Raises PayloadError, InvalidInput, OSError."""
        self.log_dir.mkdir(parents=True, exist_ok=True)
        await self.server.start()
        plan = await asyncio.to_thread(
            partial(prepare, options, release, job, cores=cores, port=self.server.port, directory=self.directory)
        )
        LOG.info("pilot %d (%s) starts in %s, server on port %d", self.number, release.version, self.directory, self.server.port)
        self.times.started_at, self.began = self._clock.wall_s(), self._clock.monotonic_s()
        self.busy_at = self.began
        try:
            return await self._process_guard.spawn(
                plan.argv,
                env=plan.environment,
                cwd=plan.directory,
                stdout=plan.directory / OUT,
                stderr=plan.directory / ERR,
                on_exit=self._ended,
            )
        except OSError as problem:
            raise PayloadError(f"the pilot cannot be started: {problem}") from problem

    def _ended(self, status: int) -> None:
        self.status = status
        self._on_end()

    @property
    def root_pid(self) -> int | None:
        """The process everything of the pilot's is below."""
        return self._process_guard.pid

    async def kill(self) -> None:
        """End everything: processes first, then the server. Safe to call twice."""
        await self._process_guard.stop()
        await self.server.stop()
        if self.times.ended_at is None:
            self.times.ended_at = self._clock.wall_s()

    def look_at_cpu(self, now: float) -> None:
        """Note whether the pilot's processes have used CPU since the last look. Walks /proc: for a thread."""
        pid = self._process_guard.pid
        if pid is None:
            return
        total_s = 0.0
        try:
            for process in psutil.Process(pid).children(recursive=True):
                times = process.cpu_times()
                total_s += times.user + times.system
        except psutil.Error:
            return  # it changes while we look: the next look will do
        if abs(total_s - self._cpu_s) > 0.02:
            self._cpu_s, self.busy_at = total_s, now

    @property
    def has_job_report(self) -> bool:
        """Whether the payload has written its own account of the job."""
        return any(self.directory.glob("PanDA_Pilot*/jobReport.json"))

    @property
    def has_payload(self) -> bool:
        """Whether it got as far as starting the payload."""
        return self.panda.record.first_ranges_at is not None or any(self.directory.glob(f"PanDA_Pilot*/{_SAID[0]}"))

    def job_report(self) -> object:
        """The payload's own account of the job: what the pilot has sent, or what lies there; None when there is none."""
        sent = self.panda.record.metadata
        try:
            return json.loads(sent)
        except (ValueError, RecursionError):
            return next(map(read_report, self.directory.glob("PanDA_Pilot*/jobReport.json")), None)

    def payload_exit_summary(self) -> str:
        """How the payload ended, and what it said was wrong."""
        status = self.log.payload_status
        story = "its payload ended" if status is None else f"its payload {describe_status(status)}"
        words = self.payload_words()
        return f"{story}: {words}" if words else f"{story} and said nothing"

    def payload_words(self) -> str:
        """What the payload said was wrong; empty when it said nothing."""
        return last_words(path for job in self.directory.glob("PanDA_Pilot*") for path in (job / name for name in _SAID))

    def verdict(self) -> str:
        """What the pilot has told of its job, in words."""
        state = self.panda.record.state
        return f"its job is {state}{self._codes()}" if state else "its job has no state"

    def _codes(self) -> str:
        names = ("pilotErrorCode", "pilotErrorDiag", "transExitCode", "exeErrorCode")
        codes = {name: self.panda.record.attributes.get(name) for name in names}
        said = {name: value for name, value in codes.items() if value not in (None, "", "0", 0, "None")}
        return "".join(f"; {name} {str(value)[:300]}" for name, value in said.items())

    def exit_summary(self) -> str:
        """How it ended, with the last words of its standard error and output."""
        if self.status is None:
            story = "it was ended"
        elif self.status < 0:
            story = f"it was killed by signal {-self.status}"
        else:
            story = f"it ended with exit code {self.status}"
        if state := self.panda.record.state:
            story += f"; job state {state}"
        story += self._codes()
        for name in (ERR, OUT):
            if words := end_of(self.directory / name, _TAIL_BYTES).strip():
                return f"{story}; {name}: {words}"
        return story

    def collect(self, limit_bytes: int) -> None:
        """Copy what tells the story into the log directory, the end of files that are too long; for a thread."""
        paths = [self.directory / name for name in _KEPT]
        for job in self.directory.glob("PanDA_Pilot*"):
            paths += [job / name for name in _KEPT_OF_JOB]
            paths += sorted(job.glob("athenaMP-workers-*/worker_*/AthenaMP.log"))
        for path in paths:
            name = path.name if path.parent == self.directory else "-".join(path.relative_to(self.directory).parts[1:])
            try:
                _copy_end(path, self.log_dir / name, limit_bytes)
            except FileNotFoundError:
                continue
            except OSError as problem:
                LOG.warning("%s was not kept: %s", path, problem)
        self._write_story()

    def _write_story(self) -> None:
        record = asdict(self.panda.record)
        for name in [name for name in record if name.endswith("_at")]:
            del record[name]
        story = {"pilot": self.number, "exit_status": self.status, "times": self.times.figures(), "job": record}
        (self.log_dir / "pilot.json").write_text(json.dumps(story, indent=1, default=str), encoding="utf-8")

    def note_times(self) -> None:
        """Carry the server's times over into the account."""
        offset = self._clock.wall_s() - self._clock.monotonic_s()
        record, times = self.panda.record, self.times
        times.job_asked_at = record.asked_at and record.asked_at + offset
        times.first_ranges_at = record.first_ranges_at and record.first_ranges_at + offset
        times.final_update_at = record.final_at and record.final_at + offset

    def remove(self) -> None:
        """Remove the launch directory; for a thread."""
        shutil.rmtree(self.directory, ignore_errors=True)


def free_number(log_dir: Path, number: int) -> int:
    """The first number from this one on under which no pilot has logged yet: attempts keep their directories."""
    while (log_dir / f"pilot-{number}").exists():
        number += 1
    return number


def _copy_end(source: Path, target: Path, limit_bytes: int) -> None:
    with source.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - limit_bytes))
        with target.open("wb") as copy:
            if size > limit_bytes:
                copy.write(f"[the first {size - limit_bytes} bytes are left out]\n".encode())
            shutil.copyfileobj(stream, copy)
