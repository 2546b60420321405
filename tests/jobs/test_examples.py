"""The examples, run as their files say, by the real command."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import uproot

from job_kit import RAYTHENA
from needed_programs import compiler

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.slow
def test_a_chain_of_two_jobs_with_acts(tmp_path):
    """Collisions are simulated, merged, reconstructed and merged again; both jobs are proved to have every event once."""
    pytest.importorskip("acts", reason="needs the extra 'demo'")
    place = tmp_path / "acts"
    shutil.copytree(EXAMPLES / "acts", place, ignore=shutil.ignore_patterns("__pycache__", "*.root", "*.raythena"))
    run(place, sys.executable, "generate.py", "EVNT.000001.root", "EVNT.000002.root")
    for name in ("simulate", "reconstruct"):
        raythena(place, "run", f"{name}.yaml", "--nodes", "2", "--cores", "1")
        verdict = json.loads(raythena(place, "validate", f"{name}.raythena", "--json", "--strict"))
        assert verdict["standing"] == "proven"
    with uproot.open(place / "reconstruct.raythena" / "outputs" / "TRACKS.000001.root") as file:
        assert file["TRACKS"]["EventNumber"].array().tolist() == list(range(1, 51))
        assert len(file["TRACKS"]["track_d0"].array()[0]) > 5


@pytest.mark.slow
def test_a_generator_without_inputs(tmp_path):
    """100,000 decays of the Z: every number once and in order, every seed another."""
    pytest.importorskip("pythia8mc", reason="needs the extra 'demo'")
    place = tmp_path / "pythia"
    shutil.copytree(EXAMPLES / "pythia", place, ignore=shutil.ignore_patterns("__pycache__", "*.raythena"))
    raythena(place, "run", "generate.yaml", "--nodes", "1", "--cores", "2")
    verdict = json.loads(raythena(place, "validate", "z-decays.raythena", "--json", "--strict"))
    assert (verdict["standing"], verdict["proven"]) == ("proven", 100_000)
    outputs = sorted((place / "z-decays.raythena" / "outputs").iterdir())
    events = [json.loads(line) for output in outputs for line in output.read_text().splitlines()]
    assert [event["EventNumber"] for event in events] == list(range(1, 100_001))
    assert len({event["seed"] for event in events}) == 100_000


@pytest.mark.slow
def test_an_event_loop_with_threads(tmp_path):
    """One process of four threads, ranges of twenty events; four places on two cores, which sleeping events do not mind."""
    place = tmp_path / "cpp"
    shutil.copytree(EXAMPLES / "cpp", place, ignore=shutil.ignore_patterns("event_loop", "threads", "*.raythena"))
    include = EXAMPLES.parent / "src" / "raythena" / "payloads" / "include"
    run(place, *compiler("c++"), "-std=c++17", "-O2", f"-I{include}", "threads.cpp", "-o", "threads", "-pthread")
    raythena(place, "run", "threads.yaml", "--nodes", "1", "--cores", "4")
    verdict = json.loads(raythena(place, "validate", "threads.raythena", "--json", "--strict"))
    assert (verdict["standing"], verdict["proven"]) == ("proven", 4000)


def raythena(place, *arguments):
    return run(place, *RAYTHENA, *arguments)


def run(place, *command):
    done = subprocess.run(command, cwd=place, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
