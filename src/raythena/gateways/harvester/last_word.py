"""What PanDA is told in the end, and how the batch job exits.

Three ways to end. The job is *done*: exit code 0, no error anywhere. It is *partly done*, in a queue that can say so (OneToOne,
on-site merging): exit code 0. Or it has *failed*: an error code and a text first, then an exit code other than 0.

With on-site merging the attribute `xml` lists what is handed over and which inputs another job must do, however the job ended:
batch systems end a job at its walltime, and Harvester calls that finished, whatever exit code and error say.

Order matters, because Harvester reads whenever it likes and PanDA keeps what it was told: outputs and log, then the job report,
then attributes; an error is written down only when nothing can change it any more.
"""

from __future__ import annotations

from dataclasses import dataclass

from raythena.domain.errors import ExitCode
from raythena.domain.job import Job
from raythena.domain.taxonomy import BY_ANOTHER_JOB, Fault, of_exit_code
from raythena.gateways.harvester import documents
from raythena.gateways.harvester.deliverables import Deliverables
from raythena.gateways.harvester.documents import Entry
from raythena.gateways.harvester.harvester_config import MapType


@dataclass(frozen=True, slots=True)
class Ending:
    """How the session ended, whoever says so."""

    exit_code: int
    reason: str
    fault: Fault | None
    """None: nothing is wrong."""
    events: int = 0
    """Finished, all sessions together."""
    cores: int = 0
    cpu_s: float = 0.0
    """Spent on them."""


@dataclass(frozen=True, slots=True)
class LastWord:
    """What is left to say."""

    exit_code: int
    """Of the batch job: not 0 exactly when the job has failed."""
    attributes: documents.Attributes
    summary: str
    """For people."""


def last_word(
    ending: Ending,
    job: Job | None,
    deliverables: Deliverables | None,
    log: tuple[str, Entry] | None,
    map_type: MapType,
) -> LastWord:
    """Decide. `job` is None when there was none to be had, `deliverables` when nothing is merged here; `log` is (LFN, entry)."""
    figures: documents.Attributes = _figures(ending)
    if deliverables is None:
        return _without_outputs(ending, job, figures)
    if deliverables.whole:
        # nothing is skipped any more, and should the report of our log be lost, Harvester makes one and says what it is
        return LastWord(0, {**figures, "xml": None}, "done")
    figures = {**figures, "xml": deliverables.report(log)}
    if deliverables.ready:
        skipped = deliverables.skipped()
        if map_type is MapType.ONE_TO_ONE and log is not None:
            words = f"partly done: {len(skipped)} inputs are left to another job, because {ending.reason}"
            return LastWord(0, figures, words)
        why = "the queue's mapType OneToMany cannot tell PanDA" if log is not None else "there is no log to tell of"
        return _failed(
            ending, figures, f"{ending.reason}; {len(skipped)} inputs are not done, and {why}, so all of it is done again"
        )
    return _failed(ending, figures, ending.reason)


def _without_outputs(ending: Ending, job: Job | None, figures: documents.Attributes) -> LastWord:
    if job is not None and job.ranges_given and _ranges_done(ending):
        return LastWord(0, figures, "done")
    return _failed(ending, figures, ending.reason if ending.exit_code else "nobody can say which outputs there are")


def _ranges_done(ending: Ending) -> bool:
    """Whether a job whose ranges PanDA gave is done: it is told of each range, so some that failed are no failure of the job."""
    return ending.exit_code == ExitCode.OK or (ending.exit_code == ExitCode.INCOMPLETE and ending.events > 0)


def _figures(ending: Ending) -> dict[str, int | str]:
    figures: dict[str, int | str] = {}
    if ending.events:
        figures["nEvents"] = ending.events
    if ending.cores:
        figures["coreCount"] = ending.cores
    if ending.cpu_s:
        figures |= {"cpuConsumptionTime": round(ending.cpu_s), "cpuConsumptionUnit": "s"}
    return figures


def _failed(ending: Ending, figures: documents.Attributes, reason: str) -> LastWord:
    fault = ending.fault or of_exit_code(ExitCode.INCOMPLETE if ending.exit_code == 0 else _known(ending.exit_code))
    exit_code = ending.exit_code or int(ExitCode.INCOMPLETE)
    told: dict[str, int | str] = {
        "pilotErrorCode": fault.code,
        "pilotErrorDiag": f"{fault.what}: {reason}",
        "exeErrorCode": exit_code,
        "exeErrorDiag": fault.advice(BY_ANOTHER_JOB) or reason,
    }
    return LastWord(exit_code, {**figures, **told}, f"failed: {reason}")


def _known(exit_code: int) -> ExitCode:
    """Ours, or for a code of somebody else (a signal's) what comes closest."""
    return ExitCode(exit_code) if exit_code in ExitCode.__members__.values() else ExitCode.STOPPED


def bare_report(word: LastWord, ending: Ending) -> dict[str, object]:
    """A job report for a job that never came as far as to have one."""
    return {
        "exitCode": ending.exit_code,
        "exitAcronym": "OK" if ending.exit_code == 0 else "ERROR",
        "exitMsg": word.summary,
        "name": "raythena",
        "executor": [],
        "files": {"input": [], "output": []},
    }
