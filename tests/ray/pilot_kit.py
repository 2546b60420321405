"""A real pilot for tests: fetched once, run with the stand-ins for AthenaMP and yampl.

`RAYTHENA_PILOT` names a release that is there already (a directory or an archive). Otherwise the source archive is fetched from
the package index into `build/pilot`; where that is impossible, the tests are skipped.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from athenamp_stand_in.content import write_evnt
from job_kit import ToyJob
from needed_programs import need

ROOT = Path(__file__).parents[2]
STAND_INS = ROOT / "tests" / "stand_ins"
VERSION = "3.7.0.36"
_NAME = f"panda-pilot-{VERSION}.tar.gz"


def fetch_pilot():
    """The archive of the pilot. Skips the test when it cannot be had."""
    need("curl", "ps")
    if given := os.environ.get("RAYTHENA_PILOT"):
        return Path(given)
    place = ROOT / "build" / "pilot"
    archive = next(place.glob("panda[-_]pilot-*.tar.gz"), None)
    if archive is None:
        argv = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-binary", ":all:", "--no-deps"]
        try:
            run = subprocess.run(
                [*argv, "-d", place, f"panda-pilot=={VERSION}"], capture_output=True, text=True, timeout=240, check=False
            )
        except subprocess.TimeoutExpired:
            pytest.skip(f"{_NAME} cannot be fetched: the package index does not answer")
        if run.returncode or not (archive := next(place.glob("panda[-_]pilot-*.tar.gz"), None)):
            pytest.skip(f"{_NAME} cannot be fetched: {(run.stderr.strip().splitlines() or ['no reason given'])[-1]}")
    return archive


def pilot_payload(pilot, job, plan=None, **options):
    """The payload section: the real pilot, the stand-in for what it runs. `plan` is the stand-in's."""
    environment = {
        "NO_CVMFS_OK": "1",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join([str(STAND_INS / "python"), str(ROOT / "src")]),
        "ATHENAMP_STAND_IN": json.dumps(plan or {}),
    }
    told = {
        "config": {"Pilot": {"utility_after_payload_started": ""}},
        "pilot": str(pilot),
        "python": sys.executable,
        "environment": environment,
    }
    return {"kind": "pilot", "options": {**told, "job": job, **options}}


def served_job(panda_id, inputs, **changes):
    """What a pilot gets from getJob."""
    names = (
        "inFiles",
        "outFiles",
        "logFile",
        "GUID",
        "fsize",
        "checksum",
        "prodDBlocks",
        "realDatasetsIn",
        "realDatasets",
        "scopeIn",
    )
    names += ("scopeOut", "scopeLog", "logGUID", "ddmEndPointIn", "ddmEndPointOut", "dispatchDblock", "dispatchDBlockToken")
    names += ("destinationDblock", "destinationDBlockToken", "dispatchDBlockTokenForOut", "prodDBlockTokenForOutput")
    names += ("prodDBlockToken", "fileDestinationSE")
    return {
        **dict.fromkeys(names, ""),
        "PandaID": panda_id,
        "jobsetID": panda_id - 1,
        "taskID": 5,
        "transformation": str(STAND_INS / "bin" / "Sim_tf.py"),
        "jobPars": f"--inputEVNTFile={','.join(map(str, inputs))} --outputHITSFile=HITS.pool.root --eventService=True",
        "coreCount": 2,
        "swRelease": "NULL",
        "homepackage": "NULL",
        "cmtConfig": "x86_64-centos7-gcc11-opt",
        "prodSourceLabel": "managed",
        "processingType": "simul",
        "transferType": "NULL",
        "attemptNr": 0,
        "eventService": "True",
        "jobName": "toy",
        "prodUserID": "nobody",
        "maxWalltime": 0,
        "resource_type": "MCORE",
        "reqID": 1,
        "jobDefinitionID": 0,
        **changes,
    }


def write_panda_job(directory, inputs, per_output):
    """HPCJobs.json of a job with on-site merging: `inputs` events in each input file, `per_output` in each output."""
    names = [f"EVNT.4711._{number:06d}.pool.root.1" for number in range(1, len(inputs) + 1)]
    paths = [directory / name for name in names]
    guids = [write_evnt(path, range(1 + 1000 * n, 1 + 1000 * n + inputs[n])) for n, path in enumerate(paths)]
    outputs = [f"HITS.4711._{number:06d}.pool.root.1" for number in range(1, sum(inputs) // per_output + 1)]
    specification = served_job(
        4711,
        paths,
        jobPars=f"--inputEVNTFile={','.join(names)} --maxEvents={sum(inputs)} --randomSeed=1234 --CA"
        f" --outputHITSFile={outputs[0]} --preExec 'flags.Exec.x = \"a b\"'",
        inFiles=",".join(names),
        inFilePaths=",".join(map(str, paths)),
        GUID=",".join(guids),
        outFiles=",".join(outputs),
        nEventsPerInputFile=inputs[0],
        esmergeSpec={"transPath": "HITSMerge_tf.py", "jobParameters": "", "nEventsPerOutputFile": per_output},
    )
    path = directory / "HPCJobs.json"
    path.write_text(json.dumps({"4711": specification}))
    return path


def pilot_job(directory, pilot, inputs, events_per_file, plan=None, **options):
    """A job of EVNT files with `inputs` events each, for the real pilot."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "scratch").mkdir(exist_ok=True)
    files, first = [], 1
    for number, events in enumerate(inputs, start=1):
        path = directory / f"EVNT.{number:06d}.pool.root"
        guid = write_evnt(path, range(first, first + events))
        files.append({"path": path.name, "events": events, "guid": guid})
        first += events
    job = served_job(4711, [directory / file["path"] for file in files])
    document = {
        "name": "pilot",
        "inputs": files,
        "outputs": {"events_per_file": events_per_file, "name": "HITS.{n:06d}.pool.root"},
        "payload": pilot_payload(pilot, job, plan, **options),
        "merge": "root",
    }
    path = directory / "job.yaml"
    path.write_text(yaml.safe_dump(document))
    return ToyJob(path)
