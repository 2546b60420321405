"""What a fork server is asked, and what it is told about a session.

`ForkRequests` is what can be called of `fork_server`; a merge is asked for over a connection of its own, which is the merge's
life-line: it ends when whoever wants the output is gone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from raythena.domain.errors import MergeError, RaythenaError, StorageError
from raythena.domain.results import MergedOutput
from raythena.runtime.cluster import Machine
from raythena.runtime.local_calls import Address
from raythena.runtime.merge_task import MergeOrder
from raythena.runtime.session_config import SessionConfig

SERVER_SOCKET = "server"
COORDINATOR_SOCKET = "coordinator"
TOKEN_FILE = "token"  # noqa: S105 (where it is, not what it is)


@dataclass(frozen=True, slots=True)
class SessionPlan:
    """A session on this machine."""

    config: SessionConfig
    machines: tuple[Machine, ...]
    """Its nodes, all of them here."""


@dataclass(frozen=True, slots=True)
class LivingAgent:
    """An agent whose process has not ended."""

    name: str
    socket: str


@dataclass(frozen=True, slots=True)
class MergeFailure:
    """Why there is no merged output."""

    text: str
    is_disk: bool = False
    is_merge: bool = False
    bad_ranges: tuple[int, ...] = ()
    reasons: tuple[str, ...] = ()

    @classmethod
    def of(cls, problem: BaseException) -> MergeFailure:
        """What is told of an exception."""
        match problem:
            case MergeError():
                return cls(str(problem), is_merge=True, bad_ranges=problem.bad_ranges, reasons=problem.reasons)
            case StorageError():
                return cls(str(problem), is_disk=True)
            case _:
                return cls(f"{type(problem).__name__}: {problem}")

    def error(self) -> RaythenaError:
        """The exception to raise for it."""
        if self.is_merge:
            return MergeError(self.text, self.bad_ranges, self.reasons)
        return StorageError(self.text) if self.is_disk else RaythenaError(self.text)


@dataclass(frozen=True, slots=True)
class MergeEnd:
    """How a merge ended; both None: a sample was looked at, and nothing is wrong with it."""

    merged: MergedOutput | None = None
    failure: MergeFailure | None = None


class ForkRequests(Protocol):
    """The requests."""

    async def begin(self, plan: str) -> None:
        """Start a session's coordinator, and start it again whenever it dies; `plan` is a `SessionPlan` as text."""

    async def start_agent(self, name: str) -> str:
        """Start an agent; where it is served."""

    async def living_agents(self) -> tuple[LivingAgent, ...]:
        """All of the session."""

    async def kill(self, name: str) -> None:
        """Kill an agent, if it lives."""

    async def fate(self, name: str) -> str:
        """How an agent's process ended; "" while it lives."""

    async def merge(self, order: MergeOrder, only_sample: bool) -> MergeEnd:
        """Merge an output, or look at the one sample in it."""


def address_in(directory: Path, name: str) -> Address:
    """Where something is served in a session's directory. Raises OSError."""
    return Address(str(directory / name), (directory / TOKEN_FILE).read_bytes())
