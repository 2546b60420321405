"""When a pilot is ended: by rules, with a pilot that has no process."""

from types import SimpleNamespace

import pytest

from raythena.domain.ranges import EventRange
from raythena.payloads.pilot.panda_server import HoldTimes, PandaServer
from raythena.payloads.pilot.pilot_end import STRAGGLERS_S, Surroundings, hangs, why_end
from raythena.payloads.pilot.pilot_options import PilotOptions
from raythena.payloads.pilot.range_queue import RangeQueue
from raythena.payloads.pilot.running import RunningPilot
from raythena.runtime.payload_interface import LeasedRange

OPTIONS = PilotOptions(final_update_s=20.0, silence_s=1800.0)


@pytest.fixture
def pilot(tmp_path):
    panda = PandaServer({"PandaID": 4711}, RangeQueue(1), 1, HoldTimes())
    clock = SimpleNamespace(monotonic_s=lambda: 100.0, wall_s=lambda: 1e9)
    pilot = RunningPilot(1, tmp_path, panda, log_dir=tmp_path, on_call=print, on_end=print, clock=clock)
    pilot.panda.record.first_ranges_at = 110.0
    return pilot


def reason(pilot, now=200.0, owed=0, drain_by=None):
    return why_end(pilot, OPTIONS, Surroundings(now, owed, drain_by))


def test_one_that_works_goes_on(pilot):
    assert reason(pilot, owed=3) == ""
    assert reason(pilot) == ""


def test_one_that_has_ended_has_ended(pilot):
    pilot.status = 3
    assert reason(pilot, owed=3) == "it ended with exit code 3"


def test_a_final_update_is_its_verdict(pilot):
    pilot.panda.record.final_at, pilot.panda.record.state = 190.0, "failed"
    pilot.panda.record.attributes["pilotErrorCode"] = 1305
    assert reason(pilot) == "its job is failed; pilotErrorCode 1305"


def test_what_has_reported_everything_and_has_no_job_report_is_not_waited_for(pilot):
    pilot.panda.record.no_more_at = 180.0
    pilot.over_seen_at = 190.0
    assert reason(pilot) == "it has reported everything"
    (pilot.directory / "PanDA_Pilot-1").mkdir()
    (pilot.directory / "PanDA_Pilot-1" / "jobReport.json").write_text("{}")
    assert reason(pilot) == ""


def test_the_final_update_is_waited_for_so_long(pilot):
    pilot.panda.record.no_more_at = 180.0
    assert reason(pilot, 200.0) == ""
    assert reason(pilot, 219.0) == ""
    assert reason(pilot, 221.0) == "it owes nothing and sends no final update"


def test_the_wait_begins_anew_when_something_is_owed(pilot):
    pilot.panda.record.no_more_at = 180.0
    assert reason(pilot, 200.0) == ""
    assert reason(pilot, 210.0, owed=1) == ""
    assert reason(pilot, 221.0) == ""


@pytest.mark.parametrize(("owed", "drain_by", "ends"), [(1, 300.0, False), (0, 300.0, True), (1, 200.0, True)])
def test_a_drained_node_waits_for_results_until_its_deadline(pilot, owed, drain_by, ends):
    assert (reason(pilot, 200.0, owed, drain_by) == "the node is drained") == ends


def test_silence_for_long_is_an_end(pilot):
    assert reason(pilot, 1900.0, owed=1) == ""
    assert "used no CPU for 1800 s" in reason(pilot, 1901.0, owed=1)


def test_a_payload_that_died_before_it_asked_is_an_end_at_once(pilot):
    pilot.panda.record.first_ranges_at = None
    pilot.log.payload_status = 1
    assert reason(pilot, owed=0) == "its payload exited with status 1 and said nothing"


def test_a_job_that_ended_early_gets_a_moment_for_its_last_requests(pilot):
    pilot.over_seen_at = 200.0
    pilot.log.payload_status = 2
    assert reason(pilot, 200.0 + STRAGGLERS_S, owed=2) == ""
    assert reason(pilot, 201.0 + STRAGGLERS_S, owed=2).startswith("its job ended early: its payload exited with status 2")


def test_a_range_hangs_once_it_is_on_a_core_for_too_long_and_nothing_is_known_of_it(pilot):
    queue = RangeQueue(1)
    queue.add([LeasedRange(1, EventRange("r", "lfn", "/pfn", "guid", 1, 1))])
    (in_flight,) = queue.give(1, 100.0)
    assert not hangs(pilot, in_flight, 50.0, 500.0)
    queue.begin(110.0)
    assert not hangs(pilot, in_flight, 50.0, 160.0)
    assert hangs(pilot, in_flight, 50.0, 161.0)
    pilot.log.facts[in_flight.token] = "finished"
    assert not hangs(pilot, in_flight, 50.0, 161.0)


def test_one_that_says_it_will_never_ask_is_ended_unless_it_has_asked(pilot):
    pilot.log.refusal = "ModuleNotFoundError: No module named 'yampl'"
    assert reason(pilot, owed=1) == ""
    pilot.panda.record.first_ranges_at = None
    assert reason(pilot) == "it says: ModuleNotFoundError: No module named 'yampl'"


def test_a_job_that_ended_early_is_explained_by_the_pilot_where_its_payload_ended_well(pilot):
    pilot.over_seen_at = 200.0
    pilot.log.complaint = "Failed to handle out message"
    assert reason(pilot, 201.0 + STRAGGLERS_S, owed=2) == "its job ended early: Failed to handle out message"
