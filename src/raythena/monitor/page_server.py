"""The page: a small web server in a process of its own, which shows a task to whoever holds its token.

It reads the task directory through `TaskWatch` and answers in JSON; the page itself is three files beside this module, without
anything from elsewhere. A viewer is told by server-sent events that something has changed, and asks for what it shows.

Rules: no answer without the token, on whatever interface; nothing can be changed through the page; a viewer that does not read
waits alone; one thread reads records for all viewers, one the status, and neither when there is no viewer.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import math
import os
import secrets
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from typing import TypeVar

from aiohttp import web

from raythena.domain.errors import InvalidInput, RaythenaError
from raythena.monitor.task_watch import Document, TaskWatch
from raythena.storage.range_records import RangeQuery
from raythena.storage.taskdir import TaskDirectory

_PAGE = {
    "/": ("page.html", "text/html"),
    "/text.js": ("text.js", "text/javascript"),
    "/page.js": ("page.js", "text/javascript"),
    "/page.css": ("page.css", "text/css"),
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_TELL_EVERY_S = 1.0
_BEAT_EVERY = 15
"""So many times nothing new, and a viewer is told that the server is still there."""
_NICE = 10

T = TypeVar("T")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Place:
    """Where the page is served. Port 0: a free one."""

    host: str = "127.0.0.1"
    port: int = 0


class PageServer:
    """Serves one task. Raises InvalidInput for a directory that holds none."""

    def __init__(self, task: TaskDirectory, read_scan: Callable[[], Document] | None = None) -> None:
        self._watch = TaskWatch(task, time.monotonic, time.time, read_scan)
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="records")
        self._header_reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="header")
        """The header must not wait for a ledger of gigabytes."""
        self._looking: asyncio.Future[None] | None = None
        self.token = secrets.token_urlsafe(24)

    async def serve(self, place: Place, tell: Callable[[str], object]) -> None:
        """Serve until cancelled; `tell` is told the address. Raises OSError when the port is taken."""
        runner = web.AppRunner(self.application(), access_log=None)
        await runner.setup()
        try:
            site = web.TCPSite(runner, place.host, place.port)
            await site.start()
            port = runner.addresses[0][1]
            tell(f"http://{place.host}:{port}/?token={self.token}")
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()
            for reader in (self._reader, self._header_reader):
                reader.shutdown(wait=False, cancel_futures=True)

    def application(self) -> web.Application:
        """The routes, for a server that listens somewhere."""
        application = web.Application(middlewares=[self._guard])
        routes = application.router
        for path, (name, kind) in _PAGE.items():
            routes.add_get(path, partial(_file, name, kind))
        watch = self._watch
        plain: dict[str, Callable[[], Document]] = {
            "overview": watch.overview,
            "failures": watch.failures,
            "nodes": watch.nodes,
            "logs": watch.logs,
            "harvester": watch.harvester,
            "scan": watch.scan,
        }
        for name, document in plain.items():
            routes.add_get(f"/api/{name}", partial(self._plain, document))
        routes.add_get("/api/header", self._header)
        routes.add_get("/api/ranges", self._ranges)
        routes.add_get("/api/range", self._range)
        routes.add_get("/api/merges", self._merges)
        routes.add_get("/api/log", self._log)
        routes.add_get("/api/occupancy", self._occupancy)
        routes.add_get("/api/cores", self._cores)
        routes.add_get("/api/stream", self._stream)
        return application

    # ---- who may ask

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path == "/" and "token" in request.query and self._is_token(request.query["token"]):
            answer: web.StreamResponse = web.Response(status=303, headers={"Location": "/", **_HEADERS})
            answer.set_cookie(_cookie(request), self.token, httponly=True, samesite="Strict")
            return answer
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not self._is_token(request.cookies.get(_cookie(request), "")) and not self._is_token(bearer):
            return _refusal(403, "this page needs the address that `raythena monitor` printed, with its token")
        try:
            answer = await handler(request)
        except InvalidInput as problem:
            return _refusal(400, str(problem))
        except RaythenaError as problem:
            return _refusal(503, str(problem))
        if not answer.prepared:
            answer.headers.update(_HEADERS)
        return answer

    def _is_token(self, text: str) -> bool:
        return hmac.compare_digest(text.encode("utf-8", "surrogateescape"), self.token.encode())

    # ---- answers

    async def _read(self, question: Callable[[], T]) -> T:
        """Ask in the one thread that reads, of which the task directory has nothing to fear."""

        def looked() -> T:
            self._watch.look()
            return question()

        return await asyncio.get_running_loop().run_in_executor(self._reader, looked)

    async def _told(self) -> Document:
        """The header, at once; the records are looked at meanwhile."""
        loop = asyncio.get_running_loop()
        if self._looking is None or self._looking.done():
            self._looking = loop.run_in_executor(self._reader, self._watch.look)
        return await loop.run_in_executor(self._header_reader, self._watch.header)

    async def _header(self, request: web.Request) -> web.Response:
        return _json(await self._told())

    async def _plain(self, document: Callable[[], Document], request: web.Request) -> web.Response:
        return _json(await self._read(document))

    async def _ranges(self, request: web.Request) -> web.Response:
        asked = request.query
        query = RangeQuery(
            states=frozenset(filter(None, asked.get("state", "").split(","))),
            node=asked.get("node", ""),
            lfn=asked.get("lfn", ""),
            failed_before=asked.get("retried") == "1",
            message=asked.get("message", ""),
            sort=asked.get("sort", ""),
            descending=asked.get("descending") == "1",
        )
        return _json(await self._read(partial(self._watch.ranges, query, *_stretch(request))))

    async def _range(self, request: web.Request) -> web.Response:
        return _json(await self._read(partial(self._watch.story, _number(request, "index", -1))))

    async def _merges(self, request: web.Request) -> web.Response:
        return _json(await self._read(partial(self._watch.merges, *_stretch(request))))

    async def _log(self, request: web.Request) -> web.Response:
        return _json(await self._read(partial(self._watch.log, request.query.get("name", ""))))

    async def _cores(self, request: web.Request) -> web.Response:
        begins, ends = _seconds(request, "from"), _seconds(request, "to")
        return _json(await self._read(partial(self._watch.cores, request.query.get("host", ""), begins, ends)))

    async def _occupancy(self, request: web.Request) -> web.Response:
        about, cells = await self._read(self._watch.occupancy)
        head = json.dumps(about).encode()
        answer = web.Response(
            body=len(head).to_bytes(4, "little") + head + cells, content_type="application/octet-stream", headers=_HEADERS
        )
        answer.enable_compression()
        return answer

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        """Tell a viewer the header whenever it has changed, as long as the viewer listens."""
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream", **_HEADERS})
        await answer.prepare(request)
        said, silent = "", 0
        while request.transport is not None and not request.transport.is_closing():
            header = await self._told()
            text = json.dumps(header)
            silent = silent + 1 if text == said else 0
            try:
                if text != said:
                    await answer.write(f"data: {text}\n\n".encode())
                elif silent % _BEAT_EVERY == 0:
                    await answer.write(b": still there\n\n")
            except ConnectionError:
                break
            said = text
            await asyncio.sleep(_TELL_EVERY_S)
        return answer


def serve_page(
    task: TaskDirectory,
    place: Place,
    tell: Callable[[str], object],
    read_scan: Callable[[], Document] | None = None,
    *,
    until_input_ends: bool = False,
) -> None:
    """Serve the page of a task until interrupted, behind whoever computes on this machine. Raises InvalidInput, OSError.

    `read_scan` reads the points of a job that is a hyper-parameter scan. `until_input_ends`: and no longer than standard input
    is open, which whoever started this process holds.
    """
    os.nice(_NICE)
    if until_input_ends:
        threading.Thread(target=_end_with_input, daemon=True).start()
    asyncio.run(PageServer(task, read_scan).serve(place, tell))


def _end_with_input() -> None:
    """Nothing here needs an end in order: nothing is ever written."""
    while os.read(0, 4096):
        pass
    os._exit(0)


async def _file(name: str, kind: str, request: web.Request) -> web.Response:
    content = (files("raythena.monitor") / "page" / name).read_text(encoding="utf-8")
    return web.Response(text=content, content_type=kind)


def _json(document: Document) -> web.Response:
    return web.json_response(document)


def _refusal(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=text + "\n", headers=_HEADERS)


def _cookie(request: web.Request) -> str:
    """Cookies do not know ports: two pages on one machine must not share one."""
    return f"raythena-{request.url.port}"


def _stretch(request: web.Request) -> tuple[int, int]:
    return _number(request, "offset", 0), _number(request, "limit", 100)


def _number(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name, str(default))
    try:
        return int(text)
    except ValueError:
        raise InvalidInput("request", name, "is no whole number") from None


def _seconds(request: web.Request, name: str) -> float:
    text = request.query.get(name, "")
    try:
        value = float(text)
    except ValueError:
        raise InvalidInput("request", name, "is no number") from None
    if not math.isfinite(value):
        raise InvalidInput("request", name, "is no time")
    return value
