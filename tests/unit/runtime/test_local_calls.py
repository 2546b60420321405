"""Calls over a socket: who is let in, what comes back, and what is known when nothing does."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from dataclasses import dataclass
from typing import get_type_hints

import pytest

from raythena.domain.errors import ExitCode, LedgerBusy
from raythena.runtime.actor import CoordinatorActor
from raythena.runtime.fork_requests import ForkRequests
from raythena.runtime.fork_server import ForkServer
from raythena.runtime.local_calls import (
    Address,
    BlockingCall,
    Caller,
    Doorkeeper,
    Failure,
    Frames,
    RemoteFailure,
    Unanswered,
    framed,
    is_ours,
    listen,
    methods_of,
    serve,
)
from raythena.runtime.message_codec import BadMessage, encode
from raythena.runtime.process_session import CoordinatorCalls

TOKEN = bytes(range(32))


@dataclass(frozen=True)
class Pair:
    left: int
    right: str


class Served:
    """What can be called here."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.calls = 0

    async def swap(self, pair: Pair, times: int) -> Pair:
        self.calls += 1
        return Pair(int(pair.right) * times, str(pair.left))

    async def wait(self) -> str:
        await self.gate.wait()
        return "at last"

    async def open_gate(self) -> None:
        self.gate.set()

    async def refuse(self) -> None:
        raise LedgerBusy("somebody else has it")

    async def break_down(self) -> None:
        raise ZeroDivisionError("by nothing")

    def not_offered(self) -> None:
        """Neither asynchronous nor offered."""


@contextlib.asynccontextmanager
async def served(tmp_path):
    one = Served()
    task = asyncio.create_task(serve(one, listen(tmp_path / "s"), TOKEN))
    try:
        yield one, Address(str(tmp_path / "s"), TOKEN)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def run(tmp_path, scenario):
    async def go():
        async with served(tmp_path) as (one, address):
            await asyncio.wait_for(scenario(one, address), 30)

    asyncio.run(go())


def test_calls_overlap_on_one_line(tmp_path):
    async def scenario(one, address):
        caller = Caller(address, Served)
        waiting = asyncio.create_task(caller.call("wait"))
        assert await caller.call("swap", Pair(1, "2"), 3) == Pair(6, "1")
        assert not waiting.done()
        assert await caller.call("open_gate") is None
        assert await waiting == "at last"
        caller.close()

    run(tmp_path, scenario)


def test_what_is_raised_comes_back_with_its_exit_code(tmp_path):
    async def scenario(one, address):
        caller = Caller(address, Served)
        with pytest.raises(RemoteFailure, match="somebody else has it") as refused:
            await caller.call("refuse")
        assert (refused.value.exit_code, refused.value.is_defect) == (ExitCode.LEDGER, False)
        with pytest.raises(RemoteFailure, match="ZeroDivisionError: by nothing") as broken:
            await caller.call("break_down")
        assert (broken.value.exit_code, broken.value.is_defect) == (ExitCode.INTERNAL, True)
        for name in ("not_offered", "_gate", "__init__"):
            with pytest.raises(RemoteFailure, match="nothing is called"):
                await caller.call(name)
        with pytest.raises(RemoteFailure, match="BadMessage"):
            await caller.call("swap", "no pair", 3)
        caller.close()

    run(tmp_path, scenario)


@pytest.mark.parametrize("said", [bytes(32), TOKEN[:-1] + b"\0", TOKEN + b"\xff\xff\xff\xff", TOKEN + framed(b"\xc1")])
def test_a_stranger_is_told_nothing(tmp_path, said):
    """A token that is wrong, or something behind it that no caller says."""

    async def scenario(one, address):
        reader, writer = await asyncio.open_unix_connection(address.path)
        writer.write(said + (b"" if said.startswith(TOKEN) else framed(encode((1, "swap", (Pair(1, "2"), 3))))))
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        assert one.calls == 0
        writer.close()
        caller = Caller(address, Served)
        assert await caller.call("swap", Pair(1, "2"), 1) == Pair(2, "1"), "others are served as before"
        caller.close()

    run(tmp_path, scenario)


def test_a_process_of_ours_is_known(tmp_path):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert is_ours(ours) is (os.getuid() == os.geteuid())


def test_a_line_that_ends_leaves_calls_unanswered_and_the_next_call_opens_another(tmp_path):
    async def scenario(one, address):
        caller = Caller(address, Served)
        waiting = asyncio.create_task(caller.call("wait"))
        await caller.call("swap", Pair(1, "2"), 1)
        caller.close()
        with pytest.raises(Unanswered):
            await waiting
        assert await caller.call("swap", Pair(1, "2"), 1) == Pair(2, "1")
        caller.close()
        with pytest.raises(Unanswered):
            await Caller(Address(str(tmp_path / "nobody"), TOKEN), Served).call("wait")

    run(tmp_path, scenario)


def test_a_thread_without_a_loop_calls_too(tmp_path):
    async def scenario(one, address):
        def calls():
            waiting = BlockingCall(address, Served, "wait")
            assert not waiting.is_answered(0.05)
            assert BlockingCall(address, Served, "swap", Pair(1, "2"), 3).value(10) == Pair(6, "1")
            with pytest.raises(RemoteFailure, match="somebody else"):
                BlockingCall(address, Served, "refuse").value(10)
            with pytest.raises(Unanswered, match="no answer within 0 s"):
                BlockingCall(address, Served, "wait").value(0.0)
            BlockingCall(address, Served, "open_gate").close()  # said, and not waited for
            assert waiting.value(10) == "at last"
            with pytest.raises(Unanswered):
                BlockingCall(Address(str(tmp_path / "nobody"), TOKEN), Served, "wait")

        await asyncio.to_thread(calls)

    run(tmp_path, scenario)


def test_who_is_killed_leaves_a_blocking_call_unanswered(tmp_path):
    listener = listen(tmp_path / "s")

    def accept_and_die():
        connection, _ = listener.accept()
        connection.recv(1000)
        connection.close()

    dying = threading.Thread(target=accept_and_die)
    dying.start()
    with pytest.raises(Unanswered):
        BlockingCall(Address(str(tmp_path / "s"), TOKEN), Served, "wait").value(30)
    dying.join()
    listener.close()


def test_messages_are_cut_wherever_the_line_cuts_them():
    messages = [b"", b"a", b"b" * 300]
    whole = b"".join(map(framed, messages))
    frames = Frames()
    assert [message for byte in whole for message in frames.feed(bytes([byte]))] == messages
    assert list(Frames().feed(whole)) == messages
    with pytest.raises(BadMessage):
        list(Frames().feed(b"\xff\xff\xff\xff"))


def test_the_driver_calls_what_the_coordinator_is():
    """The driver's description of the coordinator, made so that it loads little, is the coordinator's own."""
    for name, declared in vars(CoordinatorCalls).items():
        if not name.startswith("_"):
            assert get_type_hints(declared) == get_type_hints(getattr(CoordinatorActor, name)), name


def test_a_fork_server_offers_all_that_is_asked_of_it():
    offered = {name for name in vars(ForkRequests) if not name.startswith("_")}
    assert offered - set(vars(ForkServer)) == {"merge"}, "a merge is answered by the process that merges"


@pytest.mark.parametrize("cut", [1, 5, 31, 32, 33, 40])
def test_who_says_the_token_is_let_in_wherever_the_line_cuts_it(cut):
    said = TOKEN + framed(b"first") + framed(b"second")
    doorkeeper = Doorkeeper(TOKEN)
    heard = [*doorkeeper.feed(said[:cut]), *doorkeeper.feed(said[cut:])]
    assert heard == [b"first", b"second"]


@pytest.mark.parametrize("at", [0, 15, 31])
def test_who_gets_one_byte_of_it_wrong_is_not(at):
    said = bytearray(TOKEN)
    said[at] ^= 1
    doorkeeper = Doorkeeper(TOKEN)
    assert list(doorkeeper.feed(bytes(said[:-1]))) == [], "nothing is said before all of it is heard"
    with pytest.raises(BadMessage, match="stranger"):
        list(doorkeeper.feed(bytes(said[-1:]) + framed(b"first")))


def test_a_defect_and_an_error_of_ours_are_told_apart():
    ours = Failure.of(LedgerBusy("taken")).error()
    assert (str(ours), ours.exit_code, ours.is_defect) == ("taken", ExitCode.LEDGER, False)
    defect = Failure.of(KeyError("x")).error()
    assert (str(defect), defect.exit_code, defect.is_defect) == ("KeyError: 'x'", ExitCode.INTERNAL, True)


def test_what_a_class_offers_is_what_it_does_asynchronously_and_in_public():
    assert set(methods_of(Served)) == {"swap", "wait", "open_gate", "refuse", "break_down"}
    assert methods_of(Served) is methods_of(Served), "found out once"
