"""Signals around a session: whose they are before it, while its cluster ends, and after."""

import asyncio
import os
import signal
from types import SimpleNamespace

import pytest

from raythena.cli import session
from raythena.cli.settings import Settings


class Shown:
    def message(self, text):
        pass


class Cluster:
    """Nothing but a cluster's end, in which a signal comes."""

    keeps_scratch = False
    joined_nodes = None

    def __init__(self, *_, **__):
        self.stopped = False

    async def ends_at(self):
        return None

    async def start(self):
        # what joining a cluster does: Ray's own handler would end the process
        signal.signal(signal.SIGTERM, lambda *_: pytest.fail("the handler of Ray"))

    async def add_nodes(self):
        pass

    async def stop(self):
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0.05)
        self.stopped = True


@pytest.fixture
def run(monkeypatch):
    monkeypatch.setattr(session, "make_cluster", Cluster)
    made = session._Run(SimpleNamespace(task_directory="/t", session="s"), Settings(), Shown())

    async def nothing(*_):
        return "ended"

    monkeypatch.setattr(made, "_start_session", nothing)
    monkeypatch.setattr(made, "_watch", nothing)
    return made


def test_a_signal_while_the_cluster_ends_kills_nobody(run):
    came = []
    before = signal.signal(signal.SIGTERM, lambda number, _: came.append(number))
    try:
        assert asyncio.run(run.go()) == "ended"
        assert run._cluster.stopped
        assert came == []
        os.kill(os.getpid(), signal.SIGTERM)
        assert came == [signal.SIGTERM], "the signals are not the command's again"
    finally:
        signal.signal(signal.SIGTERM, before)


class Stopped:
    """A session that remembers how often it was asked to stop."""

    def __init__(self):
        self.orders = []

    def stop(self, order):
        self.orders.append(order)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_two_signals_within_a_moment_are_one_warning(monkeypatch, number):
    """The batch system signals the process group, and the script's trap passes it on."""
    monkeypatch.setattr(session, "make_cluster", Cluster)
    made = session._Run(SimpleNamespace(task_directory="/t", session="s"), Settings(), Shown())
    made._session = Stopped()

    async def story():
        loop = asyncio.get_running_loop()
        before = {each: signal.getsignal(each) for each in session.caught_signals()}
        with made._signals(loop, before):
            for _ in range(2):
                os.kill(os.getpid(), number)
                await asyncio.sleep(0.05)

    asyncio.run(story())
    assert [order.cause for order in made._session.orders] == [number.name]
    assert not made._at_once


def test_a_cluster_that_a_signal_took_down_is_no_error_of_ours(monkeypatch, run):
    run._interrupted(signal.SIGTERM)
    with pytest.raises(session.StoppedEarly, match=r"stopped by SIGTERM, and the cluster with it \(Ray's head ended\)"):
        run._cluster_lost("Ray's head ended")
    assert session.StoppedEarly.exit_code == 5


def test_a_cluster_that_is_lost_is_one(run):
    with pytest.raises(session.ClusterError, match="Ray's head ended"):
        run._cluster_lost("Ray's head ended")
