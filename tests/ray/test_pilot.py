"""The real pilot, on real nodes, with stand-ins for what it runs: to the end of a job, and through what goes wrong."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from ray_kit import RAYTHENA, SharedCluster

from raythena.domain.errors import ExitCode

sys.path.insert(0, str(Path(__file__).parents[1] / "stand_ins" / "python"))

from pilot_kit import fetch_pilot, pilot_job

LIMIT_S = 250.0


@pytest.fixture(scope="module")
def pilot():
    return fetch_pilot()


@pytest.fixture(scope="module")
def nodes():
    """Two nodes with two cores each."""
    with SharedCluster(nodes=2, cores=2) as shared:
        yield shared


def validated(toy):
    """What `raythena validate` says of a task."""
    run = subprocess.run([*RAYTHENA, "validate", str(toy.task), "--json"], capture_output=True, text=True, check=False)
    assert run.returncode == ExitCode.OK, run.stdout + run.stderr
    return json.loads(run.stdout)


def stories(toy):
    """What every pilot of a task left in the logs."""
    return [json.loads(path.read_text()) for path in sorted((toy.task / "logs").rglob("pilot-*/pilot.json"))]


def test_a_job_to_its_end(nodes, pilot, tmp_path):
    toy = pilot_job(tmp_path, pilot, [200, 200], 200, {"event_s": 0.1, "spread": 0.5})
    with nodes.session(toy) as session:
        result = session.end(LIMIT_S)
    assert (result.outcome, result.exit_code) == ("complete", ExitCode.OK)
    assert sorted(toy.committed()) == list(range(400))
    validated(toy)
    toy.assert_tidy()
    told = stories(toy)
    assert sum(story["job"]["n_reported"] for story in told) >= 400
    print(json.dumps(told))
