"""Ranges handed out while the job runs, reported once, whatever is killed; and jobs that merge nothing."""

from __future__ import annotations

import json
import zipfile
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from job_kit import ToyJob, eventually, make_job
from raythena.domain.errors import ExitCode
from raythena.domain.job import NO_MERGE, MergeSpec
from raythena.domain.ranges import EventRange
from raythena.runtime.session_config import Delivery, DeliveryForm, GatewaySpec
from raythena.storage.ledger_view import LedgerView
from raythena.testing.synthetic import expected_output

EVENTS = {"wall_s": 0.02, "as_file": False}


class GivenJob:
    """A toy job whose events are handed out by a memory gateway, which writes down what it is told."""

    def __init__(self, directory: Path, inputs: list[int], delivery: Delivery | None = None) -> None:
        self.toy = make_job(directory, inputs, 10_000, EVENTS)
        files = tuple(replace(file, n_events=0) for file in self.toy.job.inputs)
        self.job = replace(self.toy.job, inputs=files, merge=MergeSpec(NO_MERGE), ranges_given=True)
        self.ranges = [
            EventRange(f"77-88-{number}-{event}-3", file.lfn, file.pfn, file.guid, event, event)
            for number, (file, events) in enumerate(zip(files, inputs, strict=True))
            for event in range(1, events + 1)
        ]
        self.journal = directory / "told"
        options = {"ranges": [asdict(each) for each in self.ranges], "per_answer": 60, "journal": str(self.journal)}
        self.gateway = GatewaySpec("memory", options)
        self.delivery = delivery or Delivery()

    def told(self, what: str) -> list:
        """Everything of one kind in the journal; the last line may still be being written."""
        lines = self.journal.read_text().split("\n")[:-1] if self.journal.exists() else []
        return [content for kind, content in map(json.loads, lines) if kind == what]

    def outputs(self) -> dict[str, bytes]:
        """The reported output of every range. No range is told two different things."""
        places: dict[str, tuple[str, str]] = {}
        for report in self.told("report"):
            for each in report["ranges"]:
                assert each["status"] == "finished"
                name = f"{self.job.outputs[0]}.{each['range_id']}"
                place = (report["archive"]["path"], name) if report["archive"] else (each["file"]["path"], "")
                assert places.setdefault(each["range_id"], place) == place
        return {range_id: _content(*place) for range_id, place in places.items()}

    def assert_all_reported(self) -> None:
        assert self.outputs() == {each.range_id: expected_output(each.range_id, 64) for each in self.ranges}
        with LedgerView.read(self.toy.task / "ledger.sqlite") as view:
            committed = [index for chunk in view.iter_events() for index in chunk.events["range"].tolist()]
            assert sorted(committed) == list(range(len(self.ranges))), "a range was committed twice, or not at all"
            restored = view.restore()
            assert {group.name for group in restored.groups} == restored.reported


def _content(path: str, member: str) -> bytes:
    if not member:
        return Path(path).read_bytes()
    with zipfile.ZipFile(path) as archive:
        return archive.read(member)


def begin(cluster, given: GivenJob):
    session = cluster.session(given.toy)
    session.change(job=given.job, gateway=given.gateway, delivery=given.delivery)
    return session


@pytest.mark.parametrize("victims", [("coordinator",), ("agent",), ("coordinator", "agent")])
def test_every_range_is_reported_once_whatever_is_killed(cluster, tmp_path, victims):
    given = GivenJob(tmp_path, [300, 150])
    with begin(cluster, given) as session:
        eventually(lambda: len(given.told("report")) > 2, "the first reports")
        for role in victims:
            session.one(role).kill()
        result = session.end()
    assert (result.exit_code, result.reason) == (ExitCode.OK, "every event is reported")
    given.assert_all_reported()
    assert {told["outcome"] for told in given.told("ended")} == {"complete"}


def test_every_output_is_a_file_of_its_own(cluster, tmp_path):
    delivery = Delivery(DeliveryForm.FILES, str(tmp_path / "access-point"))
    given = GivenJob(tmp_path / "job", [30], delivery)
    with begin(cluster, given) as session:
        assert session.end().exit_code is ExitCode.OK
    given.assert_all_reported()
    files = [path for path in (tmp_path / "access-point").rglob("*") if path.is_file()]
    assert len(files) == 30


def test_a_job_that_merges_nothing_keeps_its_groups(cluster, tmp_path):
    toy = make_job(tmp_path, [60, 40], 50, EVENTS, merge="none")
    result = cluster.run(toy)
    assert result.exit_code is ExitCode.OK, result.reason
    assert contents_of_groups(toy) == {index: expected_output(range_id(toy, index), 64) for index in range(100)}
    assert toy.report()["raythena"]["events"] == {"total": 100, "merged": 0, "stored": 100, "failed": 0, "unfinished": 0}
    assert cluster.run(toy, resume=True).exit_code is ExitCode.OK


def range_id(toy: ToyJob, index: int) -> str:
    file, event = (0, index + 1) if index < 60 else (1, index - 59)
    return f"{toy.job.inputs[file].lfn}-{event}"


def contents_of_groups(toy: ToyJob) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    for path in (toy.task / "staging").rglob("*.zip"):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                assert int(name) not in found
                found[int(name)] = archive.read(name)
    return found
