"""The demo as a job."""

from __future__ import annotations

import pkgutil
from pathlib import Path
from typing import Any

import pytest

from raythena.demo import workload
from raythena.domain.errors import InvalidInput
from raythena.domain.job import Job
from raythena.domain.outputs import OutputMap
from raythena.domain.records import OutputMerged
from raythena.domain.results import MergedOutput
from raythena.storage.ledger import Ledger, SessionInfo
from raythena.storage.taskdir import TaskDirectory


def test_the_job_says_what_is_there(demo_job: Job) -> None:
    assert demo_job.n_events == 12
    assert demo_job.outputs == tuple(f"HITS.{n:06d}.root" for n in range(1, 5))
    assert demo_job.payload.kind == "python"
    assert demo_job.payload.options["function"] == "raythena.demo.simulation:process"
    assert demo_job.merge.kind == "root"
    for file in demo_job.inputs:
        assert Path(file.pfn).stat().st_size == file.size_bytes
        assert Path(file.pfn).is_absolute()
    assert len({file.guid for file in demo_job.inputs}) == 2


def test_the_job_can_be_repeated(demo_job: Job) -> None:
    directory = Path(demo_job.inputs[0].pfn).parent
    again = workload.prepare_demo(directory, events=12, files=2, events_per_output=4, seed=7, pileup=1.5)
    assert again == demo_job
    assert again.fingerprint() == Job.from_dict(demo_job.to_dict()).fingerprint()


def test_the_default_puts_whole_files_together() -> None:
    per_file = workload.DEFAULT_EVENTS // workload.DEFAULT_FILES
    plan = OutputMap.plan([per_file] * workload.DEFAULT_FILES, workload.DEFAULT_EVENTS_PER_OUTPUT)
    assert workload.DEFAULT_FILES > plan.n_outputs > 1


def test_both_jobs_name_functions_that_are_there(demo_job: Job, finished: TaskDirectory) -> None:
    for job in (demo_job, workload.reconstruction_job(demo_job, finished)):
        for name in job.payload.options.values():
            assert callable(pkgutil.resolve_name(name))


@pytest.fixture
def finished(demo_job: Job, tmp_path: Path) -> TaskDirectory:
    """The task directory of `demo_job` in which three outputs were merged, one of them without two of its events."""
    task = TaskDirectory(tmp_path)
    ledger = Ledger.create(task.ledger, demo_job)
    ledger.begin_session(SessionInfo("s", "host", 1, 0.0))
    for number, events in ((2, 4), (0, 4), (3, 0)):
        guid = f"0B6C2D2E-6E0B-4E5C-8A4C-5B1B6A1C7D1{number}"
        merged = MergedOutput(
            number, demo_job.outputs[number], f"outputs/{demo_job.outputs[number]}", guid, 1000 + number, 7, events
        )
        ledger.commit([OutputMerged(merged, ())])
    ledger.close()
    return task


class TestReconstructionJob:
    """The second job takes what the first one made."""

    def test_its_inputs_are_the_merged_outputs_as_the_ledger_knows_them(self, demo_job: Job, finished: TaskDirectory) -> None:
        job = workload.reconstruction_job(demo_job, finished)
        assert [(file.lfn, file.n_events, file.size_bytes) for file in job.inputs] == [
            ("HITS.000001.root", 4, 1000),
            ("HITS.000003.root", 4, 1002),
        ]
        assert [file.pfn for file in job.inputs] == [str(finished.outputs / file.lfn) for file in job.inputs]
        assert [file.guid[-1] for file in job.inputs] == ["0", "2"]
        assert {file.checksum for file in job.inputs} == {"ad:00000007"}

    def test_it_makes_an_aod_for_each_of_them(self, demo_job: Job, finished: TaskDirectory) -> None:
        job = workload.reconstruction_job(demo_job, finished)
        assert job.outputs == ("AOD.000001.root", "AOD.000002.root")
        assert job.payload.options["function"] == "raythena.demo.reconstruction:process"
        assert workload.reconstruction_job(demo_job, finished).fingerprint() == job.fingerprint()


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"events": 10, "files": 4}, "events"),
        ({"events": 0}, "events"),
        ({"files": 0}, "events"),
        ({"events_per_output": 0}, "events_per_output"),
        ({"pileup": -1}, "pileup"),
        ({"seed": -1}, "seed"),
    ],
)
def test_wrong_numbers_are_refused_before_anything_is_generated(tmp_path: Path, wrong: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        workload.prepare_demo(tmp_path, **wrong)
    assert refusal.value.field == field
    assert list(tmp_path.iterdir()) == []
