"""Where a cluster of somebody else's is said to be, and what is said of it."""

import pytest

from raythena.domain.errors import InvalidInput
from raythena.launch.joined import JoinedCluster
from raythena.launch.launcher import LaunchOrder, choose_launcher, launchers
from raythena.runtime.session_config import JoinedNodes


def order(environ=None, **fields):
    return LaunchOrder(environ or {}, "", "", **fields)


def test_it_is_joined_only_where_that_is_asked_for():
    environ = {"RAY_ADDRESS": "10.0.0.1:6379"}
    assert choose_launcher("auto", environ).name == "local"
    assert choose_launcher("ray", environ).launch is JoinedCluster


@pytest.mark.parametrize(
    ("environ", "fields", "words"),
    [
        ({"RAY_ADDRESS": "10.0.0.1:6379"}, {}, "the Ray cluster at 10.0.0.1:6379"),
        ({"RAY_ADDRESS": "10.0.0.1:6379"}, {"ray_address": "head:99"}, "the Ray cluster at head:99"),
        ({}, {"ray_address": "head:99", "nodes": 3}, "at most 3 nodes of the Ray cluster at head:99"),
    ],
)
def test_the_cluster_in_words(environ, fields, words):
    assert launchers()["ray"].words(order(environ, **fields)) == words


@pytest.mark.parametrize("address", ["", "auto", "head", "head:", ":99", "ray://head:port"])
def test_an_address_that_is_none(address):
    with pytest.raises(InvalidInput, match=r"launch\.ray_address.*host:port"):
        JoinedCluster(order(ray_address=address))


def test_what_is_wanted_of_it():
    assert JoinedCluster(order(ray_address="h:1")).joined_nodes == JoinedNodes(0, 0)
    assert JoinedCluster(order(ray_address="h:1", nodes=2, cores=8)).joined_nodes == JoinedNodes(2, 8)
