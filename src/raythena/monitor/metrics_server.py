"""Metrics of a task for a Prometheus that scrapes them, behind a token, in a process of its own.

Rules: no answer without the token, on whatever interface; nothing is read unless somebody asks, and by one thread, so that many
who ask wait for each other and never for the job.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from aiohttp import web

from raythena.domain.errors import InvalidInput, RaythenaError
from raythena.monitor.job_metrics import exposition
from raythena.monitor.page_server import Place
from raythena.storage.taskdir import TaskDirectory

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_NICE = 10
_LEAST_TOKEN = 16
"""Characters; a shorter one can be guessed."""


def token_in(path: Path) -> str:
    """The token in a file; a file that is not there is made, for its owner alone. Raises InvalidInput."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _existing(path)
    except OSError as problem:
        raise InvalidInput(str(path), "", f"cannot be made: {problem.strerror}", expected="a place for the token") from None
    token = secrets.token_urlsafe(24)
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.write(f"{token}\n")
    return token


def _existing(path: Path) -> str:
    try:
        mode, token = path.stat().st_mode, path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as problem:
        raise InvalidInput(str(path), "", f"cannot be read: {problem}", expected="a token") from None
    if mode & 0o077:
        raise InvalidInput(str(path), "", "is open to others", expected="mode 600", hint=f"chmod 600 {path}")
    if len(token) < _LEAST_TOKEN or not token.isprintable():
        raise InvalidInput(str(path), "", "holds no token", expected=f"{_LEAST_TOKEN} or more characters on one line")
    return token


def metrics_application(task: TaskDirectory, token: str) -> web.Application:
    """What answers `/metrics` to holders of the token."""
    reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="metrics")

    async def answer(request: web.Request) -> web.Response:
        told = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(told.encode("utf-8", "surrogateescape"), token.encode()):
            return web.Response(status=401, text="metrics need the token\n", headers={"WWW-Authenticate": "Bearer"})
        try:
            body = await asyncio.get_running_loop().run_in_executor(reader, lambda: exposition(task, time.time()))
        except RaythenaError as problem:
            return web.Response(status=503, text=f"{problem}\n")
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})

    application = web.Application()
    application.router.add_get("/metrics", answer)
    return application


def serve_metrics(task: TaskDirectory, place: Place, token: str, tell: Callable[[str], object]) -> None:
    """Serve until interrupted, behind whoever computes on this machine. Raises OSError when the port is taken."""
    os.nice(_NICE)
    asyncio.run(_serve(task, place, token, tell))


async def _serve(task: TaskDirectory, place: Place, token: str, tell: Callable[[str], object]) -> None:
    runner = web.AppRunner(metrics_application(task, token), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, place.host, place.port).start()
        tell(f"http://{place.host}:{runner.addresses[0][1]}/metrics")
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()
