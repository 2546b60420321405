"""Nothing depends on the last word: wherever a worker with on-site merging ends, PanDA takes no input for done that is not.

Harvester calls a batch job finished that has reached its walltime or was preempted; with `allowNoOutput` PanDA then takes every
input for done that no output report lists. So what is true if the worker is killed now must stand in the access point before the
first event, and at every step after.
"""

import logging
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3]))

from harvester_double.on_site import OnSite, Plan, every_step, killed_and_started_again
from raythena.gateways.harvester.gateway import HarvesterGateway
from raythena.gateways.harvester.harvester_config import MapType
from raythena.gateways.harvester.worker import HarvesterWorker

MANY = MapType.ONE_TO_MANY


@pytest.fixture(autouse=True)
def quiet():
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def spoken(found):
    """Ends after the worker's first word."""
    return [each for each in found if not each.silent]


def wrong(found):
    return [each for each in spoken(found) if each.wrong]


@pytest.mark.parametrize(
    "plan",
    [
        Plan(),
        Plan(merged=20),
        Plan(merged=0),
        Plan(allowed="log", events_per_output=5, merged=15),
        Plan(allowed="nothing", merged=20),
        Plan(MANY, "nothing"),
        Plan(MANY, "nothing", merged=20),
    ],
    ids=str,
)
def test_no_end_takes_an_input_for_done_that_is_not(tmp_path, plan):
    found, site = every_step(tmp_path, plan)
    assert len(found) > 150
    assert wrong(found) == []
    # before its first word a worker changes nothing else
    assert {each.at.partition(" before ")[2] for each in found if each.silent} <= {
        each.at.partition(" before ")[2] for each in found[:10]
    }
    assert site.exit_code == (0 if plan.merged == 40 or (plan.merged and plan.map_type is not MANY) else 5)


@pytest.mark.parametrize("plan", [Plan(), Plan(merged=0), Plan(allowed="log", events_per_output=5, merged=15)], ids=str)
@pytest.mark.parametrize("kill_at", [4, 17, 30, 36, 45])
def test_nor_does_any_end_of_a_second_life(tmp_path, plan, kill_at):
    more, found = killed_and_started_again(tmp_path, plan, kill_at)
    assert wrong(found) == []
    assert found or not more


def test_the_first_word_comes_before_everything_else(tmp_path):
    found, _ = every_step(tmp_path, Plan(), ("TIMEOUT",))
    silent = [each.at for each in found if each.silent]
    assert len(silent) == 2, silent
    assert all("worker_attributes.json" in at for at in silent)


def test_an_orderly_end_before_the_first_output(tmp_path):
    """Stopped at its walltime with nothing done: exit code 5, which Slurm's TIMEOUT hides."""
    site = OnSite(tmp_path, Plan(merged=0))
    assert site.live() == 5
    verdict = site.ended("TIMEOUT")
    assert (verdict.status, verdict.lost) == ("finished", ())
    assert site.panda.skipped == site.document["inFiles"].split(",")
    assert site.panda.attributes["pilotErrorCode"] == 1201


# ---- the same questions find what goes wrong


def test_a_worker_that_says_it_only_in_the_end_loses_everything(tmp_path, monkeypatch):
    """The worst case there was: killed before the last word, every event of the job is lost."""
    monkeypatch.setattr(HarvesterWorker, "_nothing_is_done_yet", lambda *_: None)
    monkeypatch.setattr(HarvesterWorker, "_say_what_is_done", lambda *_: None)
    monkeypatch.setattr("raythena.gateways.harvester.documents.output_report", lambda *_: "{}")

    async def say_nothing(*_):
        return None

    monkeypatch.setattr(HarvesterGateway, "_say_what_is_done", say_nothing)
    found, _ = every_step(tmp_path, Plan(), ("TIMEOUT",))
    assert {len(each.lost) for each in found} >= {4}


def test_a_report_that_comes_before_the_outputs_can_be_found_is_noticed(tmp_path, monkeypatch):
    from raythena.gateways.harvester import gateway as module

    def wrong_order(self, state, report):
        self._point.write_attributes({"xml": report})
        module.write_task_state(Path(self._options.state_file), state)

    monkeypatch.setattr(HarvesterGateway, "_write_what_is_done", wrong_order)
    found, _ = every_step(tmp_path, Plan(allowed="log"), ("TIMEOUT",))
    assert any("never staged" in text for each in found for text in each.complaints)


def test_a_report_that_is_not_kept_current_is_noticed(tmp_path, monkeypatch):
    """Every output as done from the beginning."""
    monkeypatch.setattr("raythena.gateways.harvester.deliverables.Deliverables.skipped", lambda _: [])
    found, _ = every_step(tmp_path, Plan(allowed="log"), ("TIMEOUT",))
    assert any(each.lost for each in found)


# ---- where it cannot be said


def test_with_one_to_many_a_job_that_may_lose_events_is_refused(tmp_path):
    found, site = every_step(tmp_path, Plan(MANY), ())
    assert site.exit_code == 3
    assert (found[-1].status, found[-1].lost) == ("failed", ())
    assert site.merged == []


def test_the_refusal_says_why_and_what_can_be_done(tmp_path):
    site = OnSite(tmp_path, Plan(MANY))
    site.live()
    told = (tmp_path / "point" / "worker_attributes.json").read_text()
    for words in ("allowNoOutput", "OneToMany", "before its last word", "--allow-event-loss"):
        assert words in told


def test_taken_all_the_same_it_loses_what_it_was_said_to_lose(tmp_path):
    found, site = every_step(tmp_path, Plan(MANY, allow_event_loss=True), ("TIMEOUT",))
    assert site.exit_code == 0
    assert {len(each.lost) for each in found} == {0, 2, 4}
