"""`kill -9` of one process at a time, in the middle of a job: it ends by itself, with nothing lost, repeated or left behind."""

import signal
import threading
from pathlib import Path

import pytest

from job_kit import ToyJob, attempts, make_job
from raythena.domain.errors import ExitCode
from raythena.domain.node_name import NodeName
from raythena.engine.exchange import ExchangeConfig

EVENTS = {"wall_s": 0.02, "as_file": False}
SLOW_MERGE = """
import shutil, time

def merge(inputs, output, context):
    time.sleep(1.5)
    with output.open("wb") as target:
        for path in inputs:
            target.write(path.read_bytes())
"""


def toy_job(directory: Path) -> ToyJob:
    return make_job(directory, [150, 50, 100], 100, EVENTS)


@pytest.mark.parametrize("role", ["worker", "zygote", "guard", "agent", "coordinator"])
def test_one_process_killed(cluster, tmp_path, role):
    toy = toy_job(tmp_path)
    with cluster.session(toy) as session:
        session.until_finished(20)
        victim = session.one(role)
        before = len(toy.committed())
        victim.kill()
        session.until(lambda progress: progress.finished > before, "events committed after the kill")
        result = session.end()
        assert result.exit_code is ExitCode.OK
    toy.assert_complete()
    charged = attempts(toy)
    assert len(charged) <= 2, "a kill costs the events on a core, and no other"
    if role == "coordinator":
        assert len(toy.summary().sessions) == 2, "the coordinator did not come back by itself"
        assert sum(1 for session in toy.committed().values() if session == 1) >= before
        names = {NodeName.parse(node.node) for node in toy.summary().nodes}
        agents = {name for name in names if name.incarnation}  # a group that the next coordinator found itself has only a host
        assert len(agents) == 2, f"agents were not found again but replaced: {agents}"
        assert {name.host for name in names} == {name.host for name in agents}


@pytest.mark.slow
def test_the_coordinator_killed_again_and_again(cluster, tmp_path):
    toy = make_job(tmp_path, [500], 250, EVENTS)
    with cluster.session(toy) as session:
        for goal in (10, 60, 110):
            session.until_finished(goal)
            session.one("coordinator").kill()
        assert session.end().exit_code is ExitCode.OK
    toy.assert_complete()
    assert len(toy.summary().sessions) == 4


def test_coordinator_and_agents_killed_together(cluster, tmp_path):
    """The new agents of the new coordinator take nobody's name: groups of the dead are as good as any."""
    toy = toy_job(tmp_path)
    with cluster.session(toy) as session:
        session.until_finished(40)
        victims = [session.one("coordinator"), *session.find("agent")]
        assert len(victims) == 3
        for victim in victims:
            victim.kill()
        before = len(toy.committed())
        result = session.end()
        assert result.exit_code is ExitCode.OK, result.reason
    toy.assert_complete()
    assert sum(1 for session in toy.committed().values() if session == 1) >= before
    assert len({node.node for node in toy.summary().nodes}) == 4


def test_the_coordinator_killed_while_the_job_is_being_stopped(cluster, tmp_path):
    """The one that follows is told again to stop."""
    toy = make_job(tmp_path, [400], 200, EVENTS)
    with cluster.session(toy) as session:
        session.until_finished(20)
        victim = session.one("coordinator")
        session.session.stop("enough")
        victim.kill()
        result = session.end()
        assert result.exit_code is ExitCode.STOPPED
        assert "enough" in result.reason
    assert 20 <= len(toy.committed()) < 400
    assert cluster.run(toy, resume=True).exit_code is ExitCode.OK
    toy.assert_complete()


def test_the_coordinator_killed_before_it_has_begun(cluster, tmp_path):
    toy = make_job(tmp_path, [40], 20, EVENTS)
    session = cluster.session(toy)

    def kill_the_first() -> None:
        session.one("coordinator").kill()

    killer = threading.Thread(target=kill_the_first)
    killer.start()
    with session:
        killer.join()
        assert session.end().exit_code is ExitCode.OK
    toy.assert_complete()


def slow_merge_job(directory: Path) -> ToyJob:
    (directory / "slow_merge.py").write_text(SLOW_MERGE)
    return make_job(directory, [60], 30, EVENTS, merge={"python": "slow_merge:merge", "path": ["."]})


def test_a_merge_killed(cluster, tmp_path):
    toy = slow_merge_job(tmp_path)
    with cluster.session(toy) as session:
        session.one("merge").kill()
        assert session.end().exit_code is ExitCode.OK
        assert "merging OUT" in session.log()
    toy.assert_complete()
    assert attempts(toy) == {}


def test_the_coordinator_killed_while_outputs_are_merged(cluster, tmp_path):
    """The merge goes on without it; what it wrote is nobody's, and is swept away."""
    toy = slow_merge_job(tmp_path)
    with cluster.session(toy) as session:
        session.one("merge")
        session.one("coordinator").kill()
        assert session.end().exit_code is ExitCode.OK
    toy.assert_complete()


def test_a_node_that_was_given_up_comes_back(cluster, tmp_path):
    """Its results come too late and are refused; its work goes on."""
    toy = toy_job(tmp_path)
    session = cluster.session(toy)
    session.change(node_exchange=ExchangeConfig(node_timeout_s=1.5))
    with session:
        session.until(lambda progress: len(progress.nodes) == 2 and progress.finished >= 10, "both nodes at work")
        frozen = session.one("agent")
        frozen.kill(signal.SIGSTOP)
        try:
            session.until(lambda progress: any(node.state == "lost" for node in progress.nodes), "the silent node given up")
        finally:
            frozen.kill(signal.SIGCONT)
        assert session.end().exit_code is ExitCode.OK
    toy.assert_complete()


def test_agents_frozen_for_good_are_replaced_on_their_nodes(cluster, tmp_path):
    toy = toy_job(tmp_path)
    session = cluster.session(toy)
    session.change(node_exchange=ExchangeConfig(node_timeout_s=2.0), frozen_agent_s=3.0)
    with session:
        session.until(lambda progress: len(progress.nodes) == 2 and progress.finished >= 10, "both nodes at work")
        frozen = session.find("agent")
        for agent in frozen:
            agent.kill(signal.SIGSTOP)
        try:
            assert session.end().exit_code is ExitCode.OK
        finally:
            for agent in frozen:
                agent.kill()
        assert session.log().count("is frozen: killing it") >= 2
    toy.assert_complete()
