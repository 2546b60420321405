"""What a pilot leaves behind of its job: the payload's own report."""

import json

import pytest

from raythena.payloads.pilot.panda_server import HoldTimes, PandaServer
from raythena.payloads.pilot.range_queue import RangeQueue
from raythena.payloads.pilot.running import RunningPilot

SENT, LYING = {"exitCode": 0, "from": "the pilot"}, {"exitCode": 0, "from": "the disk"}


@pytest.fixture
def pilot(tmp_path):
    panda = PandaServer({"PandaID": 4711}, RangeQueue(1), 1, HoldTimes(gather_s=0.3, busy_s=5.0, dry_s=1.0, idle_s=90.0))
    return RunningPilot(1, tmp_path / "run", panda, log_dir=tmp_path, on_call=lambda _: None, on_end=lambda: None)


def lay(pilot, text):
    place = pilot.directory / "PanDA_Pilot-4711"
    place.mkdir(parents=True)
    (place / "jobReport.json").write_text(text)


def test_what_the_pilot_has_sent_counts(pilot):
    lay(pilot, json.dumps(LYING))
    pilot.panda.record.metadata = json.dumps(SENT)
    assert pilot.job_report() == SENT


@pytest.mark.parametrize("sent", ["", "{", "[" * 100_000])
def test_where_it_has_sent_none_what_lies_there_does(pilot, sent):
    pilot.panda.record.metadata = sent
    assert pilot.job_report() is None
    lay(pilot, json.dumps(LYING))
    assert pilot.job_report() == LYING


def test_a_torn_report_is_none(pilot):
    lay(pilot, '{"exitCode": ')
    assert pilot.job_report() is None
