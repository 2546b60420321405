"""The server answers everything, with status 200 and JSON, while requests wait, break off, and make no sense."""

import asyncio
import json
import os
import socket
from urllib.parse import urlencode

import pytest

from raythena.domain.ranges import EventRange
from raythena.payloads.pilot import server as server_module
from raythena.payloads.pilot.panda_server import HoldTimes, PandaServer
from raythena.payloads.pilot.range_queue import RangeQueue
from raythena.payloads.pilot.server import HOST, PilotServer
from raythena.runtime.payload_interface import LeasedRange

NOBODY = 65534
ASK = urlencode({"pandaID": 1, "nRanges": 2}).encode()


def ranges(*numbers):
    return [LeasedRange(n, EventRange(f"EVNT-{n}", "EVNT", "/in/EVNT", "GUID", n, n)) for n in numbers]


class Served:
    """A running server; `range_queue`, `panda`, and answers in `given`."""

    def __init__(self, tmp_path=None, **hold):
        self.range_queue = RangeQueue(2)
        self.panda = PandaServer({"PandaID": 1}, self.range_queue, 2, HoldTimes(**hold))
        self.given = []
        self.server = PilotServer(self.panda, lambda answer: self.given.extend(answer.given), tmp_path and tmp_path / "journal")

    async def __aenter__(self):
        await self.server.start()
        return self

    async def __aexit__(self, *_):
        await self.server.stop()

    async def raw(self, data):
        """The whole answer to some bytes."""
        reader, writer = await asyncio.open_connection(HOST, self.server.port)
        writer.write(data)
        answer = await reader.read()
        writer.close()
        return answer

    async def post(self, path, body=b"", head=b""):
        lines = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n".encode()
        answer = await self.raw(lines + head + b"\r\n" + body)
        top, _, rest = answer.partition(b"\r\n\r\n")
        assert top.startswith(b"HTTP/1.1 200 OK"), answer
        return json.loads(rest)


async def until(condition):
    while not condition():  # noqa: ASYNC110  # what is waited for is not ours to signal
        await asyncio.sleep(0.01)


def run(scenario):
    asyncio.run(asyncio.wait_for(scenario(), 120))


def test_a_request_for_ranges_waits_until_there_are_some():
    async def scenario():
        async with Served() as served:
            asked = asyncio.create_task(served.post("/server/panda/getEventRanges", ASK))
            await until(lambda: served.panda.record.last_request_at)
            assert not asked.done()
            served.range_queue.add(ranges(1, 2))
            served.server.changed()
            assert [one["startEvent"] for one in (await asked)["eventRanges"]] == [1, 2]
            assert [in_flight.index for in_flight in served.given] == [1, 2]

    run(scenario)


def test_ranges_are_not_given_to_a_connection_that_is_gone():
    async def scenario():
        async with Served() as served:
            _, writer = await asyncio.open_connection(HOST, served.server.port)
            writer.write(b"POST /server/panda/getEventRanges HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(ASK) + ASK)
            await until(lambda: served.panda.record.last_request_at)
            writer.transport.abort()
            await until(lambda: not served.server._runner.server.connections)
            served.range_queue.add(ranges(1, 2))
            served.server.changed()
            assert len((await served.post("/server/panda/getEventRanges", ASK))["eventRanges"]) == 2

    run(scenario)


@pytest.mark.parametrize("path", ["/", "/server/panda/nothing", "/api/v1/pilot/update_worker_node", "/%ff%00/..//x?a=%zz"])
@pytest.mark.parametrize("body", [b"", b"{", b"\x1f\x8bx", b"\xff\xfe\x00", b"[" * 50_000])
def test_anything_is_answered(path, body):
    async def scenario():
        async with Served() as served:
            assert (await served.post(path, body))["StatusCode"] == 0

    run(scenario)


def test_a_declared_compression_is_believed_no_more_than_an_undeclared_one():
    async def scenario():
        async with Served() as served:
            head = b"Content-Encoding: gzip\r\n"
            assert (await served.post("/server/panda/getJob", b"", head))["PandaID"] == 1
            assert (await served.post("/server/panda/updateJob", b'{"state": "running"}', head))["command"] == "NULL"

    run(scenario)


def test_too_large_a_body_is_answered(monkeypatch):
    monkeypatch.setattr(server_module, "MAX_BODY_BYTES", 10_000)

    async def scenario():
        async with Served() as served:
            assert (await served.post("/server/panda/updateJob", b"x" * 20_000))["StatusCode"] == 0

    run(scenario)


def test_a_defect_of_ours_costs_the_pilot_nothing(monkeypatch):
    async def scenario():
        async with Served() as served:
            monkeypatch.setattr(served.panda, "answer", lambda *_: 1 / 0)
            assert (await served.post("/server/panda/getJob"))["StatusCode"] == 0

    run(scenario)


def test_bytes_that_are_no_http_harm_nobody(tmp_path):
    async def scenario():
        async with Served(tmp_path) as served:
            for data in (b"\x16\x03\x01\x02\x00\x01", b"GET\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n"):
                await served.raw(data)
            assert (await served.post("/server/panda/getJob"))["PandaID"] == 1
        assert json.loads((tmp_path / "journal").read_text().splitlines()[-1])["call"] == "getJob"

    run(scenario)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_only_a_post_takes_ranges(method):
    async def scenario():
        async with Served() as served:
            served.range_queue.add(ranges(1, 2))
            lines = f"{method} /server/panda/getEventRanges?pandaID=1&nRanges=2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            answer = await served.raw(lines.encode())
            assert answer.startswith(b"HTTP/1.1 200 OK")
            assert (served.range_queue.out, served.given) == (0, [])

    run(scenario)


@pytest.mark.parametrize("data", [b"nonsense\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"POST / HTTP/9.9\r\n\r\n", b"GET\r\n\r\n"])
def test_what_is_no_http_is_answered_like_everything_else(data):
    async def scenario():
        async with Served() as served:
            answer = await served.raw(data + b"\r\n" * 3)
            assert answer.split(b" ", 2)[1] == b"200", answer
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["StatusCode"] == 0

    run(scenario)


def test_a_client_that_hangs_up_is_no_error(caplog):
    async def scenario():
        async with Served() as served:
            _, writer = await asyncio.open_connection(HOST, served.server.port)
            writer.write(b"POST /server/panda/getEventRanges HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(ASK) + ASK)
            await until(lambda: served.panda.record.last_request_at)
            writer.transport.abort()
            await until(lambda: not served.server._runner.server.connections)
            served.server.changed()
            await asyncio.sleep(0.1)

    run(scenario)
    assert [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root to be somebody else")
def test_other_users_of_the_machine_are_told_and_believed_nothing():
    async def scenario():
        async with Served() as served:
            served.range_queue.add(ranges(1, 2))
            path = "/server/panda/getEventRanges"
            os.seteuid(NOBODY)
            try:
                stranger = socket.create_connection((HOST, served.server.port))
            finally:
                os.seteuid(0)
            with stranger:
                stranger.setblocking(False)
                head = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(ASK)}\r\n\r\n"
                loop = asyncio.get_running_loop()
                await loop.sock_sendall(stranger, head.encode() + ASK)
                told = b""
                while piece := await loop.sock_recv(stranger, 1 << 16):
                    told += piece
            assert b"/in/EVNT" not in told
            assert json.loads(told.partition(b"\r\n\r\n")[2]) == {"StatusCode": 0, "success": True, "message": "", "data": None}
            assert served.given == []
            assert "/in/EVNT" in json.dumps(await served.post(path, ASK))

    run(scenario)


def test_where_the_kernel_does_not_tell_owners_everybody_is_served(monkeypatch, caplog):
    monkeypatch.setattr(server_module, "owners_are_known", lambda _: False)

    async def scenario():
        async with Served() as served:
            served.range_queue.add(ranges(1))
            assert "/in/EVNT" in json.dumps(await served.post("/server/panda/getEventRanges", ASK))

    run(scenario)
    assert "does not tell whose a connection is" in caplog.text
