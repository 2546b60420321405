"""The upstream task as it is seen on disk: files taken on by a second name, replaced, damaged, gone; somebody at work or not."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from raythena.domain.errors import InvalidInput, LedgerForeign
from raythena.domain.job import Job
from raythena.domain.records import AttemptFailed, GroupStored, OutputMerged, RangesReopened
from raythena.domain.results import FailureKind, MergedOutput
from raythena.domain.upstream import InputTaken, Upstream
from raythena.engine import events as ev
from raythena.runtime.upstream_watch import UpstreamWatch
from raythena.storage.atomic import adler32_of
from raythena.storage.ledger import Ledger, SessionInfo
from raythena.storage.task_lease import TaskLease
from raythena.storage.taskdir import TaskDirectory
from raythena.testing.simulation.samples import group_of, small_job

SESSION = SessionInfo("s", "host", 1, 0.0)


class First:
    """A task of three outputs with four events each, computed by the test."""

    def __init__(self, root: Path) -> None:
        self.task = TaskDirectory(root)
        self.task.outputs.mkdir(parents=True)
        self.job = small_job((12,), 4, name="first")
        self.task.job.write_text(json.dumps(self.job.to_dict()))
        self.ledger = Ledger.create(self.task.ledger, self.job)
        self.ledger.begin_session(SESSION)

    def merge(self, output: int, missing: tuple[int, ...] = (), guid: str = "") -> MergedOutput:
        """One output is merged without some of its events, which are given up."""
        lfn = self.job.outputs[output]
        path = self.task.outputs / lfn
        path.unlink(missing_ok=True)  # as a rename does: who has the old file keeps it
        path.write_text(f"{lfn} without {missing}\n")
        merged = MergedOutput(
            output,
            lfn,
            f"outputs/{lfn}",
            guid or f"GUID-{output}",
            path.stat().st_size,
            adler32_of(path),
            4 - len(missing),
            missing,
        )
        held = [index for index in range(4 * output, 4 * output + 4) if index not in missing]
        self.fail(*missing)
        if not guid:
            self.ledger.commit([GroupStored(group_of(f"g{output}", "n", output, held))])
        self.ledger.commit([OutputMerged(merged, ())])
        return merged

    def fail(self, *indices: int) -> None:
        failures = [AttemptFailed(index, 3, "n", FailureKind.CRASH, "broken", True, 1.0) for index in indices]
        self.ledger.commit(failures)

    def retry(self, *indices: int) -> None:
        self.ledger.commit([RangesReopened(indices)])
        self.ledger.commit([GroupStored(group_of(f"again-{indices}", "n", 0, indices))])


class Listener:
    """A coordinator that looks once."""

    def __init__(self, looks: int = 1) -> None:
        self.heard: list[ev.Event] = []
        self.stopped: BaseException | None = None
        self._looks = looks

    @property
    def over(self) -> bool:
        return self._looks == 0

    def tell(self, event: ev.Event) -> None:
        self.heard.append(event)
        if isinstance(event, ev.UpstreamSeen):
            self._looks -= 1

    def stop(self, reason: str, cause: BaseException | None = None) -> None:
        self.stopped = cause

    @property
    def made(self) -> list[InputTaken]:
        return [event.file for event in self.heard if isinstance(event, ev.InputMade)]

    @property
    def unfinished(self) -> str:
        return self.heard[-1].reason


@pytest.fixture
def first(tmp_path):
    made = First(tmp_path / "first")
    yield made
    made.ledger.close()


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch):
    monkeypatch.setattr("raythena.runtime.upstream_watch._LOOK_S", 0.0)
    monkeypatch.setattr("raythena.runtime.upstream_watch._LOOK_SHARE", 1.0)


def second_of(first: First, root: Path) -> Job:
    upstream = Upstream(str(first.task.root), first.job.fingerprint(), "first")
    job = small_job((4, 4, 4), 4, name="second")
    inputs = tuple(replace(file, lfn=lfn) for file, lfn in zip(job.inputs, first.job.outputs, strict=True))
    return replace(job, inputs=inputs, upstream=upstream).kept_in(str(root))


def watch_of(first: First, root: Path, known=()) -> UpstreamWatch:
    job = second_of(first, root)
    return UpstreamWatch(job, job.upstream, TaskDirectory(root), known)


def looked(watch: UpstreamWatch, looks: int = 1) -> Listener:
    listener = Listener(looks)
    asyncio.run(asyncio.wait_for(watch.run(listener), 30.0))
    return listener


def test_what_is_merged_is_taken_on_by_a_second_name(first, tmp_path):
    merged = first.merge(1)
    second = tmp_path / "second"
    heard = looked(watch_of(first, second))
    (file,) = heard.made
    assert (file.number, file.guid, file.n_events, file.adler32) == (1, "GUID-1", 4, merged.adler32)
    place = second / "inputs" / "GUID-1" / first.job.outputs[1]
    assert place.samefile(first.task.output(merged))


def test_files_are_told_of_once_and_new_ones_when_they_come(first, tmp_path):
    first.merge(0)
    watch = watch_of(first, tmp_path / "second")
    assert [file.number for file in looked(watch, 2).made] == [0]
    first.merge(2, missing=(9,))
    assert [(file.number, file.missing) for file in looked(watch).made] == [(2, (9,))]


def test_an_output_all_of_whose_events_failed_is_withheld(first, tmp_path):
    first.fail(4, 5, 6)
    watch = watch_of(first, tmp_path / "second")
    assert not [event for event in looked(watch).heard if isinstance(event, ev.InputWithheld)]
    first.fail(7)
    assert [event.number for event in looked(watch, 2).heard if isinstance(event, ev.InputWithheld)] == [1]


def test_what_was_taken_on_stays_when_it_is_replaced(first, tmp_path):
    first.merge(0, missing=(2,))
    second = tmp_path / "second"
    watch = watch_of(first, second)
    (old,) = looked(watch).made
    first.ledger.begin_session(SESSION)
    first.retry(2)
    first.merge(0, guid="NEW")
    (new,) = looked(watch).made
    assert (new.guid, new.missing, new.n_events) == ("NEW", (), 4)
    assert TaskDirectory(second).input(old).read_text() == "HITS.0.root without (2,)\n"
    assert TaskDirectory(second).input(new).read_text() == "HITS.0.root without ()\n"


def test_a_file_that_is_replaced_while_it_is_taken_on_is_left_for_the_next_look(first, tmp_path):
    old = first.merge(0, missing=(2,))
    first.ledger.begin_session(SESSION)
    first.retry(2)
    first.merge(0, guid="NEW")
    watch = watch_of(first, tmp_path / "second")
    assert watch.take(old) is None
    assert not TaskDirectory(tmp_path / "second").input(InputTaken(0, old.lfn, old.guid, 0, 0, 0)).exists()


def test_what_is_known_is_not_read_again(first, tmp_path, monkeypatch):
    first.merge(0)
    second = tmp_path / "second"
    known = looked(watch_of(first, second)).made
    monkeypatch.setattr("raythena.runtime.upstream_watch.adler32_of", lambda path: pytest.fail("read again"))
    assert looked(watch_of(first, second, known)).made == known


def test_a_file_cut_short_in_the_middle_is_taken_on_anew(first, tmp_path):
    """The task before died between the two, or somebody meddled."""
    merged = first.merge(0)
    second = tmp_path / "second"
    place = second / "inputs" / "GUID-0" / merged.lfn
    place.parent.mkdir(parents=True)
    place.write_text("HI")
    assert looked(watch_of(first, second)).made
    assert place.samefile(first.task.output(merged))


@pytest.mark.parametrize(("harm", "word"), [("other", "changed, or is damaged"), ("gone", "is gone")])
def test_a_file_that_is_not_what_its_ledger_says_ends_the_job(first, tmp_path, harm, word):
    path = first.task.output(first.merge(0))
    if harm == "gone":
        path.unlink()
    else:
        path.write_text("x" * path.stat().st_size)
    heard = looked(watch_of(first, tmp_path / "second"))
    assert isinstance(heard.stopped, InvalidInput)
    assert word in str(heard.stopped)
    assert not heard.made


def test_another_file_system_is_refused(first, tmp_path, monkeypatch):
    first.merge(0)

    def refuse(*_):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    heard = looked(watch_of(first, tmp_path / "second"))
    assert isinstance(heard.stopped, InvalidInput)
    assert "hard links" in str(heard.stopped)


def test_another_task_at_the_same_place_is_refused(first, tmp_path):
    job = second_of(first, tmp_path / "second")
    job = replace(job, upstream=replace(job.upstream, fingerprint="0" * 64))
    heard = looked(UpstreamWatch(job, job.upstream, TaskDirectory(tmp_path / "second")))
    assert isinstance(heard.stopped, LedgerForeign)
    assert "holds another task" in str(heard.stopped)


def test_whether_somebody_works_on_it_is_seen(first, tmp_path):
    watch = watch_of(first, tmp_path / "second")
    assert "is not finished, and nobody works on it" in looked(watch).unfinished
    lease = TaskLease(first.task.lease)
    lease.acquire("s")
    assert looked(watch).unfinished == ""
    lease.release()
    for output in range(3):
        first.merge(output)
    assert looked(watch).unfinished == "", "it is finished"


def test_a_task_that_moves_away_is_no_reason_to_lose_what_is_there(first, tmp_path):
    first.merge(0)
    second = tmp_path / "second"
    watch = watch_of(first, second)
    (file,) = looked(watch).made
    first.ledger.close()
    first.task.root.rename(tmp_path / "elsewhere")
    heard = looked(watch)
    assert heard.stopped is None
    assert "is not there any more" in heard.unfinished
    assert TaskDirectory(second).input(file).exists()


def test_a_task_that_has_not_begun_is_waited_for(first, tmp_path):
    first.ledger.close()
    first.task.ledger.unlink()
    assert looked(watch_of(first, tmp_path / "second")).unfinished == "", "its cluster may be starting"
    os.utime(first.task.job, (0, 0))
    assert "has not begun" in looked(watch_of(first, tmp_path / "second")).unfinished
