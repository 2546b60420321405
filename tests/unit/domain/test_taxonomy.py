"""Every failure kind, error class, exit code and outcome has a row, and every row can be reached."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from raythena.domain import errors
from raythena.domain.errors import ExitCode, InternalError, InvalidInput, LedgerBusy, MissingInput, RaythenaError, StorageError
from raythena.domain.results import FailureKind
from raythena.domain.taxonomy import FAULTS, NO_CODE, OWN_CODES, EndCause, Who, of_end, of_error, of_exit_code, of_failure
from raythena.engine.commands import Outcome

ERRORS = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, RaythenaError)]
PILOT = {
    "NOLOCALSPACE": 1098,
    "SETUPFAILURE": 1110,
    "LOOPINGJOB": 1150,
    "MISSINGOUTPUTFILE": 1165,
    "MISSINGINPUTFILE": 1331,
    "KILLSIGNAL": 1200,
    "SIGTERM": 1201,
    "USERKILL": 1205,
    "SIGUSR1": 1207,
    "SIGINT": 1208,
    "PAYLOADOUTOFMEMORY": 1212,
    "REACHEDMAXTIME": 1213,
    "UNKNOWNPAYLOADFAILURE": 1220,
    "ESRECOVERABLE": 1224,
    "ESFATAL": 1228,
    "MESSAGEHANDLINGFAILURE": 1240,
    "FILEHANDLINGFAILURE": 1303,
    "PAYLOADEXECUTIONFAILURE": 1305,
    "SINGULARITYGENERALFAILURE": 1306,
    "JOBALREADYRUNNING": 1336,
    "RESOURCEUNAVAILABLE": 1344,
    "POSTPROCESSFAILURE": 1357,
}
"""Read from Pilot 3's pilot/common/errorcodes.py."""


@pytest.mark.parametrize("kind", FailureKind)
def test_every_failed_attempt_has_a_name(kind):
    fault = of_failure(kind)
    assert fault.who in (Who.PAYLOAD, Who.NODE, Who.STORAGE)
    assert fault.code != NO_CODE


@pytest.mark.parametrize("error", ERRORS)
def test_every_error_has_a_row_of_its_own(error):
    assert error.__name__ in FAULTS


@pytest.mark.parametrize("code", ExitCode)
def test_every_exit_code_has_a_row(code):
    assert (of_exit_code(code).code == NO_CODE) == (code is ExitCode.OK)


@pytest.mark.parametrize("outcome", Outcome)
@pytest.mark.parametrize("cause", EndCause)
def test_every_end_is_explained_and_only_a_complete_job_has_nothing_to_explain(outcome, cause):
    fault = of_end(outcome, cause)
    assert (fault is None) == (outcome is Outcome.COMPLETE)
    assert fault is None or fault.code != NO_CODE


@pytest.mark.parametrize("cause", EndCause)
def test_every_cause_but_an_error_of_the_tree_has_a_row(cause):
    assert cause is EndCause.ERROR or cause.value in FAULTS


def test_no_row_is_unreachable():
    reached = {kind.value for kind in FailureKind} | {error.__name__ for error in ERRORS} | {cause.value for cause in EndCause}
    reached |= {outcome.value for outcome in Outcome} | {"disk full"}
    rows_of_codes = [of_exit_code(code) for code in ExitCode]
    assert [name for name, fault in FAULTS.items() if name not in reached and fault not in rows_of_codes] == []


@pytest.mark.parametrize(("name", "fault"), FAULTS.items())
def test_codes_are_pilots_by_name_or_ours(name, fault):
    if fault.code_name:
        assert PILOT[fault.code_name] == fault.code
    else:
        assert fault.code == NO_CODE or fault.code in OWN_CODES


def test_our_own_codes_mean_one_thing_each():
    own = [fault.code for fault in FAULTS.values() if fault.code in OWN_CODES]
    assert len(own) == len(set(own))


@pytest.mark.parametrize(("name", "fault"), [(name, fault) for name, fault in FAULTS.items() if fault.code])
def test_every_fault_says_what_happened_whether_it_is_retried_and_what_to_do(name, fault):
    assert fault.what
    assert fault.retried
    assert fault.advice("go on")
    assert "--resume" not in fault.hint, "who cannot give it reads this as well"


def test_advice_says_how_the_task_goes_on_to_whom_it_concerns():
    assert FAULTS["SIGTERM"].advice("Go on with --resume") == "Go on with --resume"
    assert FAULTS["disk full"].advice("Wait") == "Make space. Wait"
    assert FAULTS["InvalidInput"].advice("Wait") == "Correct what the message names"
    assert FAULTS["complete"].advice("Wait") == ""


def test_a_missing_input_is_no_bad_job():
    missing = of_error(MissingInput("job.json", "inFiles[0]", "does not exist"))
    assert (missing.code, missing.who) == (1331, Who.SITE)


def test_a_full_disk_is_told_from_a_broken_one():
    assert of_error(StorageError("cannot write /t/x: No space left on device")).code == 1098
    assert of_error(StorageError("cannot write /t/x: Input/output error")).code == 1303


def test_an_error_says_more_than_the_way_the_job_ended():
    assert of_end("aborted", EndCause.ERROR, LedgerBusy("held")).code == 1336
    assert of_end("aborted", EndCause.LOST_NODES).who is Who.SITE
    assert of_end("stopped", EndCause.WALLTIME).code == 1213


def test_an_error_class_nobody_listed_is_known_by_its_exit_code():
    class NewError(RaythenaError):
        exit_code = ExitCode.CLUSTER

    assert of_error(NewError("?")) == FAULTS["ClusterError"]
    assert of_error(InternalError("?")).who is Who.OURSELVES
    assert of_error(InvalidInput("a", "b", "c")).who is Who.USER_INPUT


def test_every_code_is_explained_in_the_documentation():
    text = (Path(__file__).parents[3] / "docs" / "failure.md").read_text()
    told = set(map(int, re.findall(r"\b(1[0-3]\d\d|90\d\d)\b", text)))
    assert {fault.code for fault in FAULTS.values() if fault.code} <= told
