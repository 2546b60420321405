"""Every failure has a name: who is to blame, what it is, PanDA's number for it, whether it is tried again, what to do.

One table, `FAULTS`. Rows are found by what failed: an attempt (`of_failure`, by its `FailureKind`), a command (`of_error`, by
the class of the error), a job (`of_end`, by how and why it ended). The job report carries what is found; `docs/failure.md` says
the same in prose.

Codes are those of Pilot 3 (`pilot/common/errorcodes.py`), which PanDA's server and monitor know by name, wherever one says the
same thing. Where none does the code is one of ours, from `OWN_CODES`: PanDA stores and shows such a number without a text.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from raythena.domain.errors import ExitCode, RaythenaError
from raythena.domain.results import FailureKind

OWN_CODES = range(9001, 9100)
"""Codes of ours, away from all of Pilot's."""

NO_CODE = 0
"""PanDA's code for: nothing failed."""

WITH_RESUME = "Go on with --resume"
"""How a task goes on that a person has begun."""
BY_ANOTHER_JOB = "What is left is given to another job"
"""How one goes on that somebody else hands out."""


class Who(StrEnum):
    """Whose fault it is."""

    NOBODY = "nobody"
    PAYLOAD = "payload"
    NODE = "node"
    SITE = "site"
    USER_INPUT = "user input"
    OURSELVES = "ourselves"
    STORAGE = "storage"


class EndCause(StrEnum):
    """Why a job ended before every event had an outcome."""

    NONE = "none"
    """It did not."""
    ASKED = "asked"
    WALLTIME = "walltime"
    SIGTERM = "SIGTERM"
    SIGUSR1 = "SIGUSR1"
    SIGHUP = "SIGHUP"
    SIGINT = "SIGINT"
    LOST_NODES = "lost-nodes"
    FAILED_EVENTS = "failed-events"
    REPEATED_ERROR = "repeated-error"
    NO_NODE = "no-node"
    OUTSIDE = "outside"
    """Whoever hands ranges out, or takes reports, did not answer."""
    UPSTREAM_UNFINISHED = "upstream-unfinished"
    """The task that makes the inputs is not finished, and nobody works on it."""
    ERROR = "error"
    """An error of our own tree, which says more."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One row: `code` is for PanDA's pilotErrorCode, `code_name` is Pilot's name for it, empty for a code of ours."""

    who: Who
    what: str
    code: int
    code_name: str
    retried: str
    """What is done about it without anybody's help."""
    hint: str
    """What a person should do; see `advice`."""
    goes_on: bool = False
    """What is finished is kept, and a later session of the task goes on from there."""

    def advice(self, going_on: str) -> str:
        """What a person should do, and where the task goes on: `going_on` says how, for whoever began it. Empty: nothing."""
        return ". ".join(part for part in (self.hint, going_on if self.goes_on else "") if part)

    def to_dict(self, going_on: str) -> dict[str, object]:
        """As the job report tells it; `going_on` as for `advice`."""
        return {"who": str(self.who), "what": self.what, "code": self.code, "hint": self.advice(going_on)}


_ATTEMPTS = "up to engine.max_attempts times, on another node if possible"
_LOSSES = "up to engine.max_losses times, then alone on a node"
_RESUME = "no; the next session goes on from the ledger"
_NO = "no"

FAULTS: dict[str, Fault] = {
    # ---- attempts at one event, by FailureKind
    "reported": Fault(
        Who.PAYLOAD, "the payload says that the event failed", 1305, "PAYLOADEXECUTIONFAILURE", _ATTEMPTS,
        "Read the message; compute this event alone with the same release",
    ),
    "crash": Fault(
        Who.PAYLOAD, "the process computing the event died", 1220, "UNKNOWNPAYLOADFAILURE", _ATTEMPTS,
        "Look for the signal and for memory in the payload's log: the kernel's out-of-memory killer leaves the same trace",
    ),
    "hang": Fault(
        Who.PAYLOAD, "the event exceeded its time limit and was killed", 1150, "LOOPINGJOB", _ATTEMPTS,
        "If the event is merely long, raise payload.time_limit_factor or payload.min_time_limit_s",
    ),
    "out-of-memory": Fault(
        Who.PAYLOAD, "the event took too much memory", 1212, "PAYLOADOUTOFMEMORY", _ATTEMPTS,
        "Allow it more with payload.worker_memory_bytes or fewer --cores on a node, or take nodes with more memory",
    ),
    "memory-short": Fault(
        Who.NODE, "the node had too little memory for all its workers", 1212, "PAYLOADOUTOFMEMORY", _LOSSES,
        "Give the nodes fewer --cores, or more memory: the events themselves took no more than others",
    ),
    "bad-output": Fault(
        Who.PAYLOAD, "the event's output is missing, truncated, unreadable or not that of one event", 1165,
        "MISSINGOUTPUTFILE", _ATTEMPTS,
        "Check the payload's output and the space on the node's scratch disk",
    ),
    "protocol": Fault(
        Who.PAYLOAD, "the payload broke the protocol", 1240, "MESSAGEHANDLINGFAILURE", _ATTEMPTS,
        "Run the conformance suite, raythena.testing.payload_conformance, against the payload",
    ),
    "scratch-refused": Fault(
        Who.NODE, "the node's scratch disk refused the output", 1098, "NOLOCALSPACE", _LOSSES,
        "Make space on the node's scratch disk; an event that is always there when it fills writes too much",
    ),
    "upstream": Fault(
        Who.PAYLOAD, "the task that makes the inputs has given the event up", 9014, "", _NO,
        "Mend the cause in that task and have the event tried again, there first, then here: --retry-failed upstream",
    ),
    "node-lost": Fault(
        Who.NODE, "the node vanished with the event", 9001, "", _LOSSES,
        "Ask the site about the node; an event that is always there when a node dies takes too much memory",
    ),
    "stored-output-lost": Fault(
        Who.STORAGE, "the stored output could not be read back", 1303, "FILEHANDLINGFAILURE", _ATTEMPTS,
        "Check the shared file system; nothing but raythena may touch the task directory",
    ),
    # ---- errors that end a command, by class
    "RaythenaError": Fault(Who.OURSELVES, "an error without a name", 9002, "", _NO, "Report it with the log"),
    "InternalError": Fault(Who.OURSELVES, "a defect in raythena", 9003, "", _RESUME, "Report it with the coordinator's log"),
    "InvalidInput": Fault(
        Who.USER_INPUT, "a job file, setting or input file was refused", 9004, "", _NO, "Correct what the message names",
    ),
    "MissingInput": Fault(
        Who.SITE, "an input file is not there", 1331, "MISSINGINPUTFILE", _NO, "Look for the file where the message has it",
    ),
    "LedgerError": Fault(Who.STORAGE, "the task's ledger cannot be used", 9005, "", _NO, "Do what the message says"),
    "LedgerForeign": Fault(
        Who.USER_INPUT, "the ledger belongs to another task or version", 9006, "", _NO, "Choose another task directory",
    ),
    "LedgerCorrupt": Fault(
        Who.STORAGE, "the ledger is damaged", 9007, "", _NO, "Keep the directory as it is, check the disk, restore a copy",
    ),
    "LedgerBusy": Fault(
        Who.SITE, "another coordinator holds the task", 1336, "JOBALREADYRUNNING", _NO,
        "Let the other session end, or stop it: the message says where it runs",
    ),
    "StorageError": Fault(
        Who.STORAGE, "the disk refused", 1303, "FILEHANDLINGFAILURE", "for five minutes, then no; the next session goes on",
        "Check the file system of the task directory", goes_on=True,
    ),
    "disk full": Fault(
        Who.STORAGE, "no space is left", 1098, "NOLOCALSPACE", "for five minutes, then no; the next session goes on",
        "Make space", goes_on=True,
    ),
    "PayloadError": Fault(
        Who.PAYLOAD, "the payload could not be started", 1110, "SETUPFAILURE", "on every node",
        "Start the payload by hand on one node; check release, container and options",
    ),
    "ContainerError": Fault(
        Who.SITE, "the payload's container could not be entered", 1306, "SINGULARITYGENERALFAILURE", "on every node",
        "The message has the engine's words; start the engine by hand on one node, with the image and the binds",
    ),
    "PayloadUnusable": Fault(
        Who.PAYLOAD, "the payload cannot work here, however often it is started", 1110, "SETUPFAILURE", _NO,
        "The message has the payload's own words; start it by hand on one node",
    ),
    "NumbersExhausted": Fault(
        Who.PAYLOAD, "no job number is left for another start of the transform", 9012, "", "by another agent on the node",
        "Find out why the transform keeps ending; when the sessions are used up, begin another task directory",
    ),
    "MergeError": Fault(
        Who.PAYLOAD, "an output could not be merged", 1357, "POSTPROCESSFAILURE", "three times",
        "Read the merge's message; the events are stored, only the merge is done again", goes_on=True,
    ),
    "ClusterError": Fault(
        Who.SITE, "the Ray cluster could not be started or was lost", 1344, "RESOURCEUNAVAILABLE", _RESUME,
        "Read Ray's log; check the nodes and the network between them",
    ),
    "MergeContainerError": Fault(
        Who.SITE, "the container of a merge could not be entered", 1306, "SINGULARITYGENERALFAILURE", "three times",
        "The message has the engine's words; start the engine by hand on one node. The events are stored",
    ),
    "JobAborted": Fault(
        Who.SITE, "going on would only have wasted the allocation", 9008, "", _RESUME, "Read the message", goes_on=True,
    ),
    # ---- commands that end without such an error, by exit code
    "usage": Fault(Who.USER_INPUT, "the command line is wrong", 9009, "", _NO, "See --help"),
    "invalid output": Fault(
        Who.OURSELVES, "validation found a lost, duplicated or altered event", 9010, "", _NO,
        "Keep the task directory and report it with the output of raythena validate",
    ),
    "unfit site": Fault(
        Who.SITE, "something here would make a job fail", 9013, "", _NO, "Read the rows of raythena doctor that say failure",
    ),
    # ---- jobs, by outcome
    "complete": Fault(Who.NOBODY, "every event is in an output", NO_CODE, "", _NO, ""),
    "incomplete": Fault(
        Who.PAYLOAD, "some events failed for good", 1224, "ESRECOVERABLE", "every event up to its limits",
        "See raythena.failed in this report, or raythena report",
    ),
    "unmerged": Fault(
        Who.PAYLOAD, "an output could not be merged", 1357, "POSTPROCESSFAILURE", "three times",
        "Read the merge's message; the events are stored, only the merge is done again", goes_on=True,
    ),
    # ---- jobs stopped or given up, by cause
    "none": Fault(Who.NOBODY, "the job ended by itself", NO_CODE, "", _NO, ""),
    "asked": Fault(Who.NOBODY, "somebody asked for an early end", 1205, "USERKILL", _RESUME, "", goes_on=True),
    "walltime": Fault(
        Who.SITE, "the end of the allocation was too near", 1213, "REACHEDMAXTIME", _RESUME, "", goes_on=True,
    ),
    "SIGTERM": Fault(Who.SITE, "stopped by SIGTERM", 1201, "SIGTERM", _RESUME, "", goes_on=True),
    "SIGUSR1": Fault(Who.SITE, "stopped by SIGUSR1", 1207, "SIGUSR1", _RESUME, "", goes_on=True),
    "SIGHUP": Fault(Who.SITE, "stopped by SIGHUP", 1200, "KILLSIGNAL", _RESUME, "", goes_on=True),
    "SIGINT": Fault(Who.NOBODY, "stopped by SIGINT", 1208, "SIGINT", _RESUME, "", goes_on=True),
    "lost-nodes": Fault(
        Who.SITE, "too many nodes were lost", 1344, "RESOURCEUNAVAILABLE", _RESUME,
        "Ask the site about the nodes; the limits are budget.max_lost_nodes and budget.max_lost_node_fraction", goes_on=True,
    ),
    "failed-events": Fault(
        Who.PAYLOAD, "too many events failed", 1228, "ESFATAL", "every event up to its limits",
        "See raythena.failed in this report; the limits are budget.max_failed_events and budget.max_failed_fraction",
    ),
    "repeated-error": Fault(
        Who.PAYLOAD, "the same error everywhere, as of a broken release", 1305, "PAYLOADEXECUTIONFAILURE", _RESUME,
        "Repair release, container or conditions data; the limit is budget.repeated_failures", goes_on=True,
    ),
    "no-node": Fault(
        Who.SITE, "no node was left to work on", 1344, "RESOURCEUNAVAILABLE", "nodes are waited for",
        "Ask the site about the nodes", goes_on=True,
    ),
    "upstream-unfinished": Fault(
        Who.USER_INPUT, "the task that makes the inputs is not finished, and nobody works on it", 9015, "", _RESUME,
        "Go on with that task first, or at the same time", goes_on=True,
    ),
    "outside": Fault(
        Who.SITE, "the workload manager neither gave ranges nor took reports", 9011, "", _RESUME,
        "Look at Harvester's log for this worker; what was not taken is reported again", goes_on=True,
    ),
}  # fmt: skip

_BY_EXIT_CODE: dict[ExitCode, str] = {
    ExitCode.OK: "complete",
    ExitCode.INTERNAL: "InternalError",
    ExitCode.USAGE: "usage",
    ExitCode.INVALID_INPUT: "InvalidInput",
    ExitCode.INCOMPLETE: "incomplete",
    ExitCode.STOPPED: "asked",
    ExitCode.LEDGER: "LedgerError",
    ExitCode.STORAGE: "StorageError",
    ExitCode.CLUSTER: "ClusterError",
    ExitCode.PAYLOAD: "PayloadError",
    ExitCode.MERGE: "MergeError",
    ExitCode.INVALID_OUTPUT: "invalid output",
    ExitCode.ABORTED: "JobAborted",
    ExitCode.UNFIT_SITE: "unfit site",
}

_FULL = ("no space left", "disk is full", "disk quota exceeded")


def of_failure(kind: FailureKind) -> Fault:
    """Why one attempt at one event failed."""
    return FAULTS[kind.value]


def of_exit_code(code: ExitCode) -> Fault:
    """What an exit code says, when nothing else is known."""
    return FAULTS[_BY_EXIT_CODE[code]]


def of_error(error: RaythenaError) -> Fault:
    """What ended a command: by the class of the error, for a class not in the table by its exit code."""
    name = type(error).__name__
    if name == "StorageError" and any(phrase in str(error).lower() for phrase in _FULL):
        name = "disk full"
    return FAULTS[name] if name in FAULTS else of_exit_code(error.exit_code)


def of_end(outcome: str, cause: EndCause, error: RaythenaError | None = None) -> Fault | None:
    """Why a job ended as it did; None when nothing is wrong. `outcome` is the engine's word for it."""
    if error is not None:
        return of_error(error)
    if outcome == "complete":
        return None
    if outcome in FAULTS:
        return FAULTS[outcome]
    if cause in (EndCause.NONE, EndCause.ERROR):
        return FAULTS["JobAborted" if outcome == "aborted" else "asked"]
    return FAULTS[cause.value]
