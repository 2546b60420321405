"""All nodes are asked at once; one that is silent, mad or dead is named and delays nobody. The nodes here are processes."""

import asyncio
import os
import sys

import pytest

from raythena.domain.site_checks import Verdict, examine
from raythena.launch import site_survey
from raythena.launch.launcher import NodeCommand
from raythena.launch.node_probe import NONCE_FILE
from raythena.launch.site_survey import PROBE, SurveyOptions, survey


def ask(*specs: NodeCommand, **options):
    return asyncio.run(survey(specs, SurveyOptions(**options), os.environ))


def probe(node: str) -> NodeCommand:
    return NodeCommand(node, PROBE)


def probe_in(environment: str, node: str) -> NodeCommand:
    """A probe with something else in its environment."""
    return NodeCommand(node, ("env", environment, *PROBE))


def test_one_machine(tmp_path):
    facts = ask(probe("here"), shared=str(tmp_path))
    (node,) = facts.nodes
    assert (node.node, facts.unreachable, facts.links, facts.locks) == ("here", {}, (), ())
    assert node.import_s > 0
    before, after = facts.asked_at["here"]
    assert before <= node.clock_s <= after
    assert not [one for one in examine(facts) if one.verdict is Verdict.FAILURE]
    assert list(tmp_path.iterdir()) == []


def test_neighbours_try_locks_and_links(tmp_path):
    names = ("127.0.0.1", "localhost", "127.0.0.2")
    facts = ask(*map(probe, names), shared=str(tmp_path))
    assert [(one.holder, one.other) for one in facts.locks] == [("127.0.0.1", "localhost"), ("localhost", "127.0.0.2")]
    assert all(one.refused_while_held and one.granted_after_release and not one.problem for one in facts.locks)
    assert sorted((one.source, one.target) for one in facts.links) == sorted((a, b) for a in names for b in names if a != b)


def test_nodes_that_cannot_be_asked_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(site_survey, "_FACTS_LIMIT_S", 20.0)
    facts = ask(
        probe("good"),
        NodeCommand("missing", ("/no/such/program",)),
        NodeCommand("dead", ("sh", "-c", "echo srun: error: node is down; exit 3")),
        NodeCommand("mad", (sys.executable, "-c", "print('raythena-probe: {]'); input(); input()")),
        NodeCommand("talkative", ("sh", "-c", f"echo motd of the day; exec {' '.join(PROBE)}")),
        shared=str(tmp_path),
        thorough=False,
    )
    assert [one.node for one in facts.nodes] == ["good", "talkative"]
    assert "No such file" in facts.unreachable["missing"]
    assert "ended with 3" in facts.unreachable["dead"]
    assert "node is down" in facts.unreachable["dead"]
    assert facts.unreachable["mad"]
    assert {one.node for one in examine(facts) if one.check == "nodes answer"} == {"missing", "dead", "mad"}


def test_a_node_that_says_nothing_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(site_survey, "_FACTS_LIMIT_S", 0.5)
    monkeypatch.setattr(site_survey, "_END_LIMIT_S", 0.1)
    facts = ask(NodeCommand("asleep", ("sleep", "1000")), thorough=False)
    assert facts.nodes == ()
    assert "no answer" in facts.unreachable["asleep"]


def test_what_is_wrong_on_one_node_is_found_there(tmp_path):
    facts = ask(probe("a"), probe_in("RAY_REDIS_ADDRESS=elsewhere", "b"), shared=str(tmp_path), thorough=False)
    (found,) = [one for one in examine(facts) if one.check == "other Rays" and "RAY_REDIS_ADDRESS" in one.found]
    assert found.node == "b"


def test_a_shared_directory_that_refuses_is_told_at_once(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        ask(probe("here"), shared=str(tmp_path / "missing"))
    assert not (tmp_path / NONCE_FILE).exists()
