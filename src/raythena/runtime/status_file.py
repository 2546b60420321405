"""The file that says how far a session is, for programs that do not ask the coordinator."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
from pathlib import Path

from raythena.domain.errors import StorageError
from raythena.domain.progress import Progress
from raythena.runtime.clock import Clock
from raythena.storage.atomic import overwrite_in_place, write_atomically

logger = logging.getLogger(__name__)


class StatusFile:
    """Written anew each time. A disk that refuses is no reason to stop: the next one will tell."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock

    def write(self, progress: Progress, more: dict[str, object]) -> None:
        """Say how far the session is, and `more` about its end."""
        writer = {"written_at": self._clock.wall_s(), "host": socket.gethostname(), "pid": os.getpid()}
        content = json.dumps({**progress.to_dict(), **writer, **more})
        try:
            write_atomically(self._path, content)
        except StorageError as problem:
            logger.error("cannot write the status: %s", problem)
            with contextlib.suppress(StorageError):  # said above already
                overwrite_in_place(self._path, content.encode())
