"""`raythena harvest` in an access point: real processes, real ROOT files, a Harvester that does what the real one does."""

import signal
import tarfile
import time
from dataclasses import replace

from harvester_kit import LOG, OUTPUTS, RACES, Harvest, Site, hits

from job_kit import raythena_processes

MANY = 60
"""Events of an input: more than a worker has at a time when they are as short as here."""


def drain(command, site):
    """The batch system's signal. The event that is held may end, and nothing is begun any more.

    A node learns of the signal when it reports next, and then gives back what no worker has.
    """
    command.send(signal.SIGTERM)
    command.until(lambda progress: progress["phase"] == "draining", "the job drains")
    command.until(lambda progress: progress["ready"] > 0, "a node knows")
    site.hold.unlink()


def coordinator_logs(site):
    """Those in the log archive PanDA has."""
    with tarfile.open(site.panda.staged[LOG]["path"]) as archive:
        return [name for name in archive.getnames() if name.endswith("coordinator.log")]


def assert_merged(site):
    """Every event of every input is in the output it belongs in, and PanDA has all of them."""
    assert site.panda.complaints == []
    assert site.panda.status == "finished"
    assert sorted(site.panda.registered) == [*OUTPUTS, LOG]
    assert site.panda.skipped == []
    for number, lfn in enumerate(OUTPUTS):
        assert hits(site.panda.staged[lfn]["path"]) == site.expected(range(2 * number, 2 * number + 2))
    assert "pilotErrorCode" not in site.panda.attributes
    assert site.panda.metadata["exitCode"] == 0


def test_on_site_merging_through_a_power_cut(tmp_path, mark):
    """Everything dies with half of the outputs made; the same worker, started again, does the other half."""
    with Site(tmp_path, "merge", 10, seed=2) as site:
        first = Harvest(mark, site)
        first.until(lambda progress: progress["outputs_merged"] == 1, "an output merged")
        first.kill_everything()
        site.hold.unlink()
        again = Harvest(mark, site)
        assert again.wait() == 0, again.errors
        site.ended(0)
    assert_merged(site)
    assert again.progress()["resumed"] >= 20
    assert site.panda.attributes["nEvents"] == 40
    assert len(list((site.task_directory() / "logs").rglob("coordinator.log"))) == 2
    if not site.double.has_lost(site.panda.staged[LOG]["path"]):
        assert len(coordinator_logs(site)) == 2


def test_sigterm_leaves_the_rest_to_another_job(tmp_path, mark):
    """What is done is handed over within the grace time; the next job of the task gets the other inputs, and other outputs."""
    with Site(tmp_path, "merge", MANY, seed=3) as site:
        command = Harvest(mark, site, "--grace", "120")
        command.until(lambda progress: progress["outputs_merged"] == 1, "an output merged")
        drain(command, site)
        assert command.wait() == 0, command.errors
        site.ended(0)
    assert site.panda.complaints == []
    assert site.panda.status == "finished"
    assert sorted(site.panda.registered) == [OUTPUTS[0], LOG]
    assert site.panda.skipped == site.document["inFiles"].split(",")[2:]
    assert hits(site.panda.staged[OUTPUTS[0]]["path"]) == site.expected(range(2))
    assert raythena_processes(mark) == []

    with site.next_job() as following:
        command = Harvest(mark, following)
        assert command.wait() == 0, command.errors
        following.ended(0)
    assert following.panda.complaints == []
    (output,) = following.panda.document["outFiles"].split(",")[:1]
    assert sorted(following.panda.registered) == sorted(following.panda.document["outFiles"].split(","))
    assert hits(following.panda.staged[output]["path"]) == site.expected(range(2, 4))


def test_a_kill_at_the_walltime_loses_nothing(tmp_path, mark):
    """Slurm's kill comes a moment after its warning, and Harvester calls the job finished."""
    with Site(tmp_path, "merge", 10, seed=6) as site:
        command = Harvest(mark, site)
        command.until(lambda progress: progress["outputs_merged"] == 1, "an output merged")
        command.send(signal.SIGTERM)
        time.sleep(0.2)
        command.kill_everything()
        site.ended(137, "TIMEOUT")
    # nobody has told of a log: PanDA fails the job, and gives all of its inputs away
    assert (site.panda.status, site.panda.inputs_done) == ("failed", [])


def test_a_kill_before_the_first_output_loses_nothing(tmp_path, mark):
    with Site(tmp_path, "merge", 10, seed=7) as site:
        command = Harvest(mark, site)
        command.until(lambda progress: progress["stored"] >= 1, "an event stored")
        command.kill_everything()
        site.ended(137, "PREEMPTED")
    assert (site.panda.status, site.panda.inputs_done) == ("failed", [])


def test_ranges_from_panda_through_a_power_cut(tmp_path, mark):
    """Every event PanDA has handed out comes back once, as a file of its own, whatever Harvester and the power do."""
    with Site(tmp_path, "events", 8, seed=4) as site:
        first = Harvest(mark, site)
        first.until(lambda progress: progress["stored"] + progress["merged"] >= 10, "some events stored")
        first.kill_everything()
        site.hold.unlink()
        again = Harvest(mark, site)
        assert again.wait() == 0, again.errors
        site.ended(0)
    assert site.panda.complaints == []
    assert [event.finished for event in site.panda.events] == [1] * 32
    for event in site.panda.events:
        assert hits(site.output_of(event)) == [site.number(event)]
    assert site.panda.status == "finished"
    assert "pilotErrorCode" not in site.panda.attributes
    assert len(site.panda.staged) == 33


def test_ranges_from_panda_until_sigterm(tmp_path, mark):
    """What is finished is told within the grace time, then the error, then the exit code.

    Reports Harvester loses are told again at the end of a job, but not when there is no time: here it loses none.
    """
    with Site(tmp_path, "events", MANY, seed=5, races=replace(RACES, lost_reports=False)) as site:
        command = Harvest(mark, site, "--outputs", "archives", "--grace", "120")
        command.until(lambda progress: progress["stored"] + progress["merged"] >= 10, "some events stored")
        drain(command, site)
        code = command.wait()
        site.ended(code)
    assert code == 5, command.errors
    assert site.panda.complaints == []
    finished = [event for event in site.panda.events if event.finished]
    assert len(finished) >= 10
    for event in finished:
        assert event.path.endswith(".zip")
        assert hits(site.output_of(event)) == [site.number(event)]
    assert (site.panda.status, site.panda.attributes["pilotErrorCode"]) == ("failed", 1201)
    assert site.panda.attributes["nEvents"] >= len(finished)
    assert len(coordinator_logs(site)) == 1
