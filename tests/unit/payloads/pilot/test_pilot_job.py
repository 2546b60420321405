"""The job a pilot gets."""

from pathlib import Path

import pytest

from raythena.domain.errors import InvalidInput
from raythena.payloads.pilot.pilot_job import checked_document, pilot_job, takes_numbers
from raythena.payloads.pilot.pilot_options import PilotOptions
from raythena.payloads.pilot.pilot_payload import check_options
from raythena.runtime.payload_interface import PayloadContext

JOB = {"PandaID": 7, "transformation": "Sim_tf.py", "jobPars": "--preExec='all:x=1' --maxEvents=1"}


def context(job):
    return PayloadContext("n", 8, Path("/none"), {"job": job}, "job", Path("/none"))


def test_a_given_job_is_rewritten_for_pilots_and_has_the_cores_of_the_node():
    job = pilot_job(context(JOB), PilotOptions(), 1)
    assert (job["jobPars"], job["coreCount"]) == ("--maxEvents=1 --preExec all:x=1", 8)
    assert not takes_numbers(context(JOB))


@pytest.mark.parametrize("parameters", ["--preExec 'import jobproperties as jps'", "--maxEvents=1; rm", "--maxEvents='1"])
def test_a_job_that_would_be_broken_is_refused_when_it_is_submitted(parameters):
    with pytest.raises(InvalidInput, match=r"payload\.options\.job\.jobPars"):
        check_options({"command": ["wrapper"], "job": {**JOB, "jobPars": parameters}}, "job.yaml")


def test_a_job_without_parameters_is_nobodys_business():
    assert checked_document({"job": {"PandaID": 7}}, "job") == {"PandaID": 7}
