"""What a validation says: findings, a verdict on each file, and one on the whole.

A finding names one thing that is wrong, or could not be proved, in one file. Its code is for programs and stays the same; its
text is for people. Nothing here reads a file.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad a finding is."""

    ERROR = "error"
    """Something is wrong: an event, a file, or what is said about them."""
    UNPROVEN = "unproven"
    """Nothing is known to be wrong, but it could not be looked into."""
    NOTE = "note"
    """Worth knowing."""


class Standing(StrEnum):
    """What is known of a file, or of the whole."""

    PROVEN = "proven"
    """Exactly as it must be: its event numbers were read, or its bytes are those of its events' outputs."""
    UNPROVEN = "unproven"
    """Size and checksum are right, but the events in it could not be read."""
    WRONG = "wrong"
    ABSENT = "absent"
    """Not made: not yet, or because every event of it failed."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found."""

    code: str
    """For example `event-lost`; see `docs/validation.md`."""
    severity: Severity
    file: str
    text: str
    events: int = 0
    """How many events are concerned."""


@dataclass(frozen=True, slots=True)
class FileVerdict:
    """What became of one promised output."""

    lfn: str
    standing: Standing
    expected: int
    """Events that must be in it: its share of the job without those recorded as failed."""
    found: int | None
    """Events found in it; None when that could not be known."""
    failed: int
    """Events of its share recorded as failed."""


@dataclass(frozen=True, slots=True)
class Validation:
    """The whole result."""

    task: str
    job_name: str
    partial: bool
    """Outputs that are not there yet were passed over."""
    events: int
    """Events of the job."""
    proven: int
    """Events found in the one output they belong in."""
    failed: int
    """Events recorded as failed, with a reason."""
    files: tuple[FileVerdict, ...]
    findings: tuple[Finding, ...]
    upstream: Validation | None = None
    """Of the task that made the inputs, and so on to the first of the chain; None: there is none, or it is not there."""

    @property
    def chain(self) -> tuple[Validation, ...]:
        """This one, and those of the tasks before it, nearest first."""
        return (self, *(self.upstream.chain if self.upstream else ()))

    @property
    def standing(self) -> Standing:
        """WRONG if anything of the chain is; else UNPROVEN if anything could not be looked into; else PROVEN."""
        severities = {finding.severity for link in self.chain for finding in link.findings}
        if Severity.ERROR in severities:
            return Standing.WRONG
        return Standing.UNPROVEN if Severity.UNPROVEN in severities else Standing.PROVEN

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that make it wrong."""
        return tuple(finding for finding in self.findings if finding.severity is Severity.ERROR)

    @property
    def ok(self) -> bool:
        """Everything was looked into, and everything is as it must be."""
        return self.standing is Standing.PROVEN

    def summary(self) -> str:
        """The result in one sentence, or in one for each task of the chain."""
        return "; ".join(link.summary_of_task() for link in self.chain)

    def summary_of_task(self) -> str:
        """The result of this task alone, in one sentence; its standing is that of the chain up to it."""
        shares = [f"{self.proven:,} of {self.events:,} events found in the one output they belong in"]
        if self.failed:
            shares.append(f"{self.failed:,} recorded as failed")
        rest = self.events - self.proven - self.failed
        if rest > 0:
            shares.append(f"{rest:,} {'not accounted for' if self.errors else 'not there yet or not inspected'}")
        if self.errors:
            shares.append(f"{len(self.errors)} error{'s' if len(self.errors) > 1 else ''}")
        task = f" {self.job_name}" if self.upstream else ""
        return f"{self.standing}{task}: {', '.join(shares)}"

    def to_dict(self) -> dict[str, object]:
        """A JSON-ready copy, with the standing."""
        upstream = {"upstream": self.upstream.to_dict()} if self.upstream else {}
        return {"standing": str(self.standing), **asdict(self), **upstream}
