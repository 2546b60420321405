"""A gateway that is nothing but memory, for tests: jobs are put in, what is told about them is kept.

Rules: nothing is checked and nothing is copied; a test that hands in nonsense gets nonsense back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

from raythena.domain.job import Job
from raythena.domain.progress import Progress


class MemoryGateway:
    """Hands out the jobs it was made with, in order, and remembers what it is told."""

    def __init__(self, jobs: Iterable[Job] = ()) -> None:
        self._waiting = deque(jobs)
        self.progress: list[Progress] = []
        """Every snapshot published, oldest first."""
        self.reports: dict[str, dict[str, Any]] = {}
        """The job report of every finished job, by job name."""

    def next_job(self) -> Job | None:
        """The next job, or None when there is no more."""
        return self._waiting.popleft() if self._waiting else None

    def publish(self, progress: Progress) -> None:
        """Take note of a snapshot."""
        self.progress.append(progress)

    def finish(self, job: Job, report: dict[str, Any]) -> None:
        """Take note of a job's report."""
        self.reports[job.name] = report
