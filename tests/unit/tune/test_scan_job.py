"""A scan as a job, and what came of it, read back from a ledger and archives."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scan_runs import SPACE

from raythena.cli.tune import _document, _lines, fits
from raythena.domain.document import FieldPath
from raythena.domain.errors import ExitCode, InvalidInput
from raythena.domain.event_range import EventRange
from raythena.domain.given_ranges import GivenRanges
from raythena.domain.ids import OutputNumber, RangeIndex
from raythena.domain.job import Job
from raythena.domain.progress import Progress
from raythena.domain.ranges import RangeLayout
from raythena.domain.records import AttemptFailed, GroupStored, RangesTaken
from raythena.domain.results import ENTRY_DTYPE, FailureKind, GroupReport
from raythena.domain.scan.scan_file import Scan, parse_scan
from raythena.domain.scan.space_document import parse_space
from raythena.domain.scan.trial import Point, TrialReport, TrialResult
from raythena.engine.engine import Engine
from raythena.runtime.gateway_runner import history_of
from raythena.runtime.payload_interface import payload_plugin
from raythena.runtime.session_config import SessionConfig
from raythena.runtime.session_end import SessionResult
from raythena.storage.groups import Member, write_group
from raythena.storage.ledger import Ledger, SessionInfo
from raythena.storage.taskdir import TaskDirectory
from raythena.tune.optuna_export import write_study
from raythena.tune.scan_job import scan_job, scan_session
from raythena.tune.scan_results import losses_table, points_table, read_scan, write_tables

DOCUMENT: dict[str, object] = {
    "name": "bdt",
    "space": {**SPACE, "layers": [[8], [16, 8]]},
    "budget": {"points": 10},
    "trial": {"python": "training:train"},
}
ARGUMENTS = {"rate": 0.1, "depth": 4, "kind": "tree", "shift": 0.5, "leaves": 10, "rounds": 100, "layers": [16, 8]}


def scan_and_job(directory: Path, **keys: object) -> tuple[Scan, Job]:
    document = {**DOCUMENT, **keys}
    scan = parse_scan(document, "scan.yaml")
    return scan, scan_job(scan, document, directory / "scan.yaml")


def test_a_scan_is_a_job_whose_ranges_come_while_it_runs(tmp_path):
    _, job = scan_and_job(tmp_path, trial={"python": "training:train", "path": ["lib"]}, early_stopping={"rule": "asha"})
    assert job.ranges_given
    assert (job.merge.kind, job.outputs) == ("none", ("trial",))
    assert job.payload.options == {
        "python": "training:train",
        "path": [str(tmp_path / "lib")],
        "objectives": {"loss": "minimize"},
        "early_stopping": "asha",
    }
    check = payload_plugin(job.payload.kind).check_options
    assert check is not None
    check(job.payload.options, "job")


@pytest.mark.parametrize(
    ("command", "started"), [(["./train", "-x"], "{}/train"), (["train"], "train"), (["/bin/train"], "/bin/train")]
)
def test_a_program_with_a_path_lies_beside_the_scan_file(tmp_path, command, started):
    _, job = scan_and_job(tmp_path, trial={"command": command})
    assert Path(job.payload.options["command"][0]) == Path(started.format(tmp_path))


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"budget": {"points": 99}}, True),
        ({"trial": {"command": ["other"]}}, True),
        ({"space": {"x": [1]}}, False),
        ({"search": {"method": "random", "seed": 9}}, False),
        ({"objective": {"loss": "maximize"}}, False),
        ({"early_stopping": {"rule": "median"}}, False),
    ],
)
def test_the_budget_may_grow_and_the_program_be_repaired_what_is_searched_may_not_change(tmp_path, change, same):
    prints = [scan_and_job(tmp_path, **keys)[1].fingerprint() for keys in ({}, change)]
    assert (prints[0] == prints[1]) is same


def test_the_session_of_a_scan_computes_no_trial_twice(tmp_path):
    _, job = scan_and_job(tmp_path)
    made = scan_session(SessionConfig("s", str(tmp_path), job), DOCUMENT, "scan.yaml", ())
    assert not made.engine.duplicate_stragglers
    assert made.gateway is not None
    assert made.gateway.kind == "tune"
    learning = scan_session(SessionConfig("s", str(tmp_path), job), {**DOCUMENT, "search": "tpe"}, "scan.yaml", ())
    assert learning.node.group_age_s < made.node.group_age_s


# ---- results


class FilledTask:
    """A task directory with a scan of six points: three finished, one stopped early, one failed, one open."""

    def __init__(self, root: Path, **keys: object) -> None:
        self.task = TaskDirectory(root)
        self.scan, self.job = scan_and_job(root, **keys)
        root.mkdir(parents=True)
        self.task.job.write_text(json.dumps(self.job.to_dict()))
        self.points = [Point(number, {**ARGUMENTS, "depth": number + 1}) for number in range(1, 7)]
        ledger = Ledger.create(self.task.ledger, self.job)
        ledger.begin_session(SessionInfo("s", "host", 1, 0.0))
        ledger.commit([RangesTaken(GivenRanges.pack([self.range_of(point) for point in self.points], self.job.inputs))])
        results = [self.result_of(point) for point in self.points[:4]]
        ledger.commit([GroupStored(self.group(root, results))])
        failed = AttemptFailed(RangeIndex(4), 1, "n", FailureKind.REPORTED, "out of memory", False, 1.0)
        ledger.commit([failed, replace(failed, attempt=2, message="no data", final=True)])
        ledger.close()

    def range_of(self, point: Point) -> EventRange:
        file = self.job.inputs[0]
        place = (file.lfn, file.pfn, file.guid, point.number, point.number)
        return EventRange(f"point-{point.number}", *place, point=point.to_text())

    def result_of(self, point: Point) -> TrialResult:
        loss = abs(float(point.parameters["depth"]) - 3.9)  # type: ignore[arg-type]
        values = {objective.name: loss if index == 0 else 10.0 - loss for index, objective in enumerate(self.scan.objectives)}
        reports = (TrialReport(1.0, 2 * loss, 0.1), TrialReport(2.0, loss, 0.2))
        return TrialResult(point.number, point.parameters, values, point.number == 3, reports, 1.5)

    def group(self, root: Path, results: list[TrialResult]) -> GroupReport:
        entries = np.zeros(len(results), dtype=ENTRY_DTYPE)
        members = []
        for index, result in enumerate(results):
            path = root / f"r{index}"
            path.write_bytes(result.to_bytes())
            members.append(Member(index, path, name=f"trial.point-{result.number}"))
            entries[index]["range"], entries[index]["size"] = index, path.stat().st_size
        place = root / "staging" / "s" / "n"
        place.mkdir(parents=True)
        written = write_group(place / "1.zip", members)
        return GroupReport("s/n/1", "n", OutputNumber(0), "staging/s/n/1.zip", written.size_bytes, written.adler32, entries)


@pytest.fixture
def filled(tmp_path):
    return FilledTask(tmp_path / "bdt.raythena")


def test_every_point_has_its_state(filled):
    results = read_scan(filled.task)
    assert [row.state for row in results.rows] == ["finished", "finished", "stopped early", "finished", "failed", "open"]
    assert [row.point for row in results.rows] == filled.points
    assert (results.rows[4].reason, results.rows[4].attempts) == ("no data", 2)
    assert [best.number for best in results.best()] == [2], "point 3 is nearer, but was stopped"


def test_with_several_objectives_there_is_a_front(tmp_path):
    filled = FilledTask(tmp_path / "two", objective={"loss": "minimize", "time": "minimize"})
    assert [best.number for best in read_scan(filled.task).best()] == [2, 4, 1]


def test_tables(filled, tmp_path):
    results = read_scan(filled.task)
    columns, rows = points_table(results)
    assert columns[:3] == ["point", "state", "loss"]
    assert columns[-3:] == ["wall_s", "attempts", "reason"]
    assert dict(zip(columns, rows[0], strict=True))["parameter.layers"] == "[16, 8]"
    assert len(losses_table(results)[1]) == 8
    written = {path.name for path in write_tables(results, tmp_path / "tables")}
    assert {"points.csv", "points.json", "losses.csv", "losses.json", "best.json"} <= written
    with (tmp_path / "tables" / "points.csv").open() as stream:
        back = list(csv.DictReader(stream))
    assert [row["state"] for row in back] == [row.state for row in results.rows]
    assert float(back[1]["loss"]) == results.rows[1].result.values["loss"]
    assert json.loads((tmp_path / "tables" / "best.json").read_text())[0]["point"] == 2


def test_parquet(filled, tmp_path):
    from pyarrow import parquet

    write_tables(read_scan(filled.task), tmp_path)
    table = parquet.read_table(tmp_path / "points.parquet").to_pydict()
    assert table["point"] == [1, 2, 3, 4, 5, 6]
    assert table["loss"][4:] == [None, None]


def test_a_study_opens_in_optuna(filled, tmp_path):
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    path = tmp_path / "optuna.journal"
    for _ in range(2):  # written anew, not added to
        assert write_study(read_scan(filled.task), path) == path
    study = optuna.load_study(study_name="bdt", storage=JournalStorage(JournalFileBackend(str(path))))
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "COMPLETE", "PRUNED", "COMPLETE", "FAIL"]
    assert study.best_trial.user_attrs["point"] == 2
    assert study.trials[0].params == {**ARGUMENTS, "depth": 2, "layers": "[16, 8]"}
    assert study.trials[0].intermediate_values == {1: pytest.approx(3.8), 2: pytest.approx(1.9)}
    assert study.trials[4].user_attrs["reason"] == "no data"
    assert {file.name for file in tmp_path.glob("*optuna*")} == {"optuna.journal"}
    assert {"rate", "depth", "kind"} <= set(optuna.importance.get_param_importances(study, params=["rate", "depth", "kind"]))


def test_the_last_words(filled):
    results = read_scan(filled.task)
    ended = SessionResult(
        "incomplete",
        "1 of 6 events failed",
        ExitCode.INCOMPLETE,
        Progress("bdt", "ended", 6, 1, 0, 4, 0, 1, 2, 0, 0, 0, 0, 1.0, None, 9.0, 0.5),
    )
    told = "\n".join(_lines(ended, filled.task, results))
    assert "6 points: 3 finished, 1 stopped early, 1 failed, 1 open" in told
    assert "best     point 2: loss 0.9" in told
    assert "failed   point 5: no data" in told
    document = _document(ended, filled.task, results)
    assert (document["stopped_early"], document["exit_code"], document["best"][0]["point"]) == (1, 4, 2)


def test_a_directory_without_a_scan_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match="holds no task"):
        read_scan(TaskDirectory(tmp_path))


def test_a_new_life_is_told_everything_the_ledger_knows(filled):
    with Ledger.open(filled.task.ledger, filled.job) as ledger:
        restored = ledger.restore()
    config = SessionConfig("s2", str(filled.task.root), filled.job)
    history = history_of(restored, Engine(filled.job, restored, config.engine, 0.0).table, config)
    assert [Point.from_text(each.point) for each in history.given] == filled.points
    assert [each.range_id for report in history.finished for each in report.ranges] == [f"point-{n}" for n in range(1, 5)]
    assert history.failed == {"point-5"}
    nothing = history_of(type(restored)(), RangeLayout.of(filled.job), config)
    assert (list(nothing.given), list(nothing.finished), nothing.failed) == ([], [], frozenset())


def test_points_travel_with_their_ranges_and_survive_the_ledger(filled):
    ranges = [filled.range_of(point) for point in filled.points]
    chunk = GivenRanges.from_bytes(GivenRanges.pack(ranges, filled.job.inputs).to_bytes())
    everywhere = np.arange(6, dtype=np.int64)
    assert chunk.event_ranges(everywhere, filled.job.inputs) == ranges
    some = chunk.take(np.asarray([1, 4], dtype=np.int64))
    assert some.event_ranges(np.asarray([0, 1]), filled.job.inputs) == [ranges[1], ranges[4]]
    plain = [replace(each, point="") for each in ranges]
    assert GivenRanges.pack(plain, filled.job.inputs).points is None


@pytest.mark.parametrize(
    ("parameters", "known"),
    [
        (ARGUMENTS, True),
        ({**ARGUMENTS, "depth": 40}, False),
        ({**ARGUMENTS, "depth": 4.5}, False),
        ({**ARGUMENTS, "kind": "forest"}, False),
        ({**ARGUMENTS, "rounds": 99}, False),
        ({**ARGUMENTS, "rate": "0.1"}, False),
        ({key: value for key, value in ARGUMENTS.items() if key != "rate"}, False),
        ({**ARGUMENTS, "more": 1}, False),
    ],
)
def test_results_of_another_scan_count_where_they_lie_in_the_space(tmp_path, parameters, known):
    scan, _ = scan_and_job(tmp_path)
    assert fits(scan, TrialResult(1, parameters, {"loss": 1.0})) is known
    assert not fits(scan, TrialResult(1, parameters, {"error": 1.0}))


def test_values_of_conditional_spaces_hold():
    space = parse_space(
        FieldPath("s", "space", {"k": ["a", "b"], "x": {"method": "normal", "mu": 0, "sigma": 1, "when": {"k": "a"}}})
    )
    assert space.holds({"k": "a", "x": 3.0})
    assert space.holds({"k": "b"})
    assert not space.holds({"k": "b", "x": 3.0})
    assert not space.holds({"k": "a", "x": True})
