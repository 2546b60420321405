"""One machine without Ray: how many nodes there are, and who chooses it."""

import os

import pytest

from raythena.launch.launcher import LaunchOrder, choose_launcher
from raythena.launch.processes import PLUGIN


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
    import asyncio

    nodes = PLUGIN.launch(order())
    assert nodes.failure() == ""
    asyncio.run(nodes.stop())
