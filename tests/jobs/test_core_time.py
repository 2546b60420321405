"""Every core-second that was allocated has a name, in the job report and in what commands show."""

from job_kit import make_job
from raythena.domain.core_time import Share, account
from raythena.domain.errors import ExitCode
from raythena.runtime.core_time_file import kept_by_life, read_sessions
from raythena.storage.taskdir import TaskDirectory

ENOUGH = 0.995


def test_core_time_adds_up_with_events_that_fail(cluster, tmp_path):
    toy = make_job(tmp_path, [60, 40], 50, {"cpu_s": 0.03, "fail": ["f1.evnt-3"], "crash": ["f2.evnt-1"]})
    assert cluster.run(toy, engine__max_attempts=2).exit_code is ExitCode.INCOMPLETE
    told = toy.report()["raythena"]["accounting"]
    assert told["accounted"] >= ENOUGH, told
    assert set(told["thrown_away"]) >= {"crash", "reported"}
    assert told["core_s"][Share.KEPT] > 98 * 0.03
    assert abs(sum(told["core_s"].values()) - told["allocated_core_s"]) < 0.005 * told["allocated_core_s"]
    sessions = read_sessions(TaskDirectory(toy.task))
    assert [node["cores"] for node in told["nodes"]] == [life.cores for life in sessions[0].lives if life.node.endswith(".1")]
    again = account(sessions, kept_by_life(toy.summary()))
    assert again.core_s == {name: value for name, value in again.core_s.items() if value > 0}, "nothing is less than nothing"
