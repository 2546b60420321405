"""Certificates of a session: each node's is taken by the others, and nobody else's."""

import socket
import ssl
import stat
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from raythena.domain.errors import InvalidInput
from raythena.launch.certificates import check_available, new_authority, own_addresses, tls_environment

pytest.importorskip("cryptography")

WORD = b"hello"


@pytest.fixture
def node(tmp_path):
    """The variables of a node, which has a directory of its own."""

    def make(authority, address="127.0.0.1"):
        directory = tmp_path / f"node{len(list(tmp_path.iterdir()))}"
        directory.mkdir(mode=0o700)
        return tls_environment(authority, directory, address)

    return make


def context(environ, side):
    made = ssl.SSLContext(side)
    made.load_cert_chain(environ["RAY_TLS_SERVER_CERT"], environ["RAY_TLS_SERVER_KEY"])
    made.load_verify_locations(environ["RAY_TLS_CA_CERT"])
    made.verify_mode = ssl.CERT_REQUIRED
    return made


def talk(server, client, name):
    """What a client hears of a server that it knows by this name, or what goes wrong."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        made = context(server, ssl.PROTOCOL_TLS_SERVER)
        with suppress(OSError):  # the client has its own words for what goes wrong
            made.wrap_socket(listener.accept()[0], server_side=True).sendall(WORD)

    thread = threading.Thread(target=serve)
    thread.start()
    ours = context(client, ssl.PROTOCOL_TLS_CLIENT)
    try:
        link = socket.create_connection(listener.getsockname(), timeout=10)
        with ours.wrap_socket(link, server_hostname=name) as safe:
            return safe.recv(100)
    except OSError as problem:
        return str(problem)
    finally:
        thread.join()
        listener.close()


def test_nodes_of_a_session_talk_to_each_other(node):
    authority = new_authority()
    here, there = node(authority), node(authority, "10.11.12.13")
    assert talk(there, here, "10.11.12.13") == WORD
    for address in own_addresses():
        assert talk(here, there, address) == WORD


def test_a_node_is_taken_for_none_but_itself(node):
    authority = new_authority()
    assert "10.9.9.9" in talk(node(authority), node(authority), "10.9.9.9")


@pytest.mark.parametrize("stranger", ["server", "client"])
def test_nodes_of_another_session_are_strangers(node, stranger):
    ours, theirs = node(new_authority()), node(new_authority())
    server, client = (theirs, ours) if stranger == "server" else (ours, theirs)
    assert talk(server, client, "127.0.0.1") != WORD
    assert talk(ours, ours, "127.0.0.1") == WORD


def test_keys_are_for_the_owner_only(node):
    environ = node(new_authority())
    assert environ.pop("RAY_USE_TLS") == "1"
    for path in environ.values():
        assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600


def test_an_authority_does_not_tell_its_key():
    authority = new_authority()
    assert authority.key not in repr(authority)
    assert "PRIVATE" in authority.key


def test_without_the_package_it_is_told_what_to_install(monkeypatch):
    check_available()
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(InvalidInput, match=r"launch\.tls.*raythena\[tls\]"):
        check_available()
