"""What is put around a pilot before it starts, and what is refused before anything is started."""

import configparser
import json
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from raythena.domain.errors import InvalidInput, PayloadError
from raythena.payloads.pilot import launch, start
from raythena.payloads.pilot.launch import prepare
from raythena.payloads.pilot.pilot_options import PilotOptions, read_options, served_document
from raythena.payloads.pilot.pilot_payload import check_options
from raythena.payloads.pilot.release import find_release
from raythena.runtime.payload_interface import payload_plugin

JOB = {"PandaID": 4711, "resource_type": "SCORE"}
TEMPLATE = "# a comment\n[Pilot]\npandaserver: https://pandaserver.cern.ch:25443\npc: 100%\n[Payload]\nchecks: looping\n"


@pytest.fixture
def release(tmp_path):
    """A directory that looks like a release."""
    place = tmp_path / "pilot3" / "3.7.0.36"
    (place / "pilot" / "util").mkdir(parents=True)
    (place / "pilot.py").touch()
    (place / "PILOTVERSION").write_text("3.7.0.36\n")
    (place / "pilot" / "util" / "default.cfg").write_text(TEMPLATE)
    return place


def prepared(release, tmp_path, **options):
    found = read_options({"pilot": str(release), "pid_namespace": "no", **options}, "job")
    plan = prepare(found, find_release(release, None, "", tmp_path / "x"), JOB, cores=8, port=4242, directory=tmp_path / "run")
    return plan, {path.name: path.read_text() for path in plan.directory.iterdir()}


def test_the_entry_point():
    assert payload_plugin("pilot").factory.__name__ == "PilotPayload"


def test_the_launch_directory(release, tmp_path):
    queue = {"state": "ACTIVE", "status": "online", "container_type": "apptainer:pilot", "container_options": "-B /x --foo='a b'"}
    plan, files = prepared(release, tmp_path, queue="Q", queuedata=queue, config={"Payload": {"checks": "none"}})
    assert json.loads(files["queuedata.json"]) == queue
    assert json.loads(files["cric_pandaqueues.json"]) == {"Q": queue}
    assert json.loads(files["cric_ddmendpoints.json"]) == {}
    config = configparser.RawConfigParser()
    config.read_string(files["raythena.cfg"])
    assert (config["Pilot"]["pandaserver"], config["Pilot"]["pc"], config["Payload"]["checks"]) == (
        "http://127.0.0.1:4242",
        "100%",
        "none",
    )
    told = {
        name: plan.environment[name] for name in ("PILOT_NOKILL", "PILOT_HOME", "HARVESTER_PILOT_CONFIG", "ATHENA_PROC_NUMBER")
    }
    home = str(plan.directory)
    assert told == {
        "PILOT_NOKILL": "1",
        "PILOT_HOME": home,
        "HARVESTER_PILOT_CONFIG": f"{home}/raythena.cfg",
        "ATHENA_PROC_NUMBER": "8",
    }
    words = set(plan.argv)
    assert {
        str(release / "pilot.py"),
        "-qQ",
        "--es-executor-type=raythena",
        "-p4242",
        "--resource-type=SCORE",
        "--cleanup=False",
    } <= words


def test_a_pilot_is_never_without_nokill(release, tmp_path):
    plan, _ = prepared(release, tmp_path, environment={"PILOT_NOKILL": "", "X": 1})
    assert (plan.environment["PILOT_NOKILL"], plan.environment["X"]) == ("1", "1")


def test_outputs_stay_where_they_are_looked_for(release, tmp_path, monkeypatch):
    monkeypatch.setenv("PILOT_OUTPUT_DIR", "/somewhere")
    plan, _ = prepared(release, tmp_path)
    assert "PILOT_OUTPUT_DIR" not in plan.environment


def test_arguments_of_the_site_replace_ours(release, tmp_path):
    plan, _ = prepared(release, tmp_path, arguments=["--resource-type=MCORE", "-d", "-i", "RC"])
    assert "--resource-type=SCORE" not in plan.argv
    assert "-iPR" not in plan.argv
    assert plan.argv[-4:] == ["--resource-type=MCORE", "-d", "-i", "RC"]


def test_a_wrapper_gets_the_arguments(tmp_path):
    options = PilotOptions(command=("/wrapper.sh", "-x"), pid_namespace="no")
    plan = prepare(options, find_release(None, None, "", tmp_path), JOB, cores=1, port=1, directory=tmp_path / "run")
    assert plan.argv[4:6] == ["/wrapper.sh", "-x"]
    assert "HARVESTER_PILOT_CONFIG" not in plan.environment


def test_a_section_that_does_not_exist_is_refused(release, tmp_path):
    with pytest.raises(PayloadError, match=r"no section \[Pilott\]"):
        prepared(release, tmp_path, config={"Pilott": {"a": "b"}})


@pytest.mark.parametrize(
    ("allowed", "container", "word", "used"),
    [
        (True, "", "auto", True),
        (True, "apptainer:pilot", "auto", False),
        (True, "docker:wrapper", "auto", True),
        (True, "apptainer:pilot", "yes", True),
        (False, "", "auto", False),
        (True, "", "no", False),
    ],
)
def test_when_a_pid_namespace_is_used(monkeypatch, allowed, container, word, used):
    monkeypatch.setattr(launch, "_namespace_problem", lambda place: "" if allowed else "not permitted")
    assert launch.in_namespace(PilotOptions(pid_namespace=word), {"container_type": container}, Path("/none")) is used


def test_a_pid_namespace_that_is_demanded_and_cannot_be_had(monkeypatch):
    monkeypatch.setattr(launch, "_namespace_problem", lambda place: "not permitted")
    with pytest.raises(PayloadError, match="not permitted"):
        launch.in_namespace(PilotOptions(pid_namespace="yes"), {}, Path("/none"))


@pytest.mark.parametrize(
    ("version", "warned"),
    [("3.7.0.36", ""), ("3.10.2.2", ""), ("3.10.3.82", "1310"), ("3.11.5.1", "1310"), ("3.12.0.1", "newer"), ("", "not known")],
)
def test_releases_that_cannot_work_are_known(release, tmp_path, version, warned):
    (release / "PILOTVERSION").write_text(version)
    found = find_release(release, None, "", tmp_path)
    told = found.defect or found.warning
    assert (warned in told) if warned else told == ""
    assert bool(found.defect) == (warned == "1310")


def test_the_version_may_be_in_the_constants(release, tmp_path):
    (release / "PILOTVERSION").unlink()
    text = "RELEASE = '3'\nVERSION = '10'  # x\nREVISION = '3'\nBUILD = '7'\n"
    (release / "pilot" / "util" / "constants.py").write_text(text)
    assert find_release(release / "pilot.py", None, "", tmp_path).version == "3.10.3.7"


def test_an_archive_is_unpacked(release, tmp_path):
    with tarfile.open(tmp_path / "pilot.tar.gz", "w:gz") as archive:
        archive.add(release, "panda-pilot-3.7.0.36")
    found = find_release(tmp_path / "pilot.tar.gz", None, "", tmp_path / "unpacked")
    assert (found.version, found.program.name) == ("3.7.0.36", "pilot.py")


def test_a_wheel_is_no_pilot(release, tmp_path):
    (release / "pilot.py").unlink()
    with pytest.raises(PayloadError, match="the source archive has it"):
        find_release(release, None, "", tmp_path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "no pilot given"),
        ({"pilot": "/nowhere"}, "not there"),
        ({"command": ["x"], "qeue": "Q"}, "Did you mean queue"),
        ({"command": "x"}, "list of strings"),
        ({"command": ["x"], "pid_namespace": "maybe"}, "auto, yes, no"),
        ({"command": ["x"], "idle_hold_s": 119}, "from 0 to 100"),
        ({"command": ["x"], "over_delivery": "many"}, "number"),
        ({"command": ["x"], "config": {"Pilot": 3}}, "config.Pilot"),
        ({"command": ["x"], "job": "/no/such.json"}, "cannot be read"),
        ({"command": ["x"], "job": JOB, "max_events": 5}, "together with `job`"),
        ({"command": ["x"], "max_events": "5"}, "max_events: is '5'"),
        ({"command": ["x"], "job": {"PandaID": "x"}}, "job.PandaID"),
    ],
)
def test_options_that_cannot_work_are_refused(options, words):
    with pytest.raises(InvalidInput, match=words):
        check_options(options, "job")


def test_a_job_may_come_in_its_envelope(tmp_path):
    path = tmp_path / "HPCJobs.json"
    path.write_text(json.dumps({"4711": JOB}))
    assert served_document({"job": str(path)}, "job") == JOB


def test_yaml_reads_yes_as_a_boolean():
    assert read_options({"command": ["x"], "pid_namespace": True}, "job").pid_namespace == "yes"


START = [sys.executable, "-I", "-S", start.__file__]
SAYS = "import os; print(os.getpid() == os.getpgid(0), os.getpid() == os.getsid(0)); os.setpgrp()"


def test_a_pilot_leads_a_group_and_no_session():
    run = subprocess.run([*START, sys.executable, "-c", SAYS], capture_output=True, text=True, start_new_session=True, check=True)
    assert run.stdout == "True False\n"


@pytest.mark.parametrize(
    ("text", "status"), [("import sys; sys.exit(7)", 7), (f"import os; os.kill(os.getpid(), {int(signal.SIGKILL)})", 137)]
)
def test_its_status_is_handed_on(text, status):
    assert subprocess.run([*START, sys.executable, "-c", text], check=False).returncode == status


def test_a_program_that_is_not_there():
    run = subprocess.run([*START, "/no/such/program"], capture_output=True, text=True, check=False)
    assert (run.returncode, "/no/such/program" in run.stderr) == (127, True)


@pytest.mark.parametrize(("told", "given"), [({}, True), ({"verify_proxy": True}, False)])
def test_the_pilot_does_not_check_its_proxy_unless_it_is_told_to(release, tmp_path, told, given):
    proxy = tmp_path / "proxy"
    proxy.touch()
    plan, _ = prepared(release, tmp_path, proxy=str(proxy), **told)
    assert ("-t" in plan.argv) is given
    assert plan.environment["X509_USER_PROXY"] == str(proxy)
