"""A disk that is a dictionary."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, field

import pytest

from raythena.domain.admission import FileFacts
from raythena.domain.errors import InvalidInput
from raythena.domain.upstream import Upstream, UpstreamTask


@dataclass
class PretendDisk:
    """An `InputReader` over `files` (path to facts); anything else does not exist. Trees hold `events` events."""

    files: dict[str, FileFacts] = field(default_factory=dict)
    events: int = 500
    asked: list[tuple[str, str | None]] = field(default_factory=list)

    def matching(self, pattern: str) -> list[str]:
        return sorted(fnmatch.filter(self.files, pattern))

    def facts(self, pfn: str, *, with_checksum: bool) -> FileFacts:
        if pfn not in self.files:
            raise InvalidInput(pfn, "", "does not exist", expected="a file")
        facts = self.files[pfn]
        return facts if with_checksum else FileFacts(facts.size_bytes)

    def count_events(self, pfn: str, tree: str | None) -> int:
        self.asked.append((pfn, tree))
        return self.events

    def upstream(self, path: str) -> UpstreamTask:
        if path != "/jobs/simulation.raythena":
            raise InvalidInput(path, "", "does not exist", expected="the directory of a task")
        return UpstreamTask(Upstream(path, "f" * 64, "simulation"), (("HITS.1.root", 50), ("HITS.2.root", 20)))


@pytest.fixture
def disk() -> PretendDisk:
    names = ["/jobs/evnt/a.root", "/jobs/evnt/b.root", "/jobs/evnt/c.root", "/jobs/odd name.dat", "/data/a.root"]
    return PretendDisk({name: FileFacts(1000, 0x11E60398) for name in names})
