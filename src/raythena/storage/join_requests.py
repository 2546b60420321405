"""How another allocation asks to add its nodes to a session, through the task directory: a request, and an answer.

The answer has the secret of the session, so both lie where nobody but the owner of the task can read or write: requests in
`joining`, a directory of mode 700, answers in a private directory of the head's, which its guard removes whatever ends it. An
answer that is gone says that the session is over. Rules: a directory that another user owns, or can enter, is refused, never
mended; a request is for one session, and whoever asks to join a later one removes it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path

import msgspec

from raythena.domain.errors import StorageError
from raythena.storage.atomic import disk_errors, write_atomically

DIRECTORY = "joining"
_PRIVATE = "rt-*"
"""Private directories of heads in the task directory."""


class JoinRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks, and which session."""

    session: str
    who: str
    """For people: how many nodes of which job."""


class JoinRequests:
    """The requests in a task directory."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.directory = root / DIRECTORY

    def ask(self, request: JoinRequest) -> str:
        """Leave a request; its id, under which the answer will be found. Raises StorageError."""
        name = secrets.token_hex(16)
        with disk_errors("create", self.directory):
            self.directory.mkdir(mode=0o700, exist_ok=True)
        if not is_private(self.directory):
            raise StorageError(f"{self.directory} is open to others, or not yours: remove it, a new one is made with mode 700")
        for old, other in self._readable().items():
            if other.session != request.session:
                self.withdraw(old)
        with disk_errors("create", self.directory):
            self.directory.mkdir(mode=0o700, exist_ok=True)
        write_atomically(self.directory / name, msgspec.json.encode(request))
        return name

    def waiting(self, session: str) -> dict[str, JoinRequest]:
        """The requests to join this session. Empty where the directory is not ours alone."""
        if not is_private(self.directory):
            return {}
        return {name: request for name, request in self._readable().items() if request.session == session}

    def _readable(self) -> dict[str, JoinRequest]:
        found: dict[str, JoinRequest] = {}
        for path in self.directory.glob("[0-9a-f]*"):
            with contextlib.suppress(OSError, msgspec.MsgspecError):
                found[path.name] = msgspec.json.decode(path.read_bytes(), type=JoinRequest)
        return found

    def withdraw(self, name: str) -> None:
        """Take a request back; safe to repeat."""
        with contextlib.suppress(OSError):
            (self.directory / name).unlink(missing_ok=True)
            self.directory.rmdir()  # where it is empty

    def answer(self, name: str) -> Path | None:
        """The file with the answer to a request; None as long as there is none."""
        for path in self._root.glob(f"{_PRIVATE}/{name}"):
            if is_private(path.parent):
                return path
        return None


def is_private(directory: Path) -> bool:
    """Whether a directory is this user's, and nobody else can enter it."""
    try:
        found = directory.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077


def write_answer(directory: Path, name: str, content: bytes) -> Path:
    """Write an answer into a private directory, for the owner only; it is there whole or not at all. Raises StorageError."""
    part, whole = directory / f"{name}.part", directory / name
    with disk_errors("write", whole):
        part.touch(mode=0o600, exist_ok=False)
        part.write_bytes(content)
        part.rename(whole)
    return whole
