"""What a session's gateway has said and heard, on disk beside the session's logs: for whoever watches the job.

Nothing depends on it: a disk that refuses costs the account and nothing else, and what cannot be read is left out.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec

from raythena.domain.errors import StorageError
from raythena.domain.gateway_talk import Saying, Talk
from raythena.storage.atomic import write_atomically
from raythena.storage.taskdir import TALK, TaskDirectory

logger = logging.getLogger(__name__)

INTERVAL_S = 5.0
"""How often the file is replaced at most."""


class TalkFile:
    """The account of one session; `write` puts on disk what is new. `clock` and `wall` are as in `runtime.clock`."""

    def __init__(
        self, task: TaskDirectory, session: str, talk: Talk, clock: Callable[[], float], wall: Callable[[], float]
    ) -> None:
        self._path = task.talk(session)
        self._talk = talk
        self._clock = clock
        self._wall = wall
        self._due = False
        self._due_at = float("-inf")

    def note(self, what: Saying, items: int) -> None:
        """It was said, about so many ranges, or events and files."""
        self._talk, self._due = self._talk.with_said(what, items, self._wall()), True

    def note_trouble(self, trouble: str) -> None:
        """This keeps the two from talking; empty: nothing any more."""
        if trouble != self._talk.trouble:
            self._talk, self._due = self._talk.with_trouble(trouble), True

    def restore(self) -> None:
        """Go on with what an earlier coordinator of the session wrote."""
        try:
            self._talk = msgspec.json.decode(self._path.read_bytes(), type=Talk)
        except (OSError, ValueError):
            return

    def write(self, *, ended: bool = False) -> None:
        """Put on disk what is new, if it is time to; at the end in any case."""
        if not self._due or (not ended and self._clock() < self._due_at):
            return
        self._due, self._due_at = False, self._clock() + INTERVAL_S
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._path, msgspec.json.encode(self._talk))
        except (StorageError, OSError) as problem:
            logger.error("cannot write what was said to %s: %s", self._talk.peer, problem)


def read_talks(task: TaskDirectory) -> list[tuple[str, Talk]]:
    """(session, what was said) of every session that left an account, in the order of their names."""
    found = []
    for path in sorted(task.logs.glob(f"*/{TALK}")):
        try:
            found.append((path.parent.name, msgspec.json.decode(path.read_bytes(), type=Talk)))
        except (OSError, ValueError) as problem:
            logger.warning("%s is left out: %s", path, problem)
    return found
