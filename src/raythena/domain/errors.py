"""Every error the project raises on purpose, drawn as one tree.

    RaythenaError
    ├── InvalidInput          what a user handed us is wrong: source, field, problem, expected, hint
    │   └── MissingInput      an input file is not where it should be
    ├── LedgerError           the record of the task cannot be used
    │   ├── LedgerForeign     it belongs to another task, another schema, or is no ledger at all
    │   ├── LedgerCorrupt     it is a ledger, but damaged
    │   └── LedgerBusy        another coordinator holds it
    ├── StorageError          the disk refused: full, I/O error, read-only
    ├── PayloadError          the payload could not be started or broke its protocol
    │   ├── ContainerError    its container could not be entered
    │   ├── PayloadUnusable   it cannot work here, however often it is started
    │   └── NumbersExhausted  no job number is left for another start of its transform
    ├── MergeError            an output could not be merged
    │   └── MergeContainerError  its container could not be entered
    ├── JobAborted            going on would only waste the allocation
    ├── ClusterError          Ray could not be started or was lost
    └── InternalError         a rule of ours was broken: always a defect, never the user's fault

Rules: an error says whose fault it is through its class; its text says what is wrong, where, what was expected and what to do.
Each class owns the exit code of the command that ends with it (see `ExitCode`).
"""

from __future__ import annotations

from enum import IntEnum
from functools import partial


class ExitCode(IntEnum):
    """Exit codes of every `raythena` command; documented in the command-line reference."""

    OK = 0
    """Everything asked for was done: every event is in an output."""
    INTERNAL = 1
    """A defect of ours, with a traceback in the log."""
    USAGE = 2
    """The command line itself was wrong (also used by the option parser)."""
    INVALID_INPUT = 3
    """A job file, configuration or input file was refused."""
    INCOMPLETE = 4
    """The job ended, but some events are recorded as failed."""
    STOPPED = 5
    """Stopped before the end by a signal or the end of the allocation; can be resumed."""
    LEDGER = 6
    """The task's ledger was refused or is held by another coordinator."""
    STORAGE = 7
    """The disk refused and did not recover in time."""
    CLUSTER = 8
    """The Ray cluster could not be started or was lost."""
    PAYLOAD = 9
    """The payload could not be started."""
    MERGE = 10
    """An output could not be merged."""
    INVALID_OUTPUT = 11
    """Validation found a lost, duplicated or altered event."""
    ABORTED = 12
    """The job was given up: too many failures."""
    UNFIT_SITE = 13
    """`raythena doctor` found something that would make a job fail here."""


class RaythenaError(Exception):
    """Root of all deliberate errors."""

    exit_code: ExitCode = ExitCode.INTERNAL


class InvalidInput(RaythenaError):
    """Something a user handed us is wrong.

    `source` is the file (or option) at fault, `field` the path inside it (may be empty), `problem` what is wrong,
    `expected` what would have been right, `hint` what to do.
    """

    exit_code = ExitCode.INVALID_INPUT

    def __init__(self, source: str, field: str, problem: str, *, expected: str = "", hint: str = "") -> None:
        self.source = source
        self.field = field
        self.problem = problem
        self.expected = expected
        self.hint = hint
        where = f"{source}: {field}" if field else source
        text = f"{where}: {problem}"
        if expected:
            text += f"; expected {expected}"
        if hint:
            text += f". {hint}"
        super().__init__(text)

    def __reduce__(self) -> tuple[object, ...]:
        # exceptions are pickled by their message alone, which is not what this constructor takes; errors cross Ray
        again = partial(type(self), expected=self.expected, hint=self.hint)
        return (again, (self.source, self.field, self.problem))


class MissingInput(InvalidInput):
    """An input file is not where it should be: the document that names it may be right."""


class LedgerError(RaythenaError):
    """The ledger of a task cannot be used."""

    exit_code = ExitCode.LEDGER


class LedgerForeign(LedgerError):
    """The file belongs to another task or schema, or is no ledger."""


class LedgerCorrupt(LedgerError):
    """The file is a ledger, but damaged."""


class LedgerBusy(LedgerError):
    """Another coordinator holds the task."""


class StorageError(RaythenaError):
    """The disk refused to read or write."""

    exit_code = ExitCode.STORAGE


class PayloadError(RaythenaError):
    """The payload could not be started or broke its protocol beyond repair."""

    exit_code = ExitCode.PAYLOAD


class PayloadUnusable(PayloadError):
    """The payload has tried as often as makes sense, or knows that it cannot work: another start of it would end the same way."""


class ContainerError(PayloadError):
    """The engine did not start the container: the payload itself was never run."""


class NumbersExhausted(PayloadError):
    """Another start of the transform would need a job number that was used before, or is too large for it."""


class MergeError(RaythenaError):
    """An output could not be merged.

    `bad_ranges` lists the range indices whose stored outputs are at fault; empty when the merge itself is to blame.
    `reasons` says of each what is wrong with it as the payload wrote it; empty when outputs were lost or altered since.
    """

    exit_code = ExitCode.MERGE

    def __init__(self, message: str, bad_ranges: tuple[int, ...] = (), reasons: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.bad_ranges = bad_ranges
        self.reasons = reasons

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (str(self), self.bad_ranges, self.reasons))


class ClusterError(RaythenaError):
    """The Ray cluster could not be started or was lost."""

    exit_code = ExitCode.CLUSTER


class MergeContainerError(MergeError):
    """The engine did not start the container: the merging program was never run."""


class JobAborted(RaythenaError):
    """The job was given up, because going on would only waste the allocation."""

    exit_code = ExitCode.ABORTED


class InternalError(RaythenaError):
    """One of our own rules was broken. `range_index`: the range it is about, if it is about one."""

    def __init__(self, message: str, range_index: int | None = None) -> None:
        super().__init__(message)
        self.range_index = range_index
