"""What whoever handed ranges out is told about them: finished with this output, failed, or failed for ever.

A report is told as a whole. Either one archive holds the outputs of all its finished ranges, or each of them has a file of its
own; an archive is never told in two reports, because PanDA would lose the events of one of them.

A range may be told twice, after a restart, in two reports with different numbers; it is told the same both times.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from urllib.parse import quote

_LONGEST_NAME = 200
_LONGEST_JOB = 100


class RangeStatus(StrEnum):
    """What became of a range, in PanDA's words."""

    FINISHED = "finished"
    FAILED = "failed"
    """Given up here; somebody else may try."""
    FATAL = "fatal"
    """Given up; nobody need try again."""


@dataclass(frozen=True, slots=True)
class DeliveredFile:
    """A durable file on the shared file system that is now somebody else's to take away."""

    path: str
    """Absolute."""
    size_bytes: int
    adler32: int

    @property
    def checksum(self) -> str:
        """Adler-32 as eight hexadecimal digits."""
        return f"{self.adler32:08x}"


@dataclass(frozen=True, slots=True)
class ReportedRange:
    """One range of a report."""

    range_id: str
    """As it was given."""
    status: RangeStatus
    file: DeliveredFile | None = None
    """Its output, when outputs are delivered one by one."""
    message: str = ""
    """Why it failed."""


@dataclass(frozen=True, slots=True)
class RangeReport:
    """What became of some ranges. At least one; either all of them finished or none."""

    number: int
    """What the report is acknowledged by; means nothing to another life of the coordinator."""
    ranges: tuple[ReportedRange, ...]
    archive: DeliveredFile | None = None
    """The ZIP archive that holds the outputs of all of `ranges`; None: each has a file of its own, or none finished."""


def delivered_name(prefix: str, range_id: str) -> str:
    """What the output of a range is called: `<prefix>.<range id>`, what a file name cannot hold quoted as in a URL."""
    name = f"{prefix}.{quote(range_id, safe='', errors='surrogatepass')}"
    return name if len(name) <= _LONGEST_NAME else f"{prefix}.{sha256(range_id.encode('utf-8', 'surrogatepass')).hexdigest()}"


def archive_name(job_id: str, group: str) -> str:
    """What the archive of a group is called: `<job>.<session>.<node>.<number>.zip`.

    A name for all time: PanDA and Harvester know a file by its name without directories, and take a second one of that name for
    the first. The session and its node make it unique, the job says to a person whose it is.
    """
    job = quote(job_id, safe="", errors="surrogatepass")[:_LONGEST_JOB]
    return ".".join(filter(None, [job, *group.split("/"), "zip"]))
