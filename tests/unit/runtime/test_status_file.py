"""The status file says who wrote it and when; a disk that refuses stops nobody."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest

from raythena.domain.progress import Progress
from raythena.runtime.status_file import StatusFile
from raythena.testing.clocks import ManualClock


@pytest.fixture
def progress() -> Progress:
    numbers = {field.name: 7 for field in fields(Progress) if field.type in ("int", "float", "float | None")}
    return Progress(job="test", phase="running", **numbers)


def test_the_status_tells_who_wrote_it_and_when(tmp_path, progress):
    StatusFile(tmp_path / "status.json", ManualClock(500.0)).write(progress, {"verdict": "complete"})
    document = json.loads((tmp_path / "status.json").read_text())
    assert (document["written_at"], document["verdict"], document["events"]) == (500.0, "complete", 7)
    assert document["pid"] > 0


def test_a_disk_that_refuses_is_told_in_the_log_only(tmp_path, progress, caplog):
    StatusFile(tmp_path / "no directory" / "status.json", ManualClock()).write(progress, {})
    assert "cannot write the status" in caplog.text
