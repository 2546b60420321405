"""A defect of ours ends the job with its name and exit code 1; what was committed stands. Nothing hangs."""

import asyncio
import contextlib

import numpy as np
import pytest

from raythena.domain.errors import ExitCode
from raythena.domain.job import InputFile, Job, MergeSpec, PayloadSpec
from raythena.runtime.coordinator import Coordinator
from raythena.runtime.session_config import SessionConfig
from raythena.storage.ledger_view import LedgerView

NOTHING = np.empty(0, dtype=np.int64)


def config(directory) -> SessionConfig:
    job = Job("toy", (InputFile("f.evnt", "/f.evnt", 10),), ("OUT",), PayloadSpec("python"), MergeSpec(), 10)
    return SessionConfig("s1", str(directory), job, commit_interval_s=0.0)


async def no_merge(order):
    raise AssertionError("nothing is to be merged here")


def broken(*_, **__):
    raise ZeroDivisionError("a defect")


async def end_of(coordinator):
    return await asyncio.wait_for(coordinator.ended(), 60.0)


def in_exchange(coordinator):
    coordinator._node_exchange.step = broken


def in_time_keeping(coordinator):
    coordinator._node_exchange.lose_silent_nodes = broken


def in_progress(coordinator):
    coordinator._status.write = broken


@pytest.mark.parametrize("sabotage", [in_exchange, in_time_keeping, in_progress])
def test_a_defect_ends_the_job(tmp_path, sabotage):
    async def scene():
        coordinator = await Coordinator.take_over(config(tmp_path), no_merge)
        coordinator.register("node", 1, NOTHING)
        sabotage(coordinator)
        with contextlib.suppress(ZeroDivisionError):
            coordinator.register("other", 1, NOTHING)
        return await end_of(coordinator)

    result = asyncio.run(scene())
    assert result.exit_code is ExitCode.INTERNAL
    assert "ZeroDivisionError: a defect" in result.reason
    assert not (tmp_path / "coordinator.lease").exists()
    with LedgerView.read(tmp_path / "ledger.sqlite") as ledger:
        assert [session.verdict for session in ledger.sessions()] == ["aborted"]


def test_every_coordinator_of_a_task_has_a_number_of_its_own(tmp_path):
    """Job numbers are made from it."""

    async def scene():
        coordinator = await Coordinator.take_over(config(tmp_path), no_merge)
        coordinator.stop("enough")
        await end_of(coordinator)
        return coordinator.number

    assert [asyncio.run(scene()) for _ in range(3)] == [1, 2, 3]


def test_a_defect_in_an_answer_ends_the_job(tmp_path):
    """The actor tells the coordinator of what its answers raise."""

    async def scene():
        coordinator = await Coordinator.take_over(config(tmp_path), no_merge)
        coordinator.give_up(ZeroDivisionError("a defect"))
        coordinator.give_up(ZeroDivisionError("one more"))
        return await end_of(coordinator)

    result = asyncio.run(scene())
    assert result.exit_code is ExitCode.INTERNAL
    assert "a defect" in result.reason


def test_a_defect_while_the_end_is_written_down_does_not_hang(tmp_path, monkeypatch):
    monkeypatch.setattr("raythena.runtime.coordinator.write_report", broken)

    async def scene():
        coordinator = await Coordinator.take_over(config(tmp_path), no_merge)
        coordinator.stop("enough")
        return await end_of(coordinator)

    result = asyncio.run(scene())
    assert result.exit_code is ExitCode.INTERNAL
    assert "ZeroDivisionError" in result.reason
