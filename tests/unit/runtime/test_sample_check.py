"""What the first finished events tell about merging: which word of the merger's stops a job, and which does not."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from raythena.domain.errors import MergeError, StorageError
from raythena.domain.job import Job, MergeSpec, PayloadSpec
from raythena.domain.results import ENTRY_DTYPE, GroupReport
from raythena.runtime.sample_check import TRIES, LookBeforeMerge, SampleCheck

NO_GOOD = MergeError("the output of range 0 is no good", (0,), ("has 2 entries",))
LOST = MergeError("the output of range 0 is lost", (0,))
NEVER = MergeError("branch 'vec' of type std::vector<float> cannot be merged")


def group(*ranges: int) -> GroupReport:
    entries = np.zeros(len(ranges), ENTRY_DTYPE)
    entries["range"] = ranges
    return GroupReport("g", "n", 1, "staging/g.zip", 1, 1, entries)


class Session:
    """A check whose merger answers as told, and what came of it."""

    def __init__(self, *answers: Exception | None, merge: str = "root") -> None:
        job = Job("job", (), ("a", "b"), PayloadSpec("python"), MergeSpec(merge), 4)
        config: Any = SimpleNamespace(task_directory="/t", session="s", scratch_directory="/x", job=job)
        self.answers = list(answers)
        self.seen: list[int] = []
        self.stopped: list[tuple[str, Exception]] = []
        self.check = SampleCheck(config, self.sampler, lambda reason, cause: self.stopped.append((reason, cause)))

    async def sampler(self, order: Any) -> None:
        (shown,) = order.groups
        assert (order.lfn, order.expected, len(shown.entries)) == ("b", 1, 1)
        self.seen += shown.entries["range"].tolist()
        await asyncio.sleep(0)
        if (answer := self.answers.pop(0)) is not None:
            raise answer

    def look(self, *groups: GroupReport) -> Session:
        async def all_at_once() -> None:
            await asyncio.gather(*(self.check.look(each) for each in groups))

        asyncio.run(all_at_once())
        return self


def test_one_good_event_is_enough() -> None:
    session = Session(None).look(group(4, 5), group(6)).look(group(7))
    assert (session.seen, session.stopped, session.check.wanted) == ([4], [], False)


def test_what_can_never_be_merged_stops_the_job_at_its_second_event() -> None:
    session = Session(NEVER, NEVER).look(group(4, 5)).look(group(6))
    assert session.seen == [4, 5]
    ((reason, cause),) = session.stopped
    assert reason == str(cause) == f"outputs cannot be merged: {NEVER}"
    assert isinstance(cause, MergeError)


def test_a_merger_that_fails_once_for_reasons_of_its_own_is_asked_again() -> None:
    session = Session(NEVER, None).look(group(4)).look(group(5, 6))
    assert (session.seen, session.stopped, session.check.wanted) == ([4, 5], [], False)


def test_one_output_that_is_no_good_is_not_the_end() -> None:
    session = Session(NO_GOOD, NO_GOOD, None).look(group(4)).look(group(4, 5, 6, 7))
    assert (session.seen, session.stopped) == ([4, 5, 6], [])


def test_a_payload_that_writes_nothing_good_is_stopped() -> None:
    session = Session(*[NO_GOOD] * TRIES).look(group(*range(TRIES - 1)))
    assert session.stopped == []
    assert session.check.wanted
    session.look(group(7, 8))
    ((reason, _),) = session.stopped
    assert reason == f"none of {TRIES} outputs can be merged: {NO_GOOD}"


@pytest.mark.parametrize("trouble", [StorageError("full"), RuntimeError("the process died")])
def test_trouble_proves_nothing(trouble: Exception) -> None:
    session = Session(trouble).look(group(4)).look(group(5))
    assert (session.seen, session.stopped, session.check.wanted) == ([4], [], False)


def test_an_output_that_is_gone_again_proves_nothing() -> None:
    session = Session(*[LOST] * TRIES, None).look(group(*range(TRIES + 1)))
    assert (len(session.seen), session.stopped, session.check.wanted) == (TRIES + 1, [], False)


def test_where_nothing_is_merged_nothing_is_looked_at() -> None:
    assert Session(merge="none").look(group(1)).seen == []


class Process:
    """Where samples are looked at and merges run; looks last until `looked` is set."""

    def __init__(self) -> None:
        self.did: list[str] = []
        self.looked = asyncio.Event()

    async def look(self, order: Any) -> None:
        self.did.append(f"looks at {order}")
        await self.looked.wait()
        self.did.append("has looked")
        if order == "bad":
            raise NO_GOOD

    async def merge(self, order: Any) -> Any:
        self.did.append(f"merges {order}")
        return order


@pytest.mark.parametrize("sample", ["good", "bad"])
def test_a_merge_begins_when_nothing_is_looked_at_any_more(sample: Any) -> None:
    async def play() -> list[str]:
        process = Process()
        tasks = LookBeforeMerge(process.merge, process.look)
        first: Any = "first"
        await tasks.merge(first)
        looking = asyncio.create_task(tasks.check_sample(sample))
        await asyncio.sleep(0)
        second: Any = "second"
        merging = asyncio.create_task(tasks.merge(second))
        await asyncio.sleep(0.01)
        process.looked.set()
        assert await merging == "second"
        await asyncio.gather(looking, return_exceptions=True)
        return process.did

    assert asyncio.run(play()) == ["merges first", f"looks at {sample}", "has looked", "merges second"]


def test_a_look_without_end_keeps_nothing_from_being_merged() -> None:
    async def play() -> list[str]:
        process = Process()
        tasks = LookBeforeMerge(process.merge, process.look, patience_s=0.01)
        sample: Any = "good"
        looking = asyncio.create_task(tasks.check_sample(sample))
        await asyncio.sleep(0)
        await tasks.merge(sample)
        looking.cancel()
        return process.did

    assert asyncio.run(play()) == ["looks at good", "merges good"]
