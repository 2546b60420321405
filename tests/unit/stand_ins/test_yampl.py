"""The stand-in for yampl carries whole messages, and answers whom it heard last."""

import json
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import yampl

STAND_INS = Path(__file__).parents[2] / "stand_ins"


def channel():
    return f"test-{uuid.uuid4().hex}"


def test_nothing_is_minus_one():
    assert yampl.ServerSocket(channel(), "local").try_recv_raw() == (-1, b"")


@settings(max_examples=30, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=4000), min_size=1, max_size=10))
def test_messages_arrive_whole_and_in_order(messages):
    name = channel()
    server, client = yampl.ServerSocket(name, "local"), yampl.ClientSocket(name, "local")
    for message in messages:
        client.send_raw(message)
    assert [server.try_recv_raw() for _ in messages] == [(len(message), message) for message in messages]
    assert server.try_recv_raw()[0] == -1
    for message in messages:
        server.send_raw(message)
    assert [client.recv_raw() for _ in messages] == [(len(message), message) for message in messages]
    assert client.try_recv_raw() == (-1, b"")


def test_the_answer_goes_to_the_client_heard_last():
    name = channel()
    server = yampl.ServerSocket(name, "local")
    clients = [yampl.ClientSocket(name, "local") for _ in range(5)]
    for number in (3, 0, 4, 1, 1):
        clients[number].send_raw(b"from %d" % number)
        assert server.recv_raw()[1] == b"from %d" % number
        server.send_raw(b"to %d" % number)
        assert clients[number].recv_raw()[1] == b"to %d" % number
    assert [client.try_recv_raw()[0] for client in clients] == [-1] * 5


def test_a_client_that_goes_takes_nobody_with_it():
    name = channel()
    server, gone, here = yampl.ServerSocket(name, "local"), yampl.ClientSocket(name, "local"), yampl.ClientSocket(name, "local")
    gone.send_raw(b"last words")
    del gone
    here.send_raw(b"hello")
    heard = {server.recv_raw()[1], server.recv_raw()[1]}
    assert heard == {b"last words", b"hello"}


def test_what_is_sent_to_a_client_that_is_gone_is_lost():
    name = channel()
    server, client = yampl.ServerSocket(name, "local"), yampl.ClientSocket(name, "local")
    server.send_raw(b"nobody has come yet")
    client.send_raw(b"hello")
    assert server.recv_raw()[1] == b"hello"
    del client
    server.send_raw(b"too late")
    assert server.try_recv_raw() == (-1, b"")
    server.send_raw(b"much too late")


def test_a_client_whose_server_is_gone_is_told():
    name = channel()
    server, client = yampl.ServerSocket(name, "local"), yampl.ClientSocket(name, "local")
    client.send_raw(b"hello")
    server.recv_raw()
    del server
    with pytest.raises(ConnectionResetError):
        client.recv_raw()


def test_a_channel_has_one_server():
    name = channel()
    first = yampl.ServerSocket(name, "local")
    with pytest.raises(OSError, match="in use"):
        yampl.ServerSocket(name, "local")
    del first
    yampl.ServerSocket(name, "local")


def test_an_unknown_context_is_refused():
    with pytest.raises(NameError, match="telepathy"):
        yampl.ClientSocket("x", "telepathy")


def test_another_process_finds_it_by_name_through_pythonpath():
    name = channel()
    talk = "time.sleep(0.2); c.send_raw(b'ping'); print(c.recv_raw())"  # who has come need not speak at once
    text = f"import time, yampl; c = yampl.ClientSocket({name!r}, 'local'); {talk}"
    surroundings = {**os.environ, "PYTHONPATH": str(STAND_INS / "python")}
    with subprocess.Popen([sys.executable, "-c", text], env=surroundings, stdout=subprocess.PIPE, text=True) as process:
        time.sleep(0.05)  # the client may come before the server
        server = yampl.ServerSocket(name, "local")
        assert server.recv_raw() == (4, b"ping")
        server.send_raw(json.dumps([1, 2]).encode())
        assert process.communicate(timeout=60)[0] == "(6, b'[1, 2]')\n"
