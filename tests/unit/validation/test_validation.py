"""A good task is proved; every way to spoil one is found and named."""

from __future__ import annotations

import json
import random
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import uproot
from hypothesis import given
from hypothesis import strategies as st
from task_kit import EVENTS, event_number, interval, jsonlines, make_task, numbers_of, opaque, root

from raythena.domain.errors import ExitCode, InvalidInput
from raythena.domain.job import Job
from raythena.domain.records import GroupStored, RangesReopened, RangesRetracted
from raythena.domain.results import ENTRY_DTYPE, GroupReport
from raythena.storage.groups import Member, write_group
from raythena.storage.ledger import Ledger, SessionInfo
from raythena.storage.taskdir import TaskDirectory
from raythena.validation import Severity, Standing, Validation, validate
from raythena.validation.comparison import Contents, compare
from raythena.validation.concatenation import combined_adler32


def codes(validation: Validation) -> set[tuple[str, str]]:
    return {(finding.code, finding.file) for finding in validation.errors}


def test_a_good_task_is_proved(tmp_path: Path) -> None:
    validation = validate(make_task(tmp_path).root)
    assert validation.findings == ()
    assert validation.ok
    assert (validation.standing, validation.events, validation.proven, validation.failed) == (Standing.PROVEN, EVENTS, EVENTS, 0)
    assert [file.standing for file in validation.files] == [Standing.PROVEN] * 6


def test_a_job_whose_ranges_were_given_has_nothing_to_prove(tmp_path: Path) -> None:
    task = make_task(tmp_path)
    document = json.loads(task.job.read_text())
    document["ranges_given"] = True
    document["merge"] = {"kind": "none", "options": {}}
    task.job.write_text(json.dumps(document))
    (finding,) = validate(task.root).errors
    assert "no output to prove" in finding.text


@pytest.mark.parametrize("tree", ["HITS", "POOLCollectionTree"])
def test_root_files_are_read(tmp_path: Path, tree: str) -> None:
    task = make_task(tmp_path, write=lambda path, numbers: root(path, numbers, tree), failed=[3])
    validation = validate(task.root)
    assert validation.ok
    assert (validation.proven, validation.failed) == (EVENTS - 1, 1)


@pytest.mark.parametrize("partial", [False, True])
def test_a_file_whose_missing_events_are_tried_again_is_true_but_not_the_last_word(tmp_path: Path, partial: bool) -> None:
    task = make_task(tmp_path, failed=(3, 25))
    with Ledger.open(task.ledger, Job.from_dict(json.loads(task.job.read_text()))) as ledger:
        ledger.begin_session(SessionInfo("again", "host", 1, 1.0), RangesReopened((3,)))
    found = [one for one in validate(task.root, partial=partial).findings if one.code == "events-retried"]
    assert [(one.severity, one.events) for one in found] == [(Severity.NOTE if partial else Severity.ERROR, 1)]
    assert validate(task.root, partial=True).errors == (), "the job report is of the session before"


def test_failed_events_are_no_error_when_recorded_with_a_reason(tmp_path: Path) -> None:
    validation = validate(make_task(tmp_path, failed=[3, *range(10, 20), 59]).root)
    assert validation.errors == ()
    assert (validation.proven, validation.failed) == (EVENTS - 12, 12)
    assert validation.files[1].standing is Standing.ABSENT
    assert {finding.code for finding in validation.findings} == {"output-empty"}


def without(output: int, *indices: int) -> list[int]:
    return [event_number(index) for index in range(*interval(output)) if index not in indices]


FIRST, SECOND = numbers_of(0, 10), numbers_of(10, 20)
WRONG_CONTENTS: dict[str, tuple[dict[int, list[int]], list[int], set[tuple[str, str]]]] = {
    "one event lost": ({0: without(0, 4)}, [], {("event-lost", "HITS.1"), ("output-count", "HITS.1")}),
    "an event twice in a file": ({0: [*FIRST, FIRST[3]]}, [], {("event-duplicated", "HITS.1"), ("output-count", "HITS.1")}),
    "an event twice, another lost": (
        {0: [*FIRST[:-1], FIRST[0]]},
        [],
        {("event-duplicated", "HITS.1"), ("event-lost", "HITS.1")},
    ),
    "an event in two files": ({1: [FIRST[2], *SECOND]}, [], {("event-duplicated", "HITS.2"), ("output-count", "HITS.2")}),
    "an event in the wrong file": (
        {0: FIRST[1:], 1: [FIRST[0], *SECOND]},
        [],
        {("event-misplaced", "HITS.1"), ("event-misplaced", "HITS.2"), ("output-count", "HITS.1"), ("output-count", "HITS.2")},
    ),
    "two files exchanged": ({0: SECOND, 1: FIRST}, [], {("event-misplaced", "HITS.1"), ("event-misplaced", "HITS.2")}),
    "two events exchanged": ({0: [FIRST[1], FIRST[0], *FIRST[2:]]}, [], {("order-wrong", "HITS.1")}),
    "the order reversed": ({5: numbers_of(50, 60)[::-1]}, [], {("order-wrong", "HITS.6")}),
    "an event of nowhere": ({0: [*FIRST[:-1], 5]}, [], {("event-unknown", "HITS.1"), ("event-lost", "HITS.1")}),
    "a failed event in its output": ({0: FIRST}, [4], {("failed-event-present", "HITS.1"), ("output-count", "HITS.1")}),
    "a failed event in another output": (
        {1: [FIRST[4], *SECOND]},
        [4],
        {("failed-event-present", "HITS.2"), ("output-count", "HITS.2")},
    ),
    "a neighbour of a failed event lost": ({0: without(0, 4, 5)}, [4], {("event-lost", "HITS.1"), ("output-count", "HITS.1")}),
}


@pytest.mark.parametrize("write", [jsonlines, root])
@pytest.mark.parametrize("name", WRONG_CONTENTS)
def test_wrong_contents_are_found_though_every_checksum_agrees(tmp_path: Path, name: str, write: Callable[..., None]) -> None:
    contents, failed, expected = WRONG_CONTENTS[name]
    validation = validate(make_task(tmp_path, write=write, contents=contents, failed=failed).root)
    assert codes(validation) >= expected
    assert {file for _, file in codes(validation)} == {file for _, file in expected}, "only the files at fault are blamed"
    assert validation.standing is Standing.WRONG
    assert [file.lfn for file in validation.files if file.standing is Standing.WRONG] == sorted({file for _, file in expected})


def test_an_output_without_a_single_event(tmp_path: Path) -> None:
    validation = validate(make_task(tmp_path, write=root, contents={2: []}).root)
    assert codes(validation) == {("event-lost", "HITS.3"), ("output-count", "HITS.3")}
    assert validation.proven == EVENTS - 10


def test_findings_say_which_events_and_how_many(tmp_path: Path) -> None:
    validation = validate(make_task(tmp_path, contents={0: without(0, 4, 6), 1: [FIRST[6], *SECOND]}).root)
    told = {(finding.code, finding.file): finding for finding in validation.errors}
    assert told["event-lost", "HITS.1"].events == 1
    assert str(event_number(4)) in told["event-lost", "HITS.1"].text
    assert str(event_number(6)) in told["event-misplaced", "HITS.2"].text
    assert "HITS.1" in told["event-misplaced", "HITS.2"].text
    assert validation.proven == EVENTS - 2


def edit_report(task: TaskDirectory, change: Callable[[dict[str, object]], object]) -> None:
    report = json.loads(task.report.read_text())
    change(report)
    task.report.write_text(json.dumps(report))


def subfile(report: dict[str, object], output: int) -> dict[str, object]:
    return report["files"]["output"][0]["subFiles"][output]  # type: ignore[index]


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 0x40
    path.write_bytes(content)


SABOTAGE: dict[str, tuple[Callable[[TaskDirectory], object], tuple[str, str]]] = {
    "an output removed": (lambda task: (task.outputs / "HITS.2").unlink(), ("output-missing", "HITS.2")),
    "all outputs removed": (lambda task: shutil.rmtree(task.outputs), ("output-missing", "HITS.6")),
    "an output truncated": (lambda task: truncate(task.outputs / "HITS.1", 0.5), ("output-size", "HITS.1")),
    "an output emptied": (lambda task: truncate(task.outputs / "HITS.1", 0), ("output-size", "HITS.1")),
    "an output garbled": (lambda task: flip(task.outputs / "HITS.1", -20), ("output-checksum", "HITS.1")),
    "the head of an output garbled": (lambda task: flip(task.outputs / "HITS.4", 0), ("output-checksum", "HITS.4")),
    "an output replaced by another": (
        lambda task: shutil.copy(task.outputs / "HITS.1", task.outputs / "HITS.2"),
        ("event-duplicated", "HITS.2"),
    ),
    "a copy beside the outputs": (
        lambda task: shutil.copy(task.outputs / "HITS.1", task.outputs / "HITS.1.bak"),
        ("file-unknown", "HITS.1.bak"),
    ),
    "a directory beside the outputs": (lambda task: (task.outputs / "old").mkdir(), ("file-unknown", "old")),
    "a wrong GUID": (
        lambda task: edit_report(task, lambda report: subfile(report, 2).update(file_guid="OTHER")),
        ("report-guid", "HITS.3"),
    ),
    "a wrong size": (
        lambda task: edit_report(task, lambda report: subfile(report, 2).update(file_size=1)),
        ("report-size", "HITS.3"),
    ),
    "a wrong count": (
        lambda task: edit_report(task, lambda report: subfile(report, 0).update(nentries=11)),
        ("report-count", "HITS.1"),
    ),
    "a count that is no number": (
        lambda task: edit_report(task, lambda report: subfile(report, 0).update(nentries="10")),
        ("report-count", "HITS.1"),
    ),
    "a wrong checksum": (
        lambda task: edit_report(task, lambda report: subfile(report, 0).update(checksum="ad:00000000")),
        ("report-checksum", "HITS.1"),
    ),
    "an output not reported": (
        lambda task: edit_report(task, lambda report: report["files"]["output"][0]["subFiles"].pop(3)),  # type: ignore[index]
        ("report-output", "HITS.4"),
    ),
    "an output reported twice": (
        lambda task: edit_report(
            task,
            lambda report: report["files"]["output"][0]["subFiles"].append(subfile(report, 3)),  # type: ignore[index]
        ),
        ("report-output", "HITS.4"),
    ),
    "an output reported that is not": (
        lambda task: edit_report(task, lambda report: subfile(report, 0).update(name="HITS.99")),
        ("report-output", "HITS.99"),
    ),
    "a failure that was none": (
        lambda task: edit_report(task, lambda report: report["raythena"]["failed"].append({"lfn": "EVNT.1", "event": 3})),  # type: ignore[index]
        ("report-failed", "jobReport.json"),
    ),
    "no job report": (lambda task: task.report.unlink(), ("report-missing", "jobReport.json")),
    "half a job report": (lambda task: truncate(task.report, 0.5), ("report-unreadable", "jobReport.json")),
    "another kind of job report": (lambda task: task.report.write_text("[1, 2]"), ("report-unreadable", "jobReport.json")),
    "no ledger": (lambda task: task.ledger.unlink(), ("ledger-unreadable", "ledger.sqlite")),
    "half a ledger": (lambda task: truncate(task.ledger, 0.5), ("ledger-unreadable", "ledger.sqlite")),
    "no job": (lambda task: task.job.unlink(), ("job-unreadable", "job.json")),
    "a job that is none": (lambda task: task.job.write_text('{"name": 1}'), ("job-unreadable", "job.json")),
}


def truncate(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_task(tmp_path_factory.mktemp("honest"), write=root).root


@pytest.mark.parametrize("name", SABOTAGE)
def test_sabotage_is_found_and_named(honest: Path, tmp_path: Path, name: str) -> None:
    task = TaskDirectory(tmp_path / "task")
    shutil.copytree(honest, task.root)
    sabotage, expected = SABOTAGE[name]
    sabotage(task)
    validation = validate(task.root)
    assert expected in codes(validation)
    assert validation.standing is Standing.WRONG


def test_what_is_whole_stays_proved_beside_what_is_not(honest: Path, tmp_path: Path) -> None:
    task = TaskDirectory(tmp_path / "task")
    shutil.copytree(honest, task.root)
    flip(task.outputs / "HITS.2", -10)
    standings = [file.standing for file in validate(task.root).files]
    assert standings == [Standing.PROVEN, Standing.WRONG, *[Standing.PROVEN] * 4]


@pytest.mark.parametrize("seed", range(12))
def test_damage_anywhere_in_a_root_file_is_found(honest: Path, tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    task = TaskDirectory(tmp_path / "task")
    shutil.copytree(honest, task.root)
    path = task.outputs / f"HITS.{dice.randrange(1, 7)}"
    flip(path, dice.randrange(path.stat().st_size))
    assert ("output-checksum", path.name) in codes(validate(task.root))


def test_a_ledger_of_another_job(honest: Path, tmp_path: Path) -> None:
    task = TaskDirectory(tmp_path / "task")
    shutil.copytree(honest, task.root)
    job = json.loads(task.job.read_text())
    job["inputs"][0]["guid"] = "OTHER"
    task.job.write_text(json.dumps(job))
    assert ("ledger-foreign", "ledger.sqlite") in codes(validate(task.root))


def test_an_output_nobody_recorded(tmp_path: Path) -> None:
    task = make_task(tmp_path, unmerged=[1])
    jsonlines(task.outputs / "HITS.2", SECOND)
    assert ("output-unrecorded", "HITS.2") in codes(validate(task.root))


def test_a_failure_without_a_reason(tmp_path: Path) -> None:
    validation = validate(make_task(tmp_path, failed=[3], message=" ").root)
    assert ("failure-without-reason", "EVNT.1-4") in codes(validation)


def test_a_report_that_claims_success(tmp_path: Path) -> None:
    validation = validate(make_task(tmp_path, failed=[3], exit_code=ExitCode.OK).root)
    assert ("report-verdict", "jobReport.json") in codes(validation)


def test_two_outputs_with_one_guid(tmp_path: Path) -> None:
    validation = validate(make_task(tmp_path, recorded_guids={0: "SAME", 3: "SAME"}).root)
    assert codes(validation) == {("guid-repeated", "HITS.1"), ("guid-repeated", "HITS.4")}


def test_an_output_without_a_guid(tmp_path: Path) -> None:
    assert codes(validate(make_task(tmp_path, recorded_guids={0: ""}).root)) == {("guid-missing", "HITS.1")}


def test_a_task_at_work_is_judged_by_what_is_there(tmp_path: Path) -> None:
    task = make_task(tmp_path, unmerged=[2, 5], failed=[20])
    task.report.unlink()
    validation = validate(task.root, partial=True)
    assert validation.errors == ()
    assert validation.proven == EVENTS - 20
    assert [file.lfn for file in validation.files if file.standing is Standing.ABSENT] == ["HITS.3", "HITS.6"]
    assert ("output-missing", "HITS.3") in codes(validate(task.root))


def test_a_partial_task_can_be_wrong_all_the_same(tmp_path: Path) -> None:
    task = make_task(tmp_path, unmerged=[2], contents={0: FIRST[1:]})
    assert ("event-lost", "HITS.1") in codes(validate(task.root, partial=True))
    (task.outputs / "HITS.2").unlink()
    assert ("output-missing", "HITS.2") in codes(validate(task.root, partial=True))


def test_a_task_at_work_can_be_read_while_its_ledger_is_written(tmp_path: Path) -> None:
    task = make_task(tmp_path, unmerged=[2])
    job = json.loads(task.job.read_text())
    with Ledger.open(task.ledger, Ledger.read(task.ledger).fingerprint):
        assert validate(task.root, partial=True).errors == ()
    assert job["name"] == "study"


def test_what_cannot_be_read_is_not_called_proved(tmp_path: Path) -> None:
    validation = validate(make_task(tmp_path, write=opaque, merge="python").root)
    assert validation.standing is Standing.UNPROVEN
    assert not validation.ok
    assert validation.proven == 0
    assert [file.standing for file in validation.files] == [Standing.UNPROVEN] * 6
    unproven = {finding.file for finding in validation.findings if finding.severity is Severity.UNPROVEN}
    assert unproven == {f"HITS.{number}" for number in range(1, 7)}


def test_what_was_put_together_byte_by_byte_is_proved_without_a_reader(tmp_path: Path) -> None:
    validation = validate(make_task(tmp_path, write=opaque, failed=[3, 17, *range(20, 30)]).root)
    assert [finding.code for finding in validation.findings if finding.severity is not Severity.NOTE] == []
    assert (validation.standing, validation.proven, validation.failed) == (Standing.PROVEN, EVENTS - 12, 12)


@pytest.mark.parametrize(
    "wrong",
    [numbers_of(11, 20), [*numbers_of(10, 20), event_number(19)], [event_number(11), event_number(10), *numbers_of(12, 20)]],
    ids=["lost", "twice", "order"],
)
def test_other_bytes_than_those_of_its_events_are_found_without_a_reader(tmp_path: Path, wrong: list[int]) -> None:
    validation = validate(make_task(tmp_path, write=opaque, contents={1: wrong}).root)
    assert codes(validation) == {("output-not-its-events", "HITS.2")}
    assert validation.proven == EVENTS - 10


def test_a_concatenation_is_proved_though_its_inputs_are_gone(tmp_path: Path) -> None:
    def write(path: Path, numbers: list[int]) -> None:
        (root if path.name.startswith("EVNT") else opaque)(path, numbers)

    task = make_task(tmp_path, write=write)
    (tmp_path / "EVNT.2").unlink()
    validation = validate(task.root)
    assert [file.standing for file in validation.files] == [Standing.PROVEN] * 6
    assert validation.proven == EVENTS


def test_a_concatenation_of_other_events_than_the_ledger_has_stored(tmp_path: Path) -> None:
    task = make_task(tmp_path, write=opaque)
    with Ledger.open(task.ledger, Ledger.read(task.ledger).fingerprint) as ledger:
        ledger.commit([RangesRetracted("g2", (23,))])
    assert ("ledger-inconsistent", "HITS.3") in codes(validate(task.root))


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=30))
def test_checksums_of_pieces_give_that_of_the_whole(pieces: list[bytes]) -> None:
    sums = np.array([zlib.adler32(piece) for piece in pieces], dtype=np.uint32)
    assert combined_adler32(sums, np.array([len(piece) for piece in pieces])) == zlib.adler32(b"".join(pieces))


def test_checksums_of_large_pieces_do_not_overflow() -> None:
    pieces = [bytes([255]) * 3_000_000, bytes(70_000), bytes([254]) * 2_000_000]
    sums = np.array([zlib.adler32(piece) for piece in pieces], dtype=np.uint32)
    assert combined_adler32(sums, np.array([len(piece) for piece in pieces])) == zlib.adler32(b"".join(pieces))


def test_events_without_numbers_are_counted_at_least(tmp_path: Path) -> None:
    def write(path: Path, numbers: list[int]) -> None:
        with uproot.recreate(path) as file:
            file["EventData"] = {"energy": np.ones(len(numbers))}

    (tmp_path / "good").mkdir()
    validation = validate(make_task(tmp_path / "good", write=write, merge="root").root)
    assert (validation.standing, validation.errors) == (Standing.UNPROVEN, ())
    (tmp_path / "bad").mkdir()
    task = make_task(tmp_path / "bad", write=write, merge="root", contents={1: numbers_of(11, 20), 2: [*numbers_of(20, 30), 1]})
    assert codes(validate(task.root)) == {("output-count", "HITS.2"), ("output-count", "HITS.3")}


def test_the_tree_the_job_names_to_its_merger_is_the_one_that_is_read(tmp_path: Path) -> None:
    def write(path: Path, numbers: list[int]) -> None:
        with uproot.recreate(path) as file:
            file["HITS"] = {"EventNumber": np.repeat(numbers, 3)}
            file["mine"] = {"EventNumber": np.asarray(numbers)}

    def write_all(path: Path, numbers: list[int]) -> None:
        (root if path.name.startswith("EVNT") else write)(path, numbers)

    verdicts = []
    for name, options in (("without", {}), ("mine", {"tree": "mine"}), ("none", {"tree": "none"})):
        (tmp_path / name).mkdir()
        task = make_task(tmp_path / name, write=write_all, merge="root", merge_options=options)
        verdicts.append(validate(task.root).standing)
    assert verdicts == [Standing.WRONG, Standing.PROVEN, Standing.UNPROVEN]


def test_inputs_that_cannot_be_read_count_from_one(tmp_path: Path) -> None:
    """Outputs of a payload that numbers events as their ranges do."""

    def write(path: Path, numbers: list[int]) -> None:
        if path.name.startswith("EVNT"):
            opaque(path, numbers)
        else:
            jsonlines(path, [(number - 1000) // 7 % 20 + 1 for number in numbers])

    good, bad = tmp_path / "good", tmp_path / "bad"
    good.mkdir(), bad.mkdir()
    assert validate(make_task(good, write=write, failed=[21]).root).errors == ()
    validation = validate(make_task(bad, write=write, contents={3: [*numbers_of(30, 39), event_number(30)]}).root)
    assert codes(validation) == {("event-lost", "HITS.4"), ("event-duplicated", "HITS.4")}


def test_inputs_that_are_gone_leave_the_outputs_unproven(tmp_path: Path) -> None:
    task = make_task(tmp_path, write=root)
    (tmp_path / "EVNT.2").unlink()
    truncate(tmp_path / "EVNT.3", 0.01)
    validation = validate(task.root)
    assert validation.standing is Standing.UNPROVEN
    assert [str(file.standing) for file in validation.files] == ["proven", "proven", *["unproven"] * 4]
    assert {finding.file for finding in validation.findings if finding.code == "input-unreadable"} == {"EVNT.2", "EVNT.3"}


def test_an_input_with_too_few_events(tmp_path: Path) -> None:
    task = make_task(tmp_path)
    jsonlines(tmp_path / "EVNT.2", numbers_of(20, 39))
    assert ("input-count", "EVNT.2") in codes(validate(task.root))


def test_many_events_are_compared_as_arrays() -> None:
    numbers = np.random.default_rng(1).permutation(200_000).astype(np.int64)
    parts = np.split(numbers, 100)
    outputs = [Contents(f"HITS.{index}", part, part[:0], part.copy()) for index, part in enumerate(parts)]
    assert list(compare(outputs)) == []
    outputs[7].found[5] = outputs[8].found[5]  # type: ignore[index]
    findings = {(finding.code, finding.file): finding.events for finding in compare(outputs)}
    assert findings == {("event-lost", "HITS.7"): 1, ("event-duplicated", "HITS.7"): 1}


def test_no_task_directory(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no directory"):
        validate(tmp_path / "nowhere")


def unmerged_task(directory: Path) -> TaskDirectory:
    """A job whose outputs stay in their groups."""
    task = make_task(directory, unmerged=range(6))
    task.ledger.unlink()
    document = json.loads(task.job.read_text())
    document["merge"]["kind"] = "none"
    task.job.write_text(json.dumps(document))
    records = []
    for output in range(6):
        path = task.staging / f"g{output}.zip"
        (directory / "spool").write_bytes(bytes(100))
        written = write_group(path, [Member(index, directory / "spool", index, 10) for index in range(*interval(output))])
        entries = np.zeros(10, dtype=ENTRY_DTYPE)
        entries["range"], entries["size"], entries["adler32"] = written.indices, written.sizes, written.adlers
        records.append(GroupStored(GroupReport(f"g{output}", "n", output, f"staging/{path.name}", 1, 1, entries)))
    with Ledger.create(task.ledger, Job.from_dict(document)) as ledger:
        ledger.commit(records)
    edit_report(task, lambda report: report["raythena"].update(failed=[]))  # type: ignore[attr-defined]
    return task


def test_outputs_kept_in_groups_are_checked_by_checksum(tmp_path: Path) -> None:
    task = unmerged_task(tmp_path)
    validation = validate(task.root)
    assert validation.errors == ()
    assert validation.standing is Standing.UNPROVEN
    flip(task.staging / "g2.zip", 45)
    truncate(task.staging / "g3.zip", 0.4)
    (task.staging / "g4.zip").unlink()
    validation = validate(task.root)
    assert codes(validation) == {("group-damaged", f"HITS.{output}") for output in (3, 4, 5)}
    assert {finding.file: finding.events for finding in validation.errors} == {"HITS.3": 1, "HITS.4": 2, "HITS.5": 10}


# ---- jobs without input files


def test_numbers_of_events_that_were_made_are_proved(tmp_path: Path) -> None:
    validation = validate(make_task(tmp_path, first_event=1000, failed=[13]).root)
    assert validation.errors == ()
    assert (validation.standing, validation.proven, validation.failed) == (Standing.PROVEN, EVENTS - 1, 1)


@pytest.mark.parametrize(
    ("code", "numbers"),
    [
        ("event-lost", [*range(1010, 1019), 1018]),
        ("event-duplicated", [*range(1010, 1020), 1015]),
        ("event-unknown", [*range(1010, 1020), 999]),
        ("order-wrong", [1011, 1010, *range(1012, 1020)]),
    ],
)
def test_other_numbers_are_noticed(tmp_path: Path, code: str, numbers: list[int]) -> None:
    task = make_task(tmp_path, first_event=1000, contents={1: numbers})
    assert (code, "HITS.2") in codes(validate(task.root))


def test_numbers_counted_from_elsewhere_are_noticed(tmp_path: Path) -> None:
    """Outputs that count from 1, of a job whose events begin at 1,000."""
    contents = {output: list(range(1 + interval(output)[0], 1 + interval(output)[1])) for output in range(6)}
    validation = validate(make_task(tmp_path, first_event=1000, contents=contents).root)
    assert {code for code, _ in codes(validation)} >= {"event-lost", "event-unknown"}
    assert validation.proven == 0
