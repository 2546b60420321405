"""The messenger against the double, with everything that can go wrong going wrong: every event is told once, none is lost."""

import json
from dataclasses import fields
from pathlib import Path

import pytest

from harvester_double import HarvesterDouble, PandaDouble, Races
from harvester_double.worker import Worker
from raythena.gateways.harvester.access_point import Torn, read_json_file

JOB = json.loads((Path(__file__).parents[3] / "fixtures/harvester/events-HPCJobs.json").read_text())["5750099001"]
LFNS = JOB["inFiles"].split(",")
GUIDS = JOB["GUID"].split(",")


def play(directory: Path, races: Races, seed: int, kills: float = 0.0) -> HarvesterDouble:
    """One job from its first range to its last report."""
    panda = PandaDouble(JOB, [(lfn, guid, 12) for lfn, guid in zip(LFNS[:3], GUIDS[:3], strict=True)])
    double = HarvesterDouble(directory / "point", panda, races, seed)
    double.submit(JOB)
    worker = Worker(directory / "point", double, seed, kills=kills)
    worker.run()
    double.worker_ended(0)
    assert panda.complaints == []
    twice = [event for event in panda.events if event.finished > 1]
    assert not twice
    # an event that failed is given out again, here or to another job, until PanDA gives it up
    assert all(event.attempt < 3 for event in panda.unfinished())
    assert all(event.state in ("ready", "given up") for event in panda.unfinished())
    return double


@pytest.mark.parametrize("race", [each.name for each in fields(Races)])
def test_one_race_at_a_time(tmp_path, race):
    for seed in range(3):
        play(tmp_path / str(seed), Races(**{race: True}), seed)


def test_without_any_race(tmp_path):
    double = play(tmp_path, Races(), 1)
    assert double.happened == {}


@pytest.mark.parametrize("seed", range(12))
def test_all_races_at_once(tmp_path, seed):
    play(tmp_path, Races.all(), seed)


@pytest.mark.parametrize("seed", range(12))
def test_all_races_and_a_worker_that_dies(tmp_path, seed):
    play(tmp_path, Races.all(), seed, kills=0.02)


@pytest.mark.parametrize("text", ["", '{"1": [', "\ufeff{", "[" * 100_000])
def test_what_is_not_whole_is_torn_whatever_it_is(tmp_path, text):
    path = tmp_path / "JobsEventRanges.json"
    path.write_text(text)
    with pytest.raises(Torn):
        read_json_file(path)
