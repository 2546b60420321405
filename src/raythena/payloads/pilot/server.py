"""The sockets in front of `panda_server`: an HTTP server for one pilot, on a free port of the loopback interface.

Rules: every request is answered, with status 200 and JSON, whatever it was and whatever happens to us while we answer it; a
request larger than `MAX_BODY_BYTES` is read no further; ranges are not given to a connection that has gone away. Anybody on the
machine can reach the port. Other users are told nothing and believed nothing: the kernel says whose a connection is. What we run
ourselves is believed no further than `panda_server` believes it, and paths it names are checked by the payload.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path

from aiohttp import web
from aiohttp.web_exceptions import HTTPException

from raythena.payloads.pilot.connection_owner import owner_of, owners_are_known
from raythena.payloads.pilot.panda_server import Answer, PandaServer
from raythena.payloads.pilot.wire import MAX_BODY_BYTES, BadRequest, Call, read_call
from raythena.runtime.clock import SYSTEM_CLOCK, Clock

LOG = logging.getLogger(__name__)
HOST = "127.0.0.1"
_POLITE = {"StatusCode": 0, "success": True, "message": "", "data": None}


class PilotServer:
    """Serves one pilot. `on_call` is called after every answer; `journal` (optional) gets a line for each request."""

    def __init__(
        self, panda: PandaServer, on_call: Callable[[Answer], None], journal: Path | None = None, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._panda = panda
        self._clock = clock
        self._on_call = on_call
        self._journal = journal
        self._changed = asyncio.Event()
        self._runner: web.ServerRunner | None = None
        self._knows_owners = False
        self.port = 0

    async def start(self) -> None:
        """Listen. Raises OSError."""
        self._runner = web.ServerRunner(_Server(self._serve, access_log=None, auto_decompress=False), shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, HOST, 0)
        await site.start()
        self.port = int(self._runner.addresses[0][1])
        self._knows_owners = owners_are_known((HOST, self.port))
        if not self._knows_owners:
            LOG.warning(
                "this kernel does not tell whose a connection is: other users of the node could talk to the pilot's server"
            )

    async def stop(self) -> None:
        """Close everything. Safe to call twice."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    def changed(self) -> None:
        """Something has changed: requests that wait are looked at again."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def _serve(self, request: web.BaseRequest) -> web.Response:
        began = self._clock.monotonic_s()
        if not self._is_ours(request):
            LOG.warning("a request of another user's, or of nobody's any more: %s", request.path[:200])
            return web.json_response(_POLITE)
        if request.method != "POST":
            LOG.warning("a request with method %s, which no pilot uses: %s", request.method[:20], request.path[:200])
            return web.json_response(_POLITE)
        try:
            call = read_call(request.path, request.query_string, await _body(request))
            answer = await self._answer(request, call, began)
        except (BadRequest, HTTPException, UnicodeError) as problem:
            LOG.warning("the pilot's request %s %s: %s", request.method, request.path[:200], problem)
            return web.json_response(_POLITE)
        except ConnectionError as problem:
            LOG.info("%s: %s", request.path[:200], problem)
            return web.json_response(_POLITE)  # nobody is there to read it
        except Exception:
            # A defect of ours must not cost the pilot its job: it is told that all is well and the defect goes to the log.
            LOG.exception("while answering %s", request.path[:200])
            return web.json_response(_POLITE)
        self._note(call, answer, began)
        self._on_call(answer)
        return web.json_response(answer.document)

    def _is_ours(self, request: web.BaseRequest) -> bool:
        """Whether the other end of the connection belongs to our own user, as far as that can be known."""
        if not self._knows_owners:
            return True
        peer = request.transport.get_extra_info("peername") if request.transport is not None else None
        return peer is not None and owner_of(peer[:2], (HOST, self.port)) == os.geteuid()

    async def _answer(self, request: web.BaseRequest, call: Call, asked_at: float) -> Answer:
        while True:
            if request.transport is None or request.transport.is_closing():
                raise ConnectionResetError("the pilot has hung up")
            now, changed = self._clock.monotonic_s(), self._changed
            answer = self._panda.answer(call, now, asked_at)
            if isinstance(answer, Answer):
                return answer
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), max(answer.until - now, 0.001))

    def _note(self, call: Call, answer: Answer, began: float) -> None:
        if self._journal is None:
            return
        line = {
            "at": round(self._clock.wall_s(), 3),
            "took_s": round(self._clock.monotonic_s() - began, 3),
            "call": call.endpoint[:80],
            "says": {name: str(value)[:300] for name, value in list(call.fields.items())[:30] if name != "metaData"},
            "ranges": len(answer.given),
        }
        with self._journal.open("a", encoding="utf-8") as stream:  # a short line now and then: not worth a thread
            stream.write(json.dumps(line) + "\n")


class _Server(web.Server):
    """Has requests handled by `_RequestHandler`."""

    def __call__(self) -> web.RequestHandler:
        return _RequestHandler(self, loop=self._loop, **self._kwargs)


class _RequestHandler(web.RequestHandler):
    """Answers what is no HTTP as everything else is answered: with status 200 and JSON."""

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """See aiohttp; the connection ends with the answer."""
        LOG.warning("a request that is no HTTP: %s", message or exc)
        response = web.json_response(_POLITE)
        response.force_close()
        return response


async def _body(request: web.BaseRequest) -> bytes:
    """The body as it came. Raises BadRequest when it is too large."""
    pieces, size = [], 0
    async for piece in request.content.iter_chunked(1 << 16):
        size += len(piece)
        if size > MAX_BODY_BYTES:
            raise BadRequest(f"the body has more than {MAX_BODY_BYTES} bytes")
        pieces.append(piece)
    return b"".join(pieces)
