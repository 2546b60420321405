"""Made-up task directories, and the program run in this process."""

from __future__ import annotations

import json
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from raythena.cli.app import main
from raythena.domain.job import InputFile, Job, MergeSpec, PayloadSpec
from raythena.domain.progress import NodeProgress, Progress
from raythena.domain.records import AttemptFailed, GroupStored, OutputMerged
from raythena.domain.results import ENTRY_DTYPE, FailureKind, GroupReport, MergedOutput
from raythena.storage.ledger import Ledger, SessionInfo
from raythena.storage.taskdir import TaskDirectory

GUID = "01234567-89AB-CDEF-0123-456789ABCDEF"


@dataclass(frozen=True)
class Ran:
    """What a run of the program left."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Run the program in an empty directory with a clean environment."""
    for variable in [name for name in os.environ if name.startswith("RAYTHENA_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")

    def run_program(*arguments: object) -> Ran:
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Ran(int(end.value.code or 0), captured.out, captured.err)

    return run_program


@pytest.fixture
def job() -> Job:
    """Two inputs of 6 events, three outputs of 4."""
    inputs = tuple(InputFile(f"EVNT.{n}.root", f"/data/EVNT.{n}.root", 6) for n in (1, 2))
    return Job(
        name="sim",
        inputs=inputs,
        outputs=("HITS.1", "HITS.2", "HITS.3", "HITS.4"),
        payload=PayloadSpec("python", {"function": "module:name"}),
        merge=MergeSpec(),
        events_per_output=4,
        job_id="4711",
    )


@pytest.fixture
def task(tmp_path) -> TaskDirectory:
    """An empty task directory."""
    directory = TaskDirectory(tmp_path / "sim.raythena")
    directory.root.mkdir()
    return directory


@pytest.fixture
def computed(task, job) -> TaskDirectory:
    """A task with six events finished, four of them merged, one failed and five open."""
    task.job.write_text(json.dumps(job.to_dict()))
    ledger = Ledger.create(task.ledger, job)
    ledger.begin_session(SessionInfo("s1", "host", 1, 1_700_000_000.0))
    merged = MergedOutput(0, "HITS.1", "outputs/HITS.1", GUID, 4000, 0xABC, 4)
    ledger.commit([GroupStored(group("g0", 0, [0, 1, 2, 3])), GroupStored(group("g1", 1, [5])), GroupStored(group("g2", 2, [6]))])
    ledger.commit(
        [
            OutputMerged(merged, ("g0",)),
            AttemptFailed(4, 1, "alpha.1", FailureKind.HANG, "no end in sight", False, 1_700_000_001.0),
            AttemptFailed(4, 2, "alpha.1", FailureKind.CRASH, "killed by\nsignal 11", True, 1_700_000_002.0),
        ]
    )
    ledger.end_session("incomplete", 1_700_000_100.0)
    ledger.close()
    return task


def group(name: str, output: int, ranges: list[int]) -> GroupReport:
    """A group of one-second events of a kilobyte."""
    entries = np.zeros(len(ranges), dtype=ENTRY_DTYPE)
    entries["range"] = ranges
    entries["size"], entries["adler32"], entries["attempt"] = 1000, 0x1F, 1
    entries["cpu_s"], entries["wall_s"], entries["start"] = 0.75, 1.0, 1_700_000_000.5
    return GroupReport(name, "alpha.1", output, f"staging/{name}.zip", 1000 * len(ranges), 1, entries)


@pytest.fixture
def write_status(task):
    """Write a status.json; keywords change the document, also to something broken."""

    def write(**changes: object) -> Path:
        progress = Progress(
            job="sim",
            phase="running",
            events=12,
            ready=5,
            leased=2,
            stored=2,
            merged=2,
            failed=1,
            attempts_failed=1,
            outputs=3,
            outputs_merged=1,
            merging=0,
            resumed=0,
            rate_per_s=0.5,
            remaining_s=14.0,
            elapsed_s=10.0,
            occupancy=0.99,
            nodes=(NodeProgress("alpha", "up", 2, 2, 2, 4, 0.99, 1.5),),
        )
        written = {"written_at": time.time(), "host": socket.gethostname(), "pid": os.getpid()}
        task.status.write_text(json.dumps({**progress.to_dict(), **written, **changes}))
        return task.status

    return write
