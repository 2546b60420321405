"""The demo as a job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from raythena.demo import workload
from raythena.domain.errors import InvalidInput
from raythena.domain.job import Job
from raythena.domain.outputs import OutputMap


def test_the_job_says_what_is_there(demo_job: Job) -> None:
    assert demo_job.n_events == 12
    assert demo_job.outputs == tuple(f"HITS.{n:06d}.root" for n in range(1, 5))
    assert demo_job.payload.kind == "python"
    assert demo_job.payload.options == workload.simulation_options(0.5)
    assert demo_job.merge.kind == "root"
    for file in demo_job.inputs:
        assert Path(file.pfn).stat().st_size == file.size_bytes
        assert Path(file.pfn).is_absolute()
    assert len({file.guid for file in demo_job.inputs}) == 2


def test_the_job_can_be_repeated(demo_job: Job) -> None:
    directory = Path(demo_job.inputs[0].pfn).parent
    again = workload.prepare_demo(directory, events=12, files=2, events_per_output=4, seed=7, cost=0.5)
    assert again == demo_job
    assert again.fingerprint() == Job.from_dict(demo_job.to_dict()).fingerprint()


def test_the_default_puts_whole_files_together() -> None:
    per_file = workload.DEFAULT_EVENTS // workload.DEFAULT_FILES
    plan = OutputMap.plan([per_file] * workload.DEFAULT_FILES, workload.DEFAULT_EVENTS_PER_OUTPUT)
    assert workload.DEFAULT_FILES > plan.n_outputs > 1


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"events": 10, "files": 4}, "events"),
        ({"events": 0}, "events"),
        ({"files": 0}, "events"),
        ({"events_per_output": 0}, "events_per_output"),
        ({"cost": -1}, "cost"),
        ({"seed": -1}, "seed"),
    ],
)
def test_wrong_numbers_are_refused_before_anything_is_generated(tmp_path: Path, wrong: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        workload.prepare_demo(tmp_path, **wrong)
    assert refusal.value.field == field
    assert list(tmp_path.iterdir()) == []
