"""A worker with on-site merging without a cluster: the real gateway and the real worker, and an end at every step they take.

A step is any call with which the worker changes a directory or opens a file to write: Python's audit events tell of each before
it happens. `Steps` can ask at each of them what PanDA would make of the job if the batch job ended right there, and it can end
the worker there (`Killed`), to be started again. What is durable of a session, the ledger, is a list here.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harvester_double.double import Clockwork, HarvesterDouble, Races
from harvester_double.panda import PandaDouble
from raythena.domain.errors import ExitCode, InvalidInput
from raythena.domain.job import Job, MergeSpec, PayloadSpec
from raythena.domain.taxonomy import FAULTS
from raythena.gateways.harvester.access_point import AccessPoint
from raythena.gateways.harvester.conversation import Patience
from raythena.gateways.harvester.deliverables import Deliverables
from raythena.gateways.harvester.gateway import HarvesterGateway
from raythena.gateways.harvester.harvester_config import FileNames, MapType
from raythena.gateways.harvester.last_word import Ending
from raythena.gateways.harvester.worker import HarvesterWorker
from raythena.runtime.gateway_interface import FinalOutput, GatewayContext
from raythena.runtime.session_end import SessionResult

FIXTURE = Path(__file__).parents[1] / "fixtures" / "harvester" / "merge-HPCJobs.json"
ENDS = ("TIMEOUT", "PREEMPTED", "FAILED", "NODE_FAIL", "COMPLETED")
"""How Slurm may call the end of a batch job that was killed; the last one for a script that hides the exit code."""
QUICK = Patience(first_poll_s=0.001, last_poll_s=0.002)
_CHANGES = ("os.rename", "os.remove", "os.link", "os.mkdir", "os.rmdir", "os.utime", "os.truncate", "os.symlink")


class Killed(BaseException):
    """The worker is gone, at this very step."""


@dataclass(frozen=True)
class Plan:
    """One job, and how far it gets. `allowed`: what may be missing, `nothing`, `outputs`, or `log` (the outputs and the log)."""

    map_type: MapType = MapType.ONE_TO_ONE
    allowed: str = "outputs"
    events_per_output: int = 20
    """Of four inputs with ten events each."""
    merged: int = 40
    """Events that are in outputs when the session ends."""
    allow_event_loss: bool = False

    def __str__(self) -> str:
        loss = ", loss allowed" if self.allow_event_loss else ""
        return f"{self.map_type}, {self.allowed} may be missing, {self.events_per_output} per output, {self.merged} of 40{loss}"


@dataclass
class Verdict:
    """What PanDA makes of a job whose worker ended at some step."""

    at: str
    status: str
    lost: tuple[str, ...]
    """Inputs taken for done although an output of theirs is missing."""
    twice: tuple[str, ...]
    """Outputs PanDA has of inputs that another job will do again."""
    complaints: tuple[str, ...]
    silent: bool = False
    """The worker had not written anything yet that Harvester reads: nobody can be told anything so early."""

    @property
    def wrong(self) -> bool:
        return bool(self.lost or self.twice or self.complaints)


class OnSite:
    """One job of PanDA's in one access point, life after life."""

    def __init__(self, directory: Path, plan: Plan) -> None:
        self.directory, self.plan = directory, plan
        self.document = self._document()
        self.panda = PandaDouble(self.document)
        clockwork = Clockwork(monitor_s=3.0)
        self.double = HarvesterDouble(directory / "point", self.panda, Races(), clockwork=clockwork, map_type=str(plan.map_type))
        self.double.submit(self.document, directory / "tasks" / "30737678")
        self.merged: list[FinalOutput] = []
        """What a ledger would hold."""
        self.now = 0.0
        self.exit_code: int | None = None

    def _document(self) -> dict[str, Any]:
        (document,) = json.loads(FIXTURE.read_text()).values()
        place = self.directory / "inputs"
        place.mkdir(parents=True)
        lfns = document["inFiles"].split(",")
        for lfn in lfns:
            (place / lfn).write_bytes(lfn.encode())
        count = 40 // self.plan.events_per_output
        outputs = [f"HITS.30737678._{n:06d}.pool.root.1" for n in range(1, count + 1)]
        for key in [key for key in document if key.endswith(("ForOut", "ForOutput")) or key in _PER_OUTPUT]:
            document[key] = "NULL"
        document |= {
            "inFilePaths": ",".join(str(place / lfn) for lfn in lfns),
            "fsize": ",".join(str(len(lfn)) for lfn in lfns),
            "checksum": ",".join("NULL" for _ in lfns),
            "outFiles": ",".join([*outputs, document["logFile"]]),
        }
        document["esmergeSpec"]["nEventsPerOutputFile"] = self.plan.events_per_output
        allowed = {"nothing": [], "outputs": outputs, "log": [*outputs, document["logFile"]]}[self.plan.allowed]
        # PanDA says nothing where it allows nothing
        return document | ({"allowNoOutput": ",".join(allowed)} if allowed else {})

    # ---- a life

    def live(self) -> int:
        """One start of the command, to its end. Raises Killed where `Steps` says so."""
        worker = _Worker(
            AccessPoint(self.directory / "point", FileNames()),
            self.plan.map_type,
            worker_id="17",
            patience_s=1000.0,
            patience=QUICK,
            clock=lambda: self.now,
            sleep=lambda _: self._harvester(),
            allow_event_loss=self.plan.allow_event_loss,
            merged=self.merged,
        )
        try:
            ending = self._session(worker)
        except InvalidInput as problem:
            ending = Ending(int(ExitCode.INVALID_INPUT), str(problem), FAULTS["InvalidInput"])
        self.exit_code = worker.end(ending).exit_code
        return self.exit_code

    def _harvester(self) -> None:
        self.now += 1.0
        self.double.step(self.now)

    def _session(self, worker: _Worker) -> Ending:
        job = worker.wait_for_job(PayloadSpec("python"), MergeSpec("concat"), late_binding=False)
        task = worker.choose_task_directory(None)
        task.mkdir(parents=True, exist_ok=True)
        options = worker.gateway(1000.0).options
        gateway = HarvesterGateway(GatewayContext(job, "session", task, options))
        for output in self.merged:
            gateway.output_merged(output)
        asyncio.run(self._merge(job, task, gateway))
        if self.plan.merged == 40:
            return Ending(0, "complete", None, 40)
        return Ending(5, "stopped by SIGTERM", FAULTS["SIGTERM"], self.plan.merged)

    async def _merge(self, job: Job, task: Path, gateway: HarvesterGateway) -> None:
        await gateway._turn()
        for number, lfn in enumerate(job.outputs, start=1):
            if number * job.events_per_output > self.plan.merged or any(each.lfn == lfn for each in self.merged):
                continue
            self.merged.append(_output(task / lfn, job.events_per_output))
            gateway.output_merged(self.merged[-1])
            await gateway._turn()
            self._harvester()
        result = SessionResult("complete", "", ExitCode.OK, None)  # type: ignore[arg-type]
        taking = asyncio.create_task(self._keep_taking())
        await gateway.ended(result)
        taking.cancel()

    async def _keep_taking(self) -> None:
        while True:
            await asyncio.sleep(0.001)
            self._harvester()

    # ---- what would be

    def verdicts(self, at: str, ends: tuple[str, ...] = ENDS) -> Iterator[Verdict]:
        """What PanDA would make of the job if the batch job ended now, in each of the ways a batch job may end."""
        for end in ends:
            point = self.directory / "what-if"
            shutil.rmtree(point, ignore_errors=True)
            shutil.copytree(self.directory / "point", point, symlinks=True)
            what_if = self.double.elsewhere(point)
            what_if.worker_ended(137, end)
            yield self._verdict(what_if.panda, f"{end} before {at}")

    def ended(self, batch: str = "") -> Verdict:
        """The batch job is over."""
        assert self.exit_code is not None
        self.double.worker_ended(self.exit_code, batch)
        return self._verdict(self.panda, "the end")

    def _verdict(self, panda: PandaDouble, at: str) -> Verdict:
        lost = tuple(lfn for lfn in panda.inputs_done if not self._outputs_of(lfn) <= panda.registered.keys())
        again = [lfn for lfn in self.document["inFiles"].split(",") if lfn not in panda.inputs_done]
        twice = tuple(sorted(out for lfn in again for out in self._outputs_of(lfn) if out in panda.registered))
        # a kill leaves what it leaves; that post-processing writes over it is no fault of the worker
        complaints = tuple(text for text in panda.complaints if "written over by post-processing" not in text)
        silent = not (self.directory / "point" / "worker_attributes.json").exists()
        return Verdict(at, panda.status, lost, twice, complaints, silent)

    def _outputs_of(self, lfn: str) -> set[str]:
        number, per_output = self.document["inFiles"].split(",").index(lfn), self.plan.events_per_output
        outputs = self.document["outFiles"].split(",")
        return {outputs[event // per_output] for event in range(10 * number, 10 * number + 10)}


_PER_OUTPUT = (
    "destinationDblock", "destinationDBlockToken", "realDatasets", "fileDestinationSE", "ddmEndPointOut", "scopeOut",
)  # fmt: skip


@dataclass
class _Worker(HarvesterWorker):
    """The real one, whose ledger is a list."""

    merged: list[FinalOutput] = field(default_factory=list)

    def _deliverables(self) -> Deliverables | None:
        if self.job is None or self.job.ranges_given:
            return None
        deliverables = Deliverables(self.job)
        for output in self.merged:
            deliverables.add(output)
        return deliverables


def _output(path: Path, n_events: int) -> FinalOutput:
    data = path.name.encode() * 10
    path.write_bytes(data)
    return FinalOutput(path.name, str(path), "3FC2D896-2DCD-51F2-953F-4FF5D82757C2", len(data), zlib.adler32(data), n_events)


# ---- steps


class Steps:
    """Everything the worker does to a directory, one after the other. `each` is called before every step with its name."""

    def __init__(self, directory: Path, each: Callable[[str], None] | None = None, kill_at: int | None = None) -> None:
        self._directory = str(directory)
        self._each, self._kill_at = each, kill_at
        self._busy = False
        self.count = 0
        self.names: Counter[str] = Counter()

    @contextmanager
    def counted(self, double: HarvesterDouble) -> Iterator[None]:
        """Count what happens in this block; what Harvester does is no step of the worker's."""
        step = double.step

        def harvester(now: float) -> None:
            with self._aside():
                step(now)

        double.step = harvester  # type: ignore[method-assign]
        _watch(self)
        try:
            yield
        finally:
            _watch(None)
            double.step = step  # type: ignore[method-assign]

    @contextmanager
    def _aside(self) -> Iterator[None]:
        before, self._busy = self._busy, True
        try:
            yield
        finally:
            self._busy = before

    def heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        """An audit event."""
        if self._busy or not (name := self._step(event, arguments)):
            return
        if self._kill_at is not None and self.count >= self._kill_at:
            raise Killed
        self.count += 1
        self.names[name] += 1
        if self._each is not None:
            with self._aside():
                self._each(f"step {self.count}, {name}")

    def _step(self, event: str, arguments: tuple[Any, ...]) -> str:
        """What a step is called; empty: it is none, or somewhere else."""
        if event == "open":
            path, _, flags = arguments
            if not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                return ""
        elif event in _CHANGES:
            path = arguments[0]
        else:
            return ""
        where = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else ""
        if not where.startswith(self._directory):
            return ""
        return f"{event} {Path(where).relative_to(self._directory)}"


_watching: list[Steps] = []


def _watch(steps: Steps | None) -> None:
    """Audit hooks stay for ever, so there is one, and it asks who listens."""
    if not _hooked:
        sys.addaudithook(_heard)
        _hooked.append(True)
    _watching[:] = [] if steps is None else [steps]


_hooked: list[bool] = []


def _heard(event: str, arguments: tuple[Any, ...]) -> None:
    if _watching:
        _watching[0].heard(event, arguments)


# ---- histories


def every_step(directory: Path, plan: Plan, ends: tuple[str, ...] = ENDS) -> tuple[list[Verdict], OnSite]:
    """One life, asked at every step what would be if it were the last one; and how it really ended, last."""
    site = OnSite(directory, plan)
    found: list[Verdict] = []
    steps = Steps(directory, lambda name: found.extend(site.verdicts(name, ends)))
    with steps.counted(site.double):
        site.live()
    found.append(site.ended())
    return found, site


def killed_and_started_again(directory: Path, plan: Plan, kill_at: int) -> tuple[bool, list[Verdict]]:
    """A life that ends at a step, and the next one, asked at every step. Whether the first one came as far as that."""
    site = OnSite(directory, plan)
    first = Steps(directory, kill_at=kill_at)
    try:
        with first.counted(site.double):
            site.live()
    except Killed:
        pass
    else:
        return False, []
    found = list(site.verdicts(f"started again after {kill_at} steps"))
    again = Steps(directory, lambda name: found.extend(site.verdicts(f"{name}, after a kill at {kill_at}", ("TIMEOUT",))))
    with again.counted(site.double):
        site.live()
    found.append(site.ended())
    return True, found
