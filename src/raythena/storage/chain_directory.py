"""The files of a chain of allocations, in the task directory under `chain/`.

    plan.json           what was asked for, written once
    script.sh           the batch script, the same for every allocation
    submitted/ID        a batch job was submitted
    begun/ID.RESTARTS   it began, with how many events were finished by then
    cancelled           nobody wants another one

Rules: every file has one writer and is put in place whole; nothing is ever changed. So it does not matter who reads when, and
whoever dies leaves what is true: a job that was submitted and not noted is found in the queue by its name.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from raythena.domain.allocation_chain import AllocationBegun, ChainPlan
from raythena.domain.errors import InvalidInput
from raythena.storage.atomic import disk_errors, write_atomically


class ChainDirectory:
    """The chain of the task in `task`."""

    def __init__(self, task: Path) -> None:
        self.root = task / "chain"

    @property
    def script(self) -> Path:
        """The batch script."""
        return self.root / "script.sh"

    def exists(self) -> bool:
        """Whether the task has a chain."""
        return (self.root / "plan.json").exists()

    def create(self, plan: ChainPlan, batch_name: str, script: str) -> None:
        """Write down what is asked for, in place of what was asked for before. Raises StorageError."""
        with disk_errors("preparing", self.root):
            for name in ("submitted", "begun"):
                (self.root / name).mkdir(parents=True, exist_ok=True)
                for path in (self.root / name).iterdir():
                    path.unlink()
            (self.root / "cancelled").unlink(missing_ok=True)
        write_atomically(self.script, script)
        write_atomically(self.root / "plan.json", json.dumps({"plan": asdict(plan), "batch_name": batch_name}, indent=1))

    def plan(self) -> ChainPlan:
        """What was asked for. Raises InvalidInput."""
        return self._written()[0]

    @property
    def batch_name(self) -> str:
        """By which its batch jobs are known. Raises InvalidInput."""
        return self._written()[1]

    def _written(self) -> tuple[ChainPlan, str]:
        path = self.root / "plan.json"
        try:
            document = json.loads(path.read_text())
            return ChainPlan(**document["plan"]), str(document["batch_name"])
        except (OSError, ValueError, TypeError, KeyError) as problem:
            raise InvalidInput(str(path), "", f"cannot be read: {problem}", hint="`raythena submit` writes it") from problem

    def note_submitted(self, job_id: str) -> None:
        """A batch job was submitted. Raises StorageError."""
        write_atomically(self.root / "submitted" / job_id, "")

    def note_begun(self, allocation: AllocationBegun) -> None:
        """An allocation began. Raises StorageError."""
        path = self.root / "begun" / f"{allocation.job_id}.{allocation.restarts}"
        write_atomically(path, json.dumps(asdict(allocation)))

    def submitted(self) -> list[str]:
        """Batch jobs that were noted, in the order of their numbers."""
        return sorted((path.name for path in self._files("submitted")), key=lambda name: (len(name), name))

    def begun(self) -> list[AllocationBegun]:
        """Allocations that began, in order of time. Raises StorageError."""
        with disk_errors("read", self.root):
            found = [AllocationBegun(**json.loads(path.read_text())) for path in self._files("begun")]
        return sorted(found, key=lambda allocation: (allocation.began_at, allocation.restarts))

    def _files(self, name: str) -> list[Path]:
        directory = self.root / name
        return [path for path in directory.iterdir() if not path.name.startswith(".")] if directory.is_dir() else []

    def cancel(self) -> None:
        """Nobody wants another allocation. Raises StorageError."""
        write_atomically(self.root / "cancelled", "")

    @property
    def cancelled(self) -> bool:
        """Whether somebody has said so."""
        return (self.root / "cancelled").exists()
