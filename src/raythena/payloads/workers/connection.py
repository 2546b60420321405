"""The pool's end of a worker's socket: where it lies, and how its bytes become lines for the pool.

Each worker has a listening socket of its own, so that nobody needs to say who he is; a connection that outlives its worker is
told from its successor's by the incarnation it was made for.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path
from typing import Protocol, cast

from raythena.payloads.workers.protocol import LineCutter
from raythena.payloads.workers.slot import WorkerSlot
from raythena.storage.owned import owned_directory

SOCKET_PATH_LIMIT = 90
"""A Unix socket's path must fit in 108 bytes, file name included."""


class Listener(Protocol):
    """Who is told what happens on the connections: the pool."""

    def connected(self, slot: WorkerSlot, transport: asyncio.Transport) -> bool:
        """A worker has connected; False refuses it."""

    def received(self, slot: WorkerSlot, lines: list[bytes]) -> None:
        """Lines from a worker, in order."""

    def hung_up(self, slot: WorkerSlot) -> None:
        """A worker's connection has ended."""


class Connection(asyncio.Protocol):
    """One connection, made for the slot's incarnation of the moment."""

    def __init__(self, listener: Listener, slot: WorkerSlot) -> None:
        self._listener = listener
        self._slot = slot
        self._incarnation = slot.incarnation
        self._accepted = False
        self._cutter = LineCutter()

    @property
    def _counts(self) -> bool:
        return self._accepted and self._slot.incarnation == self._incarnation

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask whether the worker is expected."""
        stream = cast(asyncio.Transport, transport)
        if self._slot.incarnation == self._incarnation:
            self._accepted = self._listener.connected(self._slot, stream)
        if not self._accepted:
            stream.abort()

    def data_received(self, data: bytes) -> None:
        """Pass complete lines on."""
        if self._counts:
            self._listener.received(self._slot, self._cutter.feed(data))

    def connection_lost(self, problem: Exception | None) -> None:
        """Pass the end on."""
        if self._counts:
            self._listener.hung_up(self._slot)


def socket_directory(scratch: Path) -> Path:
    """A private directory for sockets: in the scratch directory, or where paths are short enough."""
    inside = scratch / "sockets"
    if len(os.fsencode(inside)) <= SOCKET_PATH_LIMIT:
        inside.mkdir(mode=0o700, exist_ok=True)
        return inside
    place = tempfile.gettempdir()
    return owned_directory(Path(place if len(place) < SOCKET_PATH_LIMIT // 2 else "/tmp"), "rs-")  # noqa: S108
