"""A site for tests on real clusters: an access point, ROOT inputs, the double in a thread, and the real command."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
import uuid
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import root_payload
import uproot
import yaml

from harvester_double import HarvesterDouble, PandaDouble, Races
from harvester_double.double import Clockwork
from harvester_double.panda import Event
from job_kit import MARK, PATIENCE_S, RAYTHENA, eventually, raythena_processes

OUTPUTS = ("HITS.30737678._000001.pool.root.1", "HITS.30737678._000002.pool.root.1")
LOG = "log.30737678._5750099001.job.log.tgz"
FIXTURES = Path(__file__).parents[1] / "fixtures" / "harvester"
RACES = replace(Races.all(), forgotten_requests=False)
"""A request that is forgotten is made again after the better part of a minute: that is for tests with a clock of their own."""
_PER_OUTPUT = (
    "dispatchDBlockTokenForOut",
    "destinationDblock",
    "destinationDBlockToken",
    "realDatasets",
    "fileDestinationSE",
    "prodDBlockTokenForOutput",
)
QUICK = Clockwork(monitor_s=1.0, feed_s=0.4, delay_s=0.6)


class Site:
    """One worker: its job, its directory, Harvester beside it."""

    def __init__(
        self,
        directory: Path,
        kind: str,
        events: int,
        seed: int = 1,
        *,
        document: dict[str, Any] | None = None,
        races: Races = RACES,
        payload: dict[str, Any] | None = None,
    ) -> None:
        self.directory = directory
        self.events = events
        self.document = document or self._document(kind, events)
        self.point = directory / f"point-{self.document['PandaID']}"
        given = [] if kind == "merge" else [(lfn, guid, events) for lfn, guid in self._inputs()]
        self.panda = PandaDouble(self.document, given)
        self.double = HarvesterDouble(self.point, self.panda, races, seed, QUICK)
        task = directory / "tasks" / str(self.document["taskID"])
        self.double.submit(self.document, task if kind == "merge" else None)
        self.hold = directory / "hold"
        if document is None:
            self.hold.touch()
            self._write_payload(payload or {})
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep_going, daemon=True)

    def next_job(self) -> Site:
        """What PanDA makes of a job that was partly done: the inputs left out, another output, another number."""
        left = [self.document["inFiles"].split(",").index(lfn) for lfn in self.panda.skipped]
        document = dict(self.document)
        for key in ("inFiles", "GUID", "fsize", "checksum", "inFilePaths"):
            values = self.document[key].split(",")
            document[key] = ",".join(values[index] for index in left)
        number = self.document["PandaID"] + 1
        log = self.document["logFile"].replace(str(self.document["PandaID"]), str(number))
        output = "HITS.30737678._000003.pool.root.1"
        document |= {"PandaID": number, "logFile": log, "outFiles": f"{output},{log}", "allowNoOutput": output}
        for key in _PER_OUTPUT:
            document[key] = "NULL,NULL"
        document["scopeOut"] = document["ddmEndPointOut"] = "NULL"
        return Site(self.directory, "merge", self.events, 7, document=document)

    def _inputs(self) -> list[tuple[str, str]]:
        return list(zip(self.document["inFiles"].split(","), self.document["GUID"].split(","), strict=True))

    def _document(self, kind: str, events: int) -> dict[str, Any]:
        (document,) = json.loads((FIXTURES / f"{kind}-HPCJobs.json").read_text()).values()
        directory = self.directory / "inputs"
        directory.mkdir(parents=True)
        paths = [directory / lfn for lfn in document["inFiles"].split(",")]
        for number, path in enumerate(paths):
            with uproot.recreate(path) as file:
                file.mktree("EVNT", {"EventNumber": "int64"})
                file["EVNT"].extend({"EventNumber": np.arange(events) + 1000 * (number + 1)})
        document["inFilePaths"] = ",".join(map(str, paths))
        document["fsize"] = ",".join(str(path.stat().st_size) for path in paths)
        document["checksum"] = ",".join(f"ad:{zlib.adler32(path.read_bytes()):08x}" for path in paths)
        if kind == "merge":
            document["nEventsPerInputFile"] = events
            document["esmergeSpec"]["nEventsPerOutputFile"] = 2 * events
            document["allowNoOutput"] = ",".join(OUTPUTS)
        return document

    def _write_payload(self, more: dict[str, Any]) -> None:
        here = str(Path(root_payload.__file__).parent)
        options = {"hold": str(self.hold), "held": self.document["inFiles"].split(",")[2:], **more}
        python = {"python": "root_payload:process", "setup": "root_payload:setup", "options": options, "path": [here]}
        (self.directory / "payload.yaml").write_text(yaml.safe_dump({"payload": python, "merge": "root"}))
        (self.directory / "scratch").mkdir()

    # ---- Harvester

    def __enter__(self) -> Site:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10.0)

    def _keep_going(self) -> None:
        while not self._stop.is_set():
            self.double.step(time.monotonic())
            time.sleep(0.05)

    def ended(self, exit_code: int, batch: str = "") -> None:
        """The batch job is over; `batch` is Slurm's word for how."""
        self.__exit__()
        self.double.worker_ended(exit_code, batch)

    # ---- what must be there

    def expected(self, inputs: range) -> list[int]:
        """Event numbers of some inputs, in order."""
        return [1000 * (number + 1) + event for number in inputs for event in range(self.events)]

    def number(self, event: Event) -> int:
        """The number of an event, as its output must say it."""
        return 1000 * (self.document["inFiles"].split(",").index(event.lfn) + 1) + event.number - 1

    def output_of(self, event: Event) -> Path:
        """The output of one event, as PanDA has it; taken out of its archive where it is in one."""
        path = Path(event.path)
        if path.suffix != ".zip":
            return path
        with zipfile.ZipFile(path) as archive:
            (name,) = [each for each in archive.namelist() if each.endswith(self.panda.range_id(event))]
            return Path(archive.extract(name, self.directory / "unpacked" / path.name))

    def task_directory(self) -> Path:
        return Path((self.point / "task_workdir_path.txt").read_text())


def hits(path: Path) -> list[int]:
    """Event numbers in an output; each with the energy it must have."""
    with uproot.open(path) as file:
        arrays = file["HITS"].arrays(library="np")
    numbers: list[int] = arrays["EventNumber"].tolist()
    assert arrays["Energy"].tolist() == [root_payload.energy(number) for number in numbers]
    return numbers


class Harvest:
    """`raythena harvest` as a process of its own."""

    def __init__(self, mark: str, site: Site, *options: str, nodes: int = 1) -> None:
        self.mark = mark
        self._base = site.directory / f"harvest-{uuid.uuid4().hex[:6]}"
        argv = [*RAYTHENA, "harvest", "--access-point", str(site.point), "--payload", str(site.directory / "payload.yaml")]
        argv += ["--json", "--nodes", str(nodes), "--set", f"runtime.scratch_dir={site.directory / 'scratch'}"]
        argv += ["--set", "runtime.group_age_s=0.5", *options]
        surroundings = {**os.environ, MARK: mark}
        with self._base.with_suffix(".out").open("wb") as out, self._base.with_suffix(".err").open("wb") as err:
            self.process = subprocess.Popen(argv, stdout=out, stderr=err, env=surroundings, start_new_session=True)

    @property
    def errors(self) -> str:
        return self._base.with_suffix(".err").read_text()

    def progress(self) -> dict[str, Any]:
        lines = self._base.with_suffix(".out").read_text().split("\n")[:-1]
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return next((line for line in reversed(found) if line.get("type") == "progress"), {})

    def until(self, condition: Any, what: str) -> None:
        def asked() -> bool:
            assert self.process.poll() is None, f"the command ended before: {what}\n{self.errors}"
            progress = self.progress()
            return bool(progress) and condition(progress)

        eventually(asked, what)

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        return self.process.wait(2 * PATIENCE_S)

    def kill_everything(self) -> None:
        """The node has lost its power."""
        for process in raythena_processes(self.mark):
            process.kill()
        self.process.wait(PATIENCE_S)
        eventually(lambda: not raythena_processes(self.mark), "no process left")
