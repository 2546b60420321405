"""The head's part when another allocation adds its nodes: requests in the task directory are answered with how to join.

What an answer says: where the head is, and the session's secret. It lies in a private directory that goes with the head. The
nodes that come are started, watched and started again by whoever asked (`added_nodes`); here and for the coordinator they are
nodes like others, which Ray lists when they are there.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

import msgspec

from raythena.domain.errors import StorageError
from raythena.launch.certificates import Authority
from raythena.storage.join_requests import JoinRequests, write_answer

LOOK_S = 3.0


class JoinAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """How to join, or why not."""

    head: str = ""
    """`host:port`."""
    token: str = ""
    authority: Authority | None = None
    """With TLS."""
    refusal: str = ""


class JoinDesk:
    """Answers requests to join one session until `close`. Belongs to one event loop."""

    def __init__(
        self,
        task_directory: Path,
        session: str,
        answer: Callable[[], JoinAnswer],
        private_directory: Callable[[Path], Path],
        tell: Callable[[str], None],
    ) -> None:
        """`private_directory` makes one below a directory; it raises OSError."""
        self._root = task_directory
        self._requests = JoinRequests(task_directory)
        self._session = session
        self._answer = answer
        self._private_directory = private_directory
        self._tell = tell
        self._place: Path | None = None
        self._answered: set[str] = set()
        self._watch: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin to look for requests."""
        self._watch = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Answer nobody any more, and take the answers back."""
        if self._watch is not None:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch
        if self._place is not None:
            for name in self._answered:
                with contextlib.suppress(OSError):  # the directory goes with the head
                    (self._place / name).unlink(missing_ok=True)

    async def _run(self) -> None:
        while True:
            try:
                await asyncio.to_thread(self.look)
            except (OSError, StorageError) as problem:
                self._tell(f"nodes that want to join could not be answered: {problem}")
            await asyncio.sleep(LOOK_S)

    def look(self) -> None:
        """Answer the requests that are there. Raises OSError, StorageError."""
        for name, request in self._requests.waiting(self._session).items():
            if name in self._answered:
                continue
            if self._place is None:
                self._place = self._private_directory(self._root)
            answer = self._answer()
            write_answer(self._place, name, msgspec.json.encode(answer))
            self._answered.add(name)
            self._tell(f"{request.who}: {answer.refusal or 'may join'}")
