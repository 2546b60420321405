"""One machine without Ray: how many nodes there are, and who chooses it."""

import asyncio
import os
import stat

import pytest

from raythena.domain.errors import InternalError
from raythena.launch.launcher import LaunchOrder, choose_launcher
from raythena.launch.processes import PLUGIN
from raythena.runtime.process_session import ProcessSession
from raythena.runtime.session_config import SessionConfig
from raythena.testing.simulation.samples import small_job


def order(**fields):
    return LaunchOrder({}, "", "", **fields)


def test_it_is_used_only_where_that_is_asked_for():
    assert choose_launcher("auto", {}).name == "local"
    assert choose_launcher("processes", {}) is PLUGIN


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "1 node × 4 cores, without Ray"),
        ({"nodes": 2}, "2 nodes × 2 cores, without Ray"),
        ({"nodes": 8}, "8 nodes × 1 cores, without Ray"),
        ({"nodes": 2, "cores": 16}, "2 nodes × 16 cores, without Ray"),
    ],
)
def test_nodes_share_the_cores_of_the_machine(monkeypatch, fields, words):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    assert PLUGIN.words(order(**fields)) == words


def test_programs_are_run_on_this_machine_once():
    (command,) = PLUGIN.commands(order(nodes=3), ("true",))
    assert command.argv == ("true",)


def test_a_cluster_that_was_never_started_has_no_failure_and_stops():
    nodes = PLUGIN.launch(order())
    assert nodes.failure() == ""
    asyncio.run(nodes.stop())


def test_a_fork_server_that_dies_is_told_and_its_files_go(tmp_path):
    """Nobody but us gets into its directory while it lives."""

    async def story():
        nodes = PLUGIN.launch(order(nodes=2, ray_directory=str(tmp_path)) if len(str(tmp_path)) <= 40 else order(nodes=2))
        config = SessionConfig("s", "/task", small_job())
        with pytest.raises(InternalError, match="not started"):
            nodes.session(config)
        await nodes.start()
        place = nodes._directory
        assert stat.S_IMODE(place.stat().st_mode) == 0o700
        assert (place / "server").is_socket()
        assert isinstance(nodes.session(config), ProcessSession)
        assert nodes.failure() == ""
        (pid,) = nodes._process_guard._exits
        nodes._process_guard.kill(pid)
        while not nodes.failure():  # noqa: ASYNC110 (what is awaited has no event of its own)
            await asyncio.sleep(0.01)
        assert "the fork server ended with -9" in nodes.failure()
        await nodes.stop()
        await nodes.stop()
        assert not place.exists()

    asyncio.run(asyncio.wait_for(story(), 60))
