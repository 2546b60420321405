"""What the exit codes mean, in the words of the help texts and the reference."""

from __future__ import annotations

from raythena.domain.errors import ExitCode

INTERRUPTED = 130
"""Ctrl-C outside a running job; 128 + SIGINT, as every shell knows it. A running job ends with `ExitCode.STOPPED`."""

MEANINGS: dict[int, str] = {
    ExitCode.OK: "done; after a job: every event is in an output",
    ExitCode.INTERNAL: "a defect in raythena; the traceback is printed",
    ExitCode.USAGE: "the command line is wrong",
    ExitCode.INVALID_INPUT: "a job file, setting or input file was refused",
    ExitCode.INCOMPLETE: "the job ended, some events are recorded as failed",
    ExitCode.STOPPED: "stopped before the end, by a signal or for its walltime; can be resumed",
    ExitCode.LEDGER: "the task's ledger was refused or is in use",
    ExitCode.STORAGE: "the disk refused: full, read-only or broken",
    ExitCode.CLUSTER: "the Ray cluster could not be started or was lost",
    ExitCode.PAYLOAD: "the payload could not be started",
    ExitCode.MERGE: "an output could not be merged",
    ExitCode.INVALID_OUTPUT: "validation found a lost, duplicated or altered event",
    ExitCode.ABORTED: "the job was given up: too many failures",
    ExitCode.UNFIT_SITE: "doctor found something that would make a job fail here",
    INTERRUPTED: "interrupted by Ctrl-C",
}


def exit_code_table() -> str:
    """The codes as a preformatted paragraph for the end of a help text."""
    return "\b\nExit codes:\n" + "\n".join(f"  {int(code):>3}  {meaning}" for code, meaning in MEANINGS.items())
