"""Which address a node is known by."""

import socket

import pytest

from raythena.domain.errors import ClusterError, InvalidInput
from raythena.launch.addresses import free_port, interface_address, own_address, source_address


def outside():
    """An address of this machine that others could reach, if it has any."""
    return source_address("192.0.2.1")


def test_loopback_leads_nowhere():
    assert source_address("127.0.0.1") == ""
    assert source_address("localhost") == ""


def test_a_name_nobody_knows_leads_nowhere():
    assert source_address("no-such-host.invalid") == ""


@pytest.mark.skipif(not outside(), reason="this machine has no network")
def test_the_way_to_the_others_decides():
    assert own_address("", ["no-such-host.invalid", "192.0.2.1", "192.0.2.2"]) == outside()


@pytest.mark.parametrize(("others", "words"), [(["127.0.0.1"], "127.0.0.1"), ([], "any other node")])
def test_no_way_is_an_error_that_says_whom_it_tried(others, words):
    with pytest.raises(ClusterError, match=f"{socket.gethostname()} leads to {words}"):
        own_address("", others)


def test_a_named_interface_decides_alone():
    assert own_address("lo", ["192.0.2.1"]) == "127.0.0.1"


@pytest.mark.parametrize("name", ["hsn9", "a-name-longer-than-any-interface-has"])
def test_an_interface_that_is_not_there(name):
    with pytest.raises(InvalidInput, match=rf"launch.interface: '{name}' on .*; expected an interface with an address: .*lo"):
        interface_address(name)


def test_a_free_port_can_be_listened_on():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", free_port("127.0.0.1")))
