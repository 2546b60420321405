"""The driver of a session without Ray, against a coordinator that is made up: its deaths, refusals and errors."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from dataclasses import replace

import pytest

from raythena.domain.errors import ClusterError, ExitCode, LedgerBusy
from raythena.domain.progress import Progress
from raythena.runtime.cluster import Machine
from raythena.runtime.driver import SessionRefused
from raythena.runtime.fork_requests import COORDINATOR_SOCKET, SERVER_SOCKET, TOKEN_FILE, SessionPlan
from raythena.runtime.local_calls import RemoteFailure, listen, serve
from raythena.runtime.message_codec import from_text
from raythena.runtime.process_session import ProcessSession
from raythena.runtime.session_config import SessionConfig, StopOrder
from raythena.runtime.session_end import SessionResult
from raythena.testing.simulation.samples import small_job

TOKEN = bytes(range(32))
MACHINES = (Machine("1", "here-1", 2, alive=True),)
CONFIG = SessionConfig("s", "/task", small_job())
PROGRESS = Progress(
    job="job",
    phase="running",
    events=12,
    ready=3,
    leased=2,
    stored=4,
    merged=3,
    failed=0,
    attempts_failed=0,
    outputs=3,
    outputs_merged=1,
    merging=0,
    resumed=0,
    rate_per_s=2.0,
    remaining_s=None,
    elapsed_s=1.0,
    occupancy=0.5,
)
RESULT = SessionResult("complete", "every event", ExitCode.OK, replace(PROGRESS, phase="ended"))


class MadeUpCoordinator:
    """What a driver asks for."""

    def __init__(self) -> None:
        self.refusal: tuple[str, int] | None = None
        self.problem: Exception | None = None
        self.orders: list[StopOrder] = []
        self.is_over = asyncio.Event()

    async def start(self) -> tuple[str, int] | None:
        return self.refusal

    async def progress(self) -> Progress:
        if self.problem is not None:
            raise self.problem
        return PROGRESS

    async def stop(self, order: StopOrder) -> None:
        self.orders.append(order)

    async def ended(self) -> SessionResult:
        await self.is_over.wait()
        return RESULT


class MadeUpServer:
    """Takes a plan and starts nothing."""

    def __init__(self) -> None:
        self.plans: list[SessionPlan] = []

    async def begin(self, plan: str) -> None:
        self.plans.append(from_text(plan, SessionPlan))


class Stage:
    """Server and coordinator in a thread of their own, as the driver blocks."""

    def __init__(self, directory) -> None:
        self.directory = directory
        (directory / TOKEN_FILE).write_bytes(TOKEN)
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.server = MadeUpServer()
        self._served: list[asyncio.Task[None]] = []
        self._put(self.server, SERVER_SOCKET)
        self.coordinator = self.new_coordinator()

    def new_coordinator(self) -> MadeUpCoordinator:
        async def make():
            return MadeUpCoordinator()

        self.coordinator = self.do(make())
        self._put(self.coordinator, COORDINATOR_SOCKET)
        return self.coordinator

    def _put(self, served, name) -> None:
        async def put():
            (self.directory / name).unlink(missing_ok=True)
            self._served.append(asyncio.create_task(serve(served, listen(self.directory / name), TOKEN)))

        self.do(put())

    def kill_coordinator(self) -> None:
        """Its socket is there no more, nor any line to it."""

        async def kill():
            (self.directory / COORDINATOR_SOCKET).unlink()
            self._served[-1].cancel()
            for transport in list(self.loop._transports.values()):
                if str(transport.get_extra_info("sockname")).endswith(COORDINATOR_SOCKET):
                    transport.abort()

        self.do(kill())

    def do(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def later(self, action) -> None:
        self.loop.call_soon_threadsafe(action)

    def close(self) -> None:
        async def leave():
            for task in self._served:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

        self.do(leave())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


@pytest.fixture
def stage(tmp_path):
    made = Stage(tmp_path)
    yield made
    made.close()


@pytest.fixture
def session(stage):
    return ProcessSession(CONFIG, stage.directory, MACHINES)


def test_from_start_to_end(stage, session):
    session.start()
    assert stage.server.plans == [SessionPlan(CONFIG, MACHINES)]
    assert session.progress() == PROGRESS
    assert not session.has_ended(0.01)
    with pytest.raises(ClusterError, match="has not ended"):
        session.result()
    stage.later(stage.coordinator.is_over.set)
    assert session.has_ended(30.0)
    assert session.result() == RESULT


def test_a_task_that_is_taken_is_refused_with_its_own_code(stage, session):
    stage.coordinator.refusal = ("somebody else has it", int(ExitCode.LEDGER))
    with pytest.raises(SessionRefused, match="somebody else") as refused:
        session.start()
    assert refused.value.exit_code is ExitCode.LEDGER


def test_a_fork_server_that_is_gone(tmp_path):
    (tmp_path / TOKEN_FILE).write_bytes(TOKEN)
    with pytest.raises(ClusterError, match="could not be started"):
        ProcessSession(CONFIG, tmp_path, MACHINES).start()


def test_a_stop_is_told(stage, session):
    session.start()
    session.stop("enough")
    order = StopOrder("in a hurry", by=5.0)
    session.stop(order)
    assert session.progress() is not None  # by then they have been read
    assert stage.coordinator.orders == [StopOrder("enough"), order]


def test_a_stop_that_nobody_hears_is_told_to_the_next_coordinator(stage, session):
    session.start()
    assert not session.has_ended(0.01)
    stage.kill_coordinator()
    session.stop("enough")
    assert session.progress() is None
    following = stage.new_coordinator()
    for _ in range(100):
        assert not session.has_ended(0.05)
        if following.orders:
            break
    assert following.orders == [StopOrder("enough")]
    stage.later(following.is_over.set)
    assert session.has_ended(30.0)
    assert session.result() == RESULT


@pytest.mark.parametrize(
    ("problem", "kind", "words"),
    [
        (LedgerBusy("another session has it"), RemoteFailure, "another session has it"),
        (ZeroDivisionError("by nothing"), ClusterError, "the session broke: ZeroDivisionError: by nothing"),
    ],
)
def test_what_breaks_the_coordinator_ends_the_command(stage, session, problem, kind, words):
    session.start()
    stage.coordinator.problem = problem
    with pytest.raises(kind, match=words) as raised:
        session.progress()
    if isinstance(problem, LedgerBusy):
        assert raised.value.exit_code is ExitCode.LEDGER
