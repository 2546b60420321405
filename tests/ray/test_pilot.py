"""The real pilot, on real nodes, with stand-ins for what it runs: to the end of a job, and through what goes wrong."""

import json
import os
import subprocess

import pytest
import yaml
from pilot_kit import fetch_pilot, pilot_job, pilot_payload, write_panda_job

from job_kit import MARK, RAYTHENA, SharedCluster, eventually, raythena_processes, subtree
from raythena.domain.errors import ExitCode
from raythena.domain.taxonomy import EndCause
from raythena.payloads.latency import read_summary
from raythena.runtime.session_config import StopOrder
from raythena.validation import Standing, validate


@pytest.fixture(scope="module")
def pilot():
    return fetch_pilot()


@pytest.fixture(scope="module")
def nodes():
    """Two nodes with two cores each."""
    with SharedCluster(nodes=2, cores=2) as shared:
        yield shared


def validated(toy):
    """Every event is proven to be there once."""
    proof = validate(toy.task)
    assert (proof.standing, proof.findings) == (Standing.PROVEN, ())


def stories(toy):
    """What every pilot of a task left in the logs."""
    return [json.loads(path.read_text()) for path in sorted((toy.task / "logs").rglob("pilot-*/pilot.json"))]


@pytest.mark.timeout(600)
def test_a_job_of_pandas_merged_on_site(pilot, tmp_path, mark):
    """From HPCJobs.json to proven outputs; what the pilot is given is derived from PanDA's job."""
    task, scratch = tmp_path / "task", tmp_path / "scratch"
    scratch.mkdir()
    payload = pilot_payload(pilot, None, {"event_s": 0.05})
    del payload["options"]["job"]
    (tmp_path / "payload.yaml").write_text(yaml.safe_dump({"payload": payload, "merge": "root"}))
    words = ["run", write_panda_job(tmp_path, [100] * 4, 200), "--payload", tmp_path / "payload.yaml", "--taskdir", task]
    words += ["--nodes", "2", "--cores", "2", "--json", "--set", f"runtime.scratch_dir={scratch}"]
    surroundings = {**os.environ, MARK: mark, "RAYTHENA_LAUNCH_ON": "processes"}
    run = subprocess.run(
        [*RAYTHENA, *map(str, words)], env=surroundings, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    last = json.loads(run.stdout.splitlines()[-1])
    assert (run.returncode, last["result"], last["finished"], last["failed"]) == (ExitCode.OK, "complete", 400, 0), run.stderr
    proof = validate(task)
    assert (proof.standing, proof.findings) == (Standing.PROVEN, ())
    assert raythena_processes(mark) == []
    assert list(scratch.iterdir()) == []
    assert [read_summary(path.parent).first_range_s > 0 for path in (task / "logs").rglob("latency.json")] == [True, True]
    told = json.loads((task / "jobReport.json").read_text())["raythena"]["payloads"]
    assert (told["kinds"], told["lives"]) == (["pilot"], 2)
    assert min(told["starts"].values()) >= 2


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_whatever_the_payload_does(nodes, pilot, tmp_path):
    """Each goes wrong once: events that fail, workers and all of AthenaMP that die, outputs that are not what was said."""
    (tmp_path / "once").mkdir()
    faults = {"parse": [3], "seek": [7], "crash": [12], "truncated": [17], "duplicate": [20], "wrong_id": [22]}
    faults |= {"missing": [25], "die": [30], "die_late": [35], "two_files": [40], "exit_after": [45]}
    plan = {"event_s": 0.2, "once": str(tmp_path / "once"), **faults}
    toy = pilot_job(tmp_path, pilot, [60], 60, plan, report_grace_s=10)
    with nodes.session(toy, engine__max_attempts=5, payload__min_time_limit_s=20.0) as session:
        result = session.end(900.0)
    assert (result.outcome, result.exit_code) == ("complete", ExitCode.OK)
    assert sorted(toy.committed()) == list(range(60))
    validated(toy)
    assert {path.name.partition("-")[0] for path in (tmp_path / "once").iterdir()} == set(faults)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_whatever_is_killed(nodes, pilot, tmp_path):
    """kill -9 of a pilot, then of an agent while its pilot computes: nothing is lost, nothing is left."""
    toy = pilot_job(tmp_path, pilot, [120], 120, {"event_s": 0.4})
    with nodes.session(toy) as session:
        session.until_finished(10)
        pilots = [
            process
            for process in raythena_processes(nodes.mark)
            if "pilot.py" in process.command and "start.py" not in process.command
        ]
        pilots[0].kill()
        session.until_finished(30)
        agent = session.one("agent")
        below = subtree(nodes.mark, agent)
        assert any("pilot.py" in process.command for process in below)
        agent.kill()
        eventually(
            lambda: not {process.pid for process in below} & {one.pid for one in raythena_processes(nodes.mark)}, "all gone"
        )
        result = session.end(600.0)
    assert (result.outcome, result.exit_code) == ("complete", ExitCode.OK)
    assert sorted(toy.committed()) == list(range(120))
    validated(toy)
    toy.assert_tidy()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_drain_keeps_what_was_computed_and_a_second_session_does_the_rest(nodes, pilot, tmp_path):
    toy = pilot_job(tmp_path, pilot, [200], 200, {"event_s": 1.0}, over_delivery=3)
    with nodes.session(toy, runtime__drain_s=60.0) as session:
        session.until_finished(4)
        session.session.stop(StopOrder("the walltime is near", EndCause.ASKED))
        result = session.end(300.0)
    assert result.exit_code is ExitCode.STOPPED
    finished = len(toy.committed())
    assert 4 <= finished < 200
    assert sum(story["times"]["events"] for story in stories(toy)) == finished
    with nodes.session(toy, resume=True) as session:
        result = session.end(600.0)
    assert (result.outcome, result.exit_code) == ("complete", ExitCode.OK)
    assert sorted(toy.committed()) == list(range(200))
    validated(toy)
