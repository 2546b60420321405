"""A job of PanDA's with on-site merging, from HPCJobs.json to proven outputs, computed by AthenaMP's stand-in, fed directly."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from athenamp_stand_in.content import write_evnt
from job_kit import MARK, RAYTHENA, raythena_processes
from raythena.cli.waiting import node_latencies
from raythena.domain.errors import ExitCode
from raythena.validation import Standing, validate

STAND_INS = Path(__file__).parents[1] / "stand_ins"
INPUTS, EVENTS_PER_INPUT = 4, 100
PANDA_ID = 5750099002


def write_job(directory: Path) -> Path:
    """HPCJobs.json with four inputs of 100 events, two for each output."""
    inputs = [f"EVNT.30737678._{number:06d}.pool.root.1" for number in range(1, INPUTS + 1)]
    paths = [directory / lfn for lfn in inputs]
    guids = [write_evnt(path, range(1 + 1000 * n, 1 + 1000 * n + EVENTS_PER_INPUT)) for n, path in enumerate(paths)]
    specification = {
        "PandaID": PANDA_ID,
        "taskID": 30737678,
        "transformation": str(STAND_INS / "bin" / "Sim_tf.py"),
        "jobPars": f"--inputEVNTFile={','.join(inputs)} --maxEvents=400 --skipEvents=0 --firstEvent=1 --randomSeed=1234 --CA"
        " --outputHITSFile=HITS.30737678._[000001,000002].pool.root.1 --preExec 'flags.Exec.x = \"a b\"'",
        "inFiles": ",".join(inputs),
        "inFilePaths": ",".join(map(str, paths)),
        "GUID": ",".join(guids),
        "outFiles": "HITS.30737678._000001.pool.root.1,HITS.30737678._000002.pool.root.1",
        "nEventsPerInputFile": EVENTS_PER_INPUT,
        "esmergeSpec": {"transPath": "HITSMerge_tf.py", "jobParameters": "", "nEventsPerOutputFile": 2 * EVENTS_PER_INPUT},
        "eventService": "True",
    }
    path = directory / "HPCJobs.json"
    path.write_text(json.dumps({str(PANDA_ID): specification}))
    return path


def write_payload(directory: Path) -> Path:
    """The payload file: some events go wrong the first time, in ways that cost a report, a worker, and once all of AthenaMP."""
    (directory / "once").mkdir()
    for number in range(2, INPUTS + 1):
        (directory / "once" / f"die-EVNT.30737678._{number:06d}.pool.root.1-55").touch()
    plan = {"seek": [17], "crash": [33], "die": [55], "truncated": [71], "silent": [90], "once": str(directory / "once")}
    environment = {"ATHENAMP_STAND_IN": json.dumps(plan), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    options = {"yampl_path": str(STAND_INS / "python"), "environment": environment}
    path = directory / "payload.yaml"
    path.write_text(yaml.safe_dump({"payload": {"kind": "athenamp", "options": options}, "merge": "root"}))
    return path


@pytest.mark.timeout(900)
def test_every_event_comes_out_merged_and_proven(tmp_path, mark):
    task, scratch = tmp_path / "task", tmp_path / "scratch"
    scratch.mkdir()
    words = ["run", write_job(tmp_path), "--payload", write_payload(tmp_path), "--taskdir", task, "--nodes", "2", "--cores", "2"]
    settings = ["runtime.group_age_s=0.5", f"runtime.scratch_dir={scratch}"]
    words += ["--json", *(word for setting in settings for word in ("--set", setting))]
    surroundings = {**os.environ, MARK: mark}
    run = subprocess.run(
        [*RAYTHENA, *map(str, words)], env=surroundings, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    last = json.loads(run.stdout.splitlines()[-1])
    assert (run.returncode, run.stderr) == (ExitCode.OK, "")
    assert (last["result"], last["finished"], last["failed"]) == ("complete", INPUTS * EVENTS_PER_INPUT, 0)
    assert raythena_processes(mark) == []
    proof = validate(task)
    assert (proof.standing, proof.findings) == (Standing.PROVEN, ())
    assert [file.found for file in proof.files] == [200, 200]
    assert {path.name for path in (tmp_path / "once").iterdir()} >= {"die-EVNT.30737678._000001.pool.root.1-55"}
    latencies = node_latencies(task / "logs")
    assert any(one.first_range_s for one in latencies.values())
    told = json.loads((task / "jobReport.json").read_text())["raythena"]["payloads"]
    assert (told["kinds"], told["lives"], told["starts"]["pilots"]) == (["athenamp"], 2, None)
    assert told["starts"]["transforms"] >= 2
    assert told["waiting"]["waits"] > INPUTS * EVENTS_PER_INPUT / 2
    assert list(scratch.iterdir()) == []
