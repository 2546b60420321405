"""A coordinator whose ranges come from a gateway, without Ray: agents are played by hand, the ledger and the files are real."""

from __future__ import annotations

import asyncio
import json
import zipfile
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from raythena.domain.errors import ExitCode, InvalidInput
from raythena.domain.job import NO_MERGE, InputFile, Job, MergeSpec, PayloadSpec
from raythena.domain.range_report import RangeStatus, archive_name, delivered_name
from raythena.domain.ranges import EventRange
from raythena.domain.results import FailureKind
from raythena.engine.engine_config import EngineConfig
from raythena.engine.node_core import NodeConfig
from raythena.gateways.memory import MemoryGateway
from raythena.runtime import agent as agent_module
from raythena.runtime.agent import Agent
from raythena.runtime.coordinator import Coordinator
from raythena.runtime.gateway_interface import GatewayContext
from raythena.runtime.payload_interface import Done, Failed, PayloadPlugin, Released
from raythena.runtime.session_config import AgentOrder, Delivery, DeliveryForm, SessionConfig
from raythena.storage.ledger_view import LedgerView

INPUTS = tuple(InputFile(f"EVNT.{n}", f"/in/EVNT.{n}", 0, guid=f"G{n}") for n in range(2))
JOB = Job("given", INPUTS, ("HITS.root",), PayloadSpec("here"), MergeSpec(NO_MERGE), 1, ranges_given=True)


def ranges(count: int) -> list[EventRange]:
    """The first `count` ranges there are, of two files in turn, all in PanDA's form."""
    return [
        EventRange(
            f"11-22-{33 + n % 2}-{n // 2 + 1}-4", INPUTS[n % 2].lfn, INPUTS[n % 2].pfn, f"G{n % 2}", n // 2 + 1, n // 2 + 1
        )
        for n in range(count)
    ]


def config(directory: Path, delivery: Delivery | None = None, **more) -> SessionConfig:
    engine = EngineConfig(retry_delay_s=0.01, max_attempts=2, drain_limit_s=0.5)
    node = NodeConfig(group_events=5, group_age_s=0.01)
    return SessionConfig(
        "s1", str(directory), JOB, engine, node=node, commit_interval_s=0.0, delivery=delivery or Delivery(), **more
    )


def gateway(count: int, **options) -> MemoryGateway:
    options = {"ranges": [asdict(each) for each in ranges(count)], **options}
    return MemoryGateway(GatewayContext(JOB, "s1", Path("/"), options))


async def no_merge(order):
    raise AssertionError("given ranges are never merged")


class Computer:
    """A payload in this process: the output of a range is its id; events in `poison` fail."""

    poison: frozenset[int] = frozenset()

    async def start(self, context):
        self._scratch = context.scratch
        self._waiting = []
        self._released = []

    @property
    def appetite(self):
        return max(0, 4 - len(self._waiting))

    def feed(self, leases):
        self._waiting += leases

    def release(self, indices):
        wanted = set(indices)
        self._released += [Released(one.index) for one in self._waiting if one.index in wanted]
        self._waiting = [one for one in self._waiting if one.index not in wanted]

    def collected(self, stretches):
        pass

    async def poll(self, timeout_s):
        await asyncio.sleep(0.001)
        outcomes, self._released = self._released, []
        for one in self._waiting[:1]:
            outcomes.append(self._compute(one))
        self._waiting = self._waiting[1:]
        return outcomes

    def _compute(self, one):
        each = one.event_range
        assert each.pfn == f"/in/{each.lfn}"
        assert each.guid
        if each.first_event in self.poison:
            return Failed(one.index, FailureKind.REPORTED, "poison")
        path = self._scratch / f"{one.index}.out"
        path.write_text(each.range_id)
        return Done(one.index, path, len(each.range_id), 1000.0, 0.01, 0.01)

    async def drain(self, deadline_s):
        pass

    async def stop(self):
        pass


class HereLink:
    """A coordinator in this process."""

    def __init__(self, coordinator):
        self.coordinator = coordinator

    async def register(self, node, cores, held):
        return self.coordinator.register(node, cores, held)

    async def exchange(self, message):
        return self.coordinator.exchange(message)


@pytest.fixture
def computer(monkeypatch):
    class Mine(Computer):
        pass

    monkeypatch.setattr(agent_module, "payload_plugin", lambda kind: PayloadPlugin("here", Mine))
    return Mine


async def session(settings: SessionConfig, memory: MemoryGateway, nodes: int = 2):
    coordinator = await Coordinator.take_over(settings, no_merge, memory)
    agents = [Agent(AgentOrder(f"n{n}.1", 2, settings), HereLink(coordinator)).run() for n in range(nodes)]
    working = asyncio.gather(*agents)
    result = await asyncio.wait_for(coordinator.ended(), 120)
    await asyncio.wait_for(working, 120)
    return result


def told(memory: MemoryGateway) -> dict[str, RangeStatus]:
    """What was said of each range, and never two different things."""
    said: dict[str, RangeStatus] = {}
    for report in memory.reports:
        for each in report.ranges:
            assert said.setdefault(each.range_id, each.status) is each.status
    return said


def test_every_range_is_reported_in_the_archive_that_holds_its_output(tmp_path, computer):
    memory = gateway(37, per_answer=10)
    result = asyncio.run(session(config(tmp_path), memory))
    assert (result.outcome, result.exit_code, result.error) == ("complete", ExitCode.OK, None)
    assert told(memory) == {each.range_id: RangeStatus.FINISHED for each in ranges(37)}
    assert sum(len(report.ranges) for report in memory.reports) == 37
    for report in memory.reports:
        assert Path(report.archive.path).stat().st_size == report.archive.size_bytes
        with zipfile.ZipFile(report.archive.path) as archive:
            content = {name: archive.read(name).decode() for name in archive.namelist()}
        assert content == {f"HITS.root.{each.range_id}": each.range_id for each in report.ranges}
        assert len({each.range_id.split("-")[2] for each in report.ranges}) == 1, "an archive holds events of two files"
    assert memory.result is result


def test_every_output_is_a_file_of_its_own_where_it_is_wanted(tmp_path, computer):
    access_point = tmp_path / "access point"
    delivery = Delivery(DeliveryForm.FILES, str(access_point), "EventService_premerge")
    memory = gateway(12)
    result = asyncio.run(session(config(tmp_path / "task", delivery), memory))
    assert result.outcome == "complete"
    files = {each.range_id: each.file for report in memory.reports for each in report.ranges}
    assert len(files) == 12
    for range_id, file in files.items():
        path = Path(file.path)
        assert path.is_relative_to(access_point)
        assert (path.name, path.read_text()) == (f"EventService_premerge.{range_id}", range_id)
        assert file.size_bytes == len(range_id)
    assert sorted(str(path) for path in access_point.rglob("*") if path.is_file()) == sorted(each.path for each in files.values())


def test_archives_of_all_sessions_and_nodes_have_names_of_their_own(tmp_path, computer):
    """Harvester and PanDA know a file by its last name alone, and count archives of one name as one: events would be lost."""
    names = []
    for number in (1, 2):
        memory = gateway(20 * number)
        settings = replace(config(tmp_path), session=f"s{number}", job=replace(JOB, job_id="5750099001"))
        assert asyncio.run(session(settings, memory)).outcome == "complete"
        assert sum(len(report.ranges) for report in memory.reports) == 20
        names += [Path(report.archive.path).name for report in memory.reports]
    assert len(set(names)) == len(names) >= 8
    assert all(name.startswith(("5750099001.s1.n", "5750099001.s2.n")) and name.endswith(".zip") for name in names)
    # the sweep at a session's end finds them again: all of them are still there
    assert sorted(path.name for path in (tmp_path / "staging").rglob("*.zip")) == sorted(names)


def test_what_is_not_a_job_of_pandas_has_archives_with_names_as_well():
    assert archive_name("", "20261128-010203-abcdef/node1.1/000007") == "20261128-010203-abcdef.node1.1.000007.zip"
    for job in ("../../etc", "a/b", "nul\0", "ü" * 300, "\udc80"):
        name = archive_name(job, "s/n.1/000001")
        assert not {"/", "\0"} & set(name)
        assert len(name.encode()) < 255
        assert name.endswith(".s.n.1.000001.zip")


def test_what_fails_is_reported_as_failed_and_ends_incomplete(tmp_path, computer):
    computer.poison = frozenset({3})
    memory = gateway(20)
    result = asyncio.run(session(config(tmp_path), memory))
    assert (result.outcome, result.exit_code) == ("incomplete", ExitCode.INCOMPLETE)
    said = told(memory)
    assert {range_id for range_id, status in said.items() if status is not RangeStatus.FINISHED} == {
        "11-22-33-3-4",
        "11-22-34-3-4",
    }
    failed = [each for report in memory.reports for each in report.ranges if each.status is not RangeStatus.FINISHED]
    assert all(each.message == "poison" and each.file is None for each in failed)
    assert len(said) == 20


def test_what_is_not_acknowledged_is_reported_again_by_the_next_life(tmp_path, computer):
    settings = config(tmp_path, gateway_patience_s=5.0)
    deaf = gateway(15, acknowledge=False)

    async def first_life():
        coordinator = await Coordinator.take_over(settings, no_merge, deaf)
        working = asyncio.create_task(Agent(AgentOrder("n0.1", 2, settings), HereLink(coordinator)).run())
        while len(told(deaf)) < 15:  # noqa: ASYNC110 (the gateway has no event for it)
            await asyncio.sleep(0.01)
        coordinator.stop("enough")
        result = await asyncio.wait_for(coordinator.ended(), 120)
        await asyncio.wait_for(working, 120)
        return result

    assert asyncio.run(first_life()).outcome == "stopped"
    memory = gateway(20)
    result = asyncio.run(session(settings, memory))
    assert result.outcome == "complete"
    assert set(told(memory)) == {each.range_id for each in ranges(20)}
    assert not {each.range_id for report in memory.reports for each in report.ranges} - {each.range_id for each in ranges(20)}
    with LedgerView.read(tmp_path / "ledger.sqlite") as view:
        indices = np.concatenate([chunk.events["range"] for chunk in view.iter_events()])
    assert sorted(indices.tolist()) == list(range(20)), "a range was computed twice"


def test_ranges_given_twice_are_computed_once(tmp_path, computer):
    class Forgetful(MemoryGateway):
        def ranges_wanted(self, count):
            super().ranges_wanted(count)
            if len(self.wanted) == 2:
                again = ranges(9)
                self._to_do.put_nowait(lambda line: line.ranges_given(again))

    memory = Forgetful(GatewayContext(JOB, "s1", Path("/"), {"ranges": [asdict(each) for each in ranges(9)], "per_answer": 4}))
    assert asyncio.run(session(config(tmp_path), memory)).outcome == "complete"
    assert sum(len(report.ranges) for report in memory.reports) == 9


def test_a_range_of_an_unknown_file_ends_the_job_under_its_name(tmp_path, computer):
    stranger = asdict(EventRange("1-2-3-4-5", "EVNT.7", "/in/EVNT.7", "", 1, 1))
    result = asyncio.run(session(config(tmp_path), gateway(0, ranges=[stranger])))
    assert (result.outcome, result.exit_code) == ("aborted", ExitCode.INVALID_INPUT)
    assert "EVNT.7" in result.reason


def test_a_gateway_that_breaks_ends_the_job(tmp_path, computer):
    class Broken(MemoryGateway):
        async def run(self, coordinator):
            raise ZeroDivisionError("a defect")

    result = asyncio.run(session(config(tmp_path), Broken(GatewayContext(JOB, "s1", Path("/"), {}))))
    assert (result.outcome, result.exit_code) == ("aborted", ExitCode.INTERNAL)
    assert "ZeroDivisionError: a defect" in result.reason


def test_the_report_has_the_command_that_began_the_session(tmp_path, computer):
    words = "raythena harvest --access-point '/a b'"
    asyncio.run(session(config(tmp_path, command_line=words), gateway(1)))
    assert json.loads((tmp_path / "jobReport.json").read_text())["cmdLine"] == words


def test_the_outside_may_ask_for_an_early_end(tmp_path, computer):
    class Impatient(MemoryGateway):
        async def run(self, coordinator):
            coordinator.stop("the queue is closed")
            await super().run(coordinator)

    result = asyncio.run(session(config(tmp_path), Impatient(GatewayContext(JOB, "s1", Path("/"), {}))))
    assert (result.outcome, result.reason) == ("stopped", "the queue is closed")


def test_a_job_whose_ranges_are_given_needs_a_gateway(tmp_path):
    with pytest.raises(InvalidInput, match="event ranges come from outside"):
        asyncio.run(Coordinator.take_over(config(tmp_path), no_merge))


def test_a_session_without_a_range_is_over_at_once(tmp_path, computer):
    memory = gateway(0)
    result = asyncio.run(session(replace(config(tmp_path)), memory))
    assert (result.outcome, memory.reports) == ("complete", [])


def test_names_of_outputs_are_names_of_files():
    assert delivered_name("HITS.root", "1-2-3-4-5") == "HITS.root.1-2-3-4-5"
    for range_id in ("../../etc", "a/b", "nul\0", "ü" * 300, "\udc80"):
        name = delivered_name("p", range_id)
        assert "/" not in name
        assert "\0" not in name
        assert len(name.encode()) < 255
