"""`raythena explain-command`: before, after, and why."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from raythena.domain.catalogue import parse_catalogue
from raythena.domain.errors import ExitCode

FIXTURES = Path(__file__).parents[2] / "fixtures" / "harvester"


@pytest.fixture
def job_file(tmp_path):
    shutil.copy(FIXTURES / "merge-HPCJobs.json", tmp_path / "HPCJobs.json")
    return tmp_path / "HPCJobs.json"


def change_job(job_file, **changes):
    document = json.loads(job_file.read_text())
    (inner,) = document.values()
    inner.update(changes)
    job_file.write_text(json.dumps(document))


def test_a_person_sees_the_command_before_and_after_and_every_reason(run, job_file):
    ran = run("explain-command", job_file, "--node", 3, "--cores", 64)
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert lines[0] == "before"
    assert lines[1].startswith("  Sim_tf.py --inputEVNTFile=EVNT.30737678._000001.pool.root.1,")
    assert lines[3].startswith("  Sim_tf.py --inputEVNTFile=/run/inputs/EVNT.30737678._000001.pool.root.1 --maxEvents=40")
    assert "  untouched --conditionsTag" in lines
    start = lines.index("  changed   --outputHITSFile")
    assert lines[start + 1 : start + 3] == [
        "    - --outputHITSFile=HITS.30737678._[000001,000002].pool.root.1",
        "    + --outputHITSFile=HITS.30737678._000001.pool.root.1",
    ]
    assert lines[lines.index("  added     --jobNumber") + 1] == "    + --jobNumber=769"
    assert lines[lines.index("  changed   coreCount") + 2] == "    + 64"


def test_a_machine_gets_the_same_and_the_catalogue(run, job_file):
    document = json.loads(run("explain-command", job_file, "--json", "--every-input", "--max-events", 7, "--attempt", 1).out)
    assert document["argv"][0] == "Sim_tf.py"
    assert "--maxEvents=7" in document["argv"]
    assert "--jobNumber=2" in document["argv"]
    assert document["after"].count("/run/inputs/") == 4
    actions = {change["name"]: change["action"] for change in document["changes"]}
    assert (actions["--AMITag"], actions["--maxEvents"], actions["inFiles"]) == ("untouched", "changed", "removed")
    assert len(parse_catalogue(document["pool_file_catalogue"], "out").entries) == 4


def test_the_number_of_any_start_in_any_session(run, job_file):
    words = ["explain-command", job_file, "--json", "--session", 2, "--node", 3, "--attempt", 1]
    assert f"--jobNumber={(16384 + 3) * 256 + 2}" in json.loads(run(*words).out)["argv"]
    ran = run("explain-command", job_file, "--session", 512)
    assert ran.code == ExitCode.PAYLOAD
    assert "no job number is left" in ran.err
    assert "session may be 1 to 511" in ran.err


def test_the_merge_is_explained_too(run, job_file):
    lfn = "HITS.30737678._000001.pool.root.1"
    merge = json.loads(run("explain-command", job_file, "--json").out)["merge"]
    assert merge["argv"] == ["HITSMerge_tf.py", f"@inputFor_{lfn}.txt", f"--outputHITS_MRGFile={lfn}", "--AMITag=s4162"]
    assert merge["files"] == {f"inputFor_{lfn}.txt": f"--inputHITSFile\n000001.{lfn}\n000002.{lfn}\n"}
    change_job(job_file, esmergeSpec=None)
    assert json.loads(run("explain-command", job_file, "--json").out)["merge"] is None
    assert "merge" not in run("explain-command", job_file).out


def test_inputs_are_found_beside_the_job_or_where_one_says(run, job_file):
    change_job(job_file, inFilePaths="NULL")
    beside = json.loads(run("explain-command", job_file, "--json").out)["argv"][1]
    assert beside == f"--inputEVNTFile={job_file.parent}/EVNT.30737678._000001.pool.root.1"
    elsewhere = json.loads(run("explain-command", job_file, "--json", "--inputs", "/lustre/evnt").out)["argv"][1]
    assert elsewhere == "--inputEVNTFile=/lustre/evnt/EVNT.30737678._000001.pool.root.1"


def test_argument_files_beside_the_job_are_read(run, job_file):
    change_job(job_file, jobPars="@outer --outputHITSFile=H")
    (job_file.parent / "outer").write_text("@inner\n--preExec\na b")
    (job_file.parent / "inner").write_text("--inputEVNTFile=EVNT.30737678._000001.pool.root.1")
    document = json.loads(run("explain-command", job_file, "--json").out)
    assert document["argv"][1:4] == ["--inputEVNTFile=/run/inputs/EVNT.30737678._000001.pool.root.1", "--preExec", "a b"]


@pytest.mark.parametrize(
    ("changes", "options", "said"),
    [
        ({"jobPars": "--maxEvents='1"}, [], "HPCJobs.json: jobPars: character 13: the quote"),
        ({"jobPars": "@nowhere"}, [], "HPCJobs.json: jobPars: @nowhere: "),
        ({"inFilePaths": "/a,/b,/c,/d d"}, [], "inFiles[3]: the path '/d d' holds ' '"),
        ({}, ["--panda-id", "7"], "HPCJobs.json: 7: no such job; expected one of 5750099001"),
        ({}, ["--node", "-1"], "node: is -1; expected a whole number from 0 to 16383"),
    ],
)
def test_what_cannot_work_is_refused(run, job_file, changes, options, said):
    change_job(job_file, **changes)
    ran = run("explain-command", job_file, *options)
    assert ran.code == ExitCode.INVALID_INPUT
    assert said in ran.err


def test_a_native_job_file_has_no_command(run, tmp_path):
    (tmp_path / "job.yaml").write_text("name: x\n")
    ran = run("explain-command", tmp_path / "job.yaml")
    assert (ran.code, "is no job specification of PanDA" in ran.err) == (ExitCode.INVALID_INPUT, True)


def test_the_example_in_the_documentation_is_what_is_printed(run):
    page = (Path(__file__).parents[3] / "docs" / "athena-arguments.md").read_text()
    job_file = FIXTURES / "merge-HPCJobs.json"
    printed = run("explain-command", job_file, "--node", 3, "--cores", 64).out
    assert f"```text\n{printed}```" in page
