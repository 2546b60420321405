"""What one stream has of a stored event: a part of the bundle that holds the outputs of all its streams (see `domain.bundle`)."""

from __future__ import annotations

from dataclasses import dataclass

from raythena.domain.bundle import MAX_HEADER_BYTES, BadBundle, sections
from raythena.storage.groups import OutputLost, StoredOutput


@dataclass(frozen=True, slots=True)
class StoredStream:
    """A mergers' `StoredEvent` of one stream."""

    bundle: StoredOutput
    stream: str
    streams: tuple[str, ...]
    """All that the bundle must hold."""

    @property
    def index(self) -> int:
        """Of the range."""
        return self.bundle.index

    @property
    def size_bytes(self) -> int:
        """Of the bundle, which is what is held in memory."""
        return self.bundle.size_bytes

    def __str__(self) -> str:
        return f"{self.stream} of {self.bundle}"

    def read(self) -> bytes:
        """All of it. Raises OutputLost, also for a bundle without one of the streams."""
        content = self.bundle.read()
        try:
            section = sections(content[:MAX_HEADER_BYTES], len(content), self.streams)[self.stream]
        except BadBundle as problem:
            raise OutputLost(f"{self.bundle.path}: the output {problem}") from problem
        return content[section.offset :][: section.size_bytes]
