"""Where things are in a task directory. Names only: nothing here opens a file.

job.json            the job, as it was accepted
ledger.sqlite       what has happened, durable
coordinator.lease   who is writing the ledger now
status.json         a snapshot for people, replaced about once a second
jobReport.json      what became of the job
inputs/             outputs of the upstream task that were taken on, by GUID
outputs/            merged outputs; in .replacing those that are to take the place of one that lacks events
staging/            groups of outputs waiting to be merged, by session and node
logs/               of the coordinator, the agents and the payload, by session and node
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from raythena.domain.job import INPUTS
from raythena.domain.upstream import taken_path

if TYPE_CHECKING:
    from raythena.domain.results import MergedOutput
    from raythena.domain.upstream import InputTaken

CORE_TIMES = "core-times.json"
"""Among the logs of each session: where its core-seconds went."""
TALK = "gateway-talk.json"
"""Among the logs of each session: what was said to whoever it works for."""


@dataclass(frozen=True, slots=True)
class TaskDirectory:
    """The paths below `root`."""

    root: Path

    @property
    def job(self) -> Path:
        """The job as accepted (`Job.to_dict`)."""
        return self.root / "job.json"

    @property
    def ledger(self) -> Path:
        """The ledger's database."""
        return self.root / "ledger.sqlite"

    @property
    def lease(self) -> Path:
        """The coordinator's lease file."""
        return self.root / "coordinator.lease"

    @property
    def status(self) -> Path:
        """The latest snapshot of the job's progress."""
        return self.root / "status.json"

    @property
    def report(self) -> Path:
        """The job report."""
        return self.root / "jobReport.json"

    @property
    def inputs(self) -> Path:
        """Directory of what an upstream task has made."""
        return self.root / INPUTS

    def input(self, file: InputTaken) -> Path:
        """A file that was taken on."""
        return Path(taken_path(str(self.inputs / file.lfn), file.guid))

    @property
    def outputs(self) -> Path:
        """Directory of the merged outputs."""
        return self.root / "outputs"

    @property
    def replacing(self) -> Path:
        """Directory of merged outputs that wait for the ledger before they take the place of an older file."""
        return self.outputs / ".replacing"

    def output(self, merged: MergedOutput) -> Path:
        """The file of a merged output. One that replaces another is where the ledger says until it is put into its place."""
        path = self.root / merged.path
        return self.outputs / merged.lfn if path.parent == self.replacing and not path.exists() else path

    @property
    def staging(self) -> Path:
        """Directory of the groups."""
        return self.root / "staging"

    @property
    def logs(self) -> Path:
        """Directory of the logs."""
        return self.root / "logs"

    def core_times(self, session: str) -> Path:
        """What the nodes of a session told of their cores."""
        return self.logs / session / CORE_TIMES

    def talk(self, session: str) -> Path:
        """What a session's gateway said and heard."""
        return self.logs / session / TALK

    def group(self, name: str) -> Path:
        """The file of a group."""
        return self.root / group_path(name)


def group_path(name: str) -> str:
    """The file of a group, relative to the task directory."""
    return f"staging/{name}.zip"
