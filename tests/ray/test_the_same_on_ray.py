"""One test of each kind in `tests/jobs`, with Ray in place of processes; and what only Ray has: nodes that are lost."""

import signal
import sys
from pathlib import Path

import pytest

from job_kit import Command, eventually, make_job, raythena_processes, subtree

sys.path.insert(0, str(Path(__file__).parents[1] / "jobs"))

import test_command as command
import test_given_ranges as given_ranges
import test_harvester as harvester
import test_kills as kills
import test_limits as limits
import test_retries as retries
import test_root_outputs as root_outputs
import test_scans as scans
import test_transform_merges as transform_merges
import test_whole_jobs as whole_jobs

from raythena.domain.errors import ExitCode

undisturbed = scans.undisturbed


def test_every_event_is_in_its_place(cluster, tmp_path):
    whole_jobs.test_every_event_is_in_its_place(cluster, tmp_path, "uneven")


def test_a_payload_that_cannot_start_ends_the_job(cluster, tmp_path):
    whole_jobs.test_a_payload_that_cannot_start_ends_the_job(
        cluster, tmp_path, {"process": ["false"]}, "died before they were ready"
    )


@pytest.mark.parametrize("role", ["guard", "agent", "coordinator"])
def test_one_process_killed(cluster, tmp_path, role):
    kills.test_one_process_killed(cluster, tmp_path, role)


@pytest.mark.slow
def test_the_coordinator_killed_again_and_again(cluster, tmp_path):
    kills.test_the_coordinator_killed_again_and_again(cluster, tmp_path)


def test_the_coordinator_killed_before_it_has_begun(cluster, tmp_path):
    kills.test_the_coordinator_killed_before_it_has_begun(cluster, tmp_path)


def test_a_merge_killed(cluster, tmp_path):
    kills.test_a_merge_killed(cluster, tmp_path)


def test_a_node_that_was_given_up_comes_back(cluster, tmp_path):
    kills.test_a_node_that_was_given_up_comes_back(cluster, tmp_path)


def test_a_transform_that_fails_is_run_again(cluster, tmp_path):
    transform_merges.test_a_transform_that_fails_is_run_again(cluster, tmp_path)


def test_a_merger_that_says_which_outputs_are_bad(cluster, tmp_path):
    root_outputs.test_a_payload_of_which_no_output_is_any_good_is_given_up(cluster, tmp_path)


def test_ranges_given_and_everything_killed(cluster, tmp_path):
    given_ranges.test_every_range_is_reported_once_whatever_is_killed(cluster, tmp_path, ("coordinator", "agent"))


def test_outputs_whose_parts_are_gone_are_computed_anew(cluster, tmp_path):
    retries.test_outputs_whose_parts_are_gone_are_computed_anew(cluster, tmp_path)


def test_a_command_from_beginning_to_end(tmp_path, mark):
    command.test_from_beginning_to_end(tmp_path, mark)


def test_a_command_killed_and_resumed(tmp_path, mark):
    command.test_killed_and_resumed(tmp_path, mark)


def test_an_impatient_user(tmp_path, mark):
    command.test_an_impatient_user(tmp_path, mark)


def test_a_job_over_before_its_walltime(cluster, tmp_path):
    limits.test_a_job_is_over_before_its_walltime_and_resumed_later(cluster, tmp_path)


def test_a_job_of_harvester_through_a_power_cut(tmp_path, mark):
    harvester.test_on_site_merging_through_a_power_cut(tmp_path, mark)


def test_a_scan_whose_node_is_killed(undisturbed, tmp_path, mark):
    scans.test_whatever_is_killed_the_same_points_are_proposed(undisturbed, tmp_path, mark, "raylet")


def test_a_node_lost_with_everything_on_it(tmp_path, mark):
    """Its ranges are computed by the others, soon; what it had reported counts."""
    toy = make_job(tmp_path, [300], 100, {"wall_s": 0.02, "as_file": False})
    command = Command(mark, toy)
    command.until_finished(40)
    everything = {raylet: subtree(mark, raylet) for raylet in command.find("raylet")}
    coordinator = command.find("coordinator")[0]
    (lost,) = (below for below in everything.values() if coordinator not in below)
    assert len(lost) > 4
    for process in lost:
        process.kill()
    command.until(lambda progress: any(node["state"] == "lost" for node in progress["nodes"]), "the node given up")
    assert command.wait() == ExitCode.OK, command.errors
    toy.assert_complete(scratch_lost=True)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_the_cluster_starts(tmp_path, mark, number, status):
    toy = make_job(tmp_path, [10], 10, {"wall_s": 0.02, "as_file": False})
    command = Command(mark, toy)
    eventually(lambda: command.find("head"), "the first process of the cluster")
    command.send(number)
    assert command.wait() in (status, -number)
    eventually(lambda: not raythena_processes(mark), "no process left")
    assert "Traceback" not in command.errors
