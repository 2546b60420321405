"""The command lines that start Ray: what they say, and that this version of Ray understands it."""

from pathlib import Path

import pytest

from raythena.launch.ray_environment import start_head, start_node

HEAD = start_head("127.0.0.1", 6379, Path("/tmp/rt-x/ray"), 8, "raythena_core")
NODE = start_node("127.0.0.1:6379", "127.0.0.1", 8, "raythena_core")


def test_a_head_is_started_without_what_only_long_lived_clusters_need():
    assert {"--head", "--no-monitor", "--include-dashboard=false", "--include-log-monitor=false", "--block"} <= set(HEAD)
    assert "--port=6379" in HEAD
    assert "--temp-dir=/tmp/rt-x/ray" in HEAD


def test_other_nodes_are_told_where_the_head_is_and_nothing_of_it():
    assert "--address=127.0.0.1:6379" in NODE
    assert not {"--head", "--no-monitor"} & set(NODE)


@pytest.mark.parametrize("argv", [HEAD, NODE], ids=["head", "node"])
def test_ray_knows_every_option(argv):
    """Parsed, not run: `ray start` hides some of the options it has."""
    from ray.scripts.scripts import start

    start.make_context("start", argv[argv.index("start") + 1 :])
