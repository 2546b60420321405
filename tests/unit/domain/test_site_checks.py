"""Each fault of a site is named by the check that is for it, on the node that has it, and a sound site has none."""

import ast
import inspect
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from raythena.domain import site_checks
from raythena.domain.site_checks import CHECKS, Finding, Verdict, examine, worst
from raythena.domain.site_facts import Address, BatchFacts, DirectoryFacts, JobTrial, Link, LockTrial, NodeFacts, SiteFacts

NOW = 1_800_000_000.0
PAGE = Path(__file__).parents[3] / "docs" / "sites.md"
SHARED = DirectoryFacts(path="/lustre/task", file_system="lustre", mount_options="rw,flock", free_bytes=10**13, syncs_per_s=150.0)
LOCAL = DirectoryFacts(path="/local", file_system="xfs", mount_options="rw", free_bytes=10**12, syncs_per_s=900.0)


def node(name: str, number: int, **changes: Any) -> NodeFacts:
    sound = NodeFacts(
        node=name,
        versions={"python": "3.11.7", "ray": "2.60.0", "kernel": "6.1"},
        clock_s=NOW + 0.01,
        cores_there=128,
        cores_usable=128,
        max_processes=500_000,
        max_open_files=65_536,
        pids_max=-1,
        processes_now=40,
        memory_bytes=512 * 10**9,
        addresses=(Address(interface="hsn0", address=f"10.0.0.{number}"),),
        chosen_address=f"10.0.0.{number}",
        socket_directory="/tmp/rt-00000000/ray",
        sockets=DirectoryFacts(path="/tmp", file_system="xfs", free_bytes=10**10),
        scratch=LOCAL,
        shared=SHARED,
        import_s=2.0,
    )
    return replace(sound, **changes)


def site(*changes_of_b: dict[str, Any], **more: Any) -> SiteFacts:
    """Three nodes; the second with these changes."""
    changes = {key: value for one in changes_of_b for key, value in one.items()}
    nodes = (node("a", 1), node("b", 2, **changes), node("c", 3))
    given: dict[str, Any] = {
        "nodes": nodes,
        "asked_at": {one.node: (NOW, NOW + 0.02) for one in nodes},
        "links": tuple(
            Link(source=one, target=other, address=f"10.0.0.{i}")
            for one in "abc"
            for i, other in enumerate("abc", 1)
            if one != other
        ),
        "locks": (LockTrial(holder="a", other="b", refused_while_held=True, granted_after_release=True),),
        "batch": BatchFacts(
            system="slurm", partition="main", max_nodes=8, max_time_s=7200.0, wanted_nodes=3, wanted_time_s=3600.0
        ),
        "job": JobTrial(events=30, wall_s=4.0, events_by_node={"a": 10, "b": 10, "c": 10}),
    }
    return SiteFacts(**{**given, **more})


def complaints(facts: SiteFacts) -> list[Finding]:
    return [one for one in examine(facts) if one.verdict in (Verdict.WARNING, Verdict.FAILURE)]


def test_a_sound_site_has_one_row_for_each_check_and_no_complaint():
    findings = examine(site())
    assert [one.check for one in findings] == [check.name for check in CHECKS]
    assert {one.verdict for one in findings} == {Verdict.OK}
    assert all(one.expected for one in findings)


FAULTS: dict[str, tuple[str, Verdict, dict[str, Any], str]] = {
    "another version": (
        "versions",
        Verdict.FAILURE,
        {"versions": {"python": "3.9.1", "ray": "2.60.0", "kernel": "6.1"}},
        "3.9.1",
    ),
    "another kernel": (
        "versions",
        Verdict.WARNING,
        {"versions": {"python": "3.11.7", "ray": "2.60.0", "kernel": "5"}},
        "kernel 5",
    ),
    "clock ahead": ("clocks", Verdict.WARNING, {"clock_s": NOW + 5.0}, "5.0 s ahead"),
    "clock far behind": ("clocks", Verdict.FAILURE, {"clock_s": NOW - 100.0}, "100.0 s behind"),
    "few cores": ("cores", Verdict.WARNING, {"cores_usable": 1}, "1 of 128"),
    "no core": ("cores", Verdict.FAILURE, {"cores_usable": 0}, "no core"),
    "few processes": ("process limits", Verdict.FAILURE, {"max_processes": 1024}, "ulimit -u 1024"),
    "many processes there": ("process limits", Verdict.FAILURE, {"processes_now": 499_000}, "499000 in use"),
    "control group": ("process limits", Verdict.FAILURE, {"pids_max": 500}, "pids.max"),
    "few open files": ("process limits", Verdict.WARNING, {"max_open_files": 1024}, "ulimit -n 1024"),
    "no /tmp": (
        "sockets",
        Verdict.FAILURE,
        {"sockets": DirectoryFacts(path="/tmp", problem="Read-only file system")},
        "Read-only",
    ),
    "modes lost": ("sockets", Verdict.FAILURE, {"sockets": DirectoryFacts(path="/tmp", private=False)}, "modes"),
    "long paths": ("sockets", Verdict.FAILURE, {"socket_directory": "/scratch/" + "x" * 60}, "bytes below"),
    "no address": (
        "addresses",
        Verdict.FAILURE,
        {"address_problem": "no address leads to c", "chosen_address": ""},
        "hsn0 10.0.0.2",
    ),
    "a bridge": ("addresses", Verdict.FAILURE, {"chosen_address": "10.0.0.1"}, "of another node"),
    "a proxy": (
        "proxies",
        Verdict.FAILURE,
        {"proxy_problem": "timed out", "proxies": {"http_proxy": "http://p:3128"}},
        "http://p:3128",
    ),
    "no Ray": ("imports", Verdict.FAILURE, {"import_problem": "No module named ray"}, "No module"),
    "slow imports": ("imports", Verdict.WARNING, {"import_s": 9.0}, "9.0 s"),
    "imports too slow": ("imports", Verdict.FAILURE, {"import_s": 20.0}, "20.0 s"),
    "Ray's variables": ("other Rays", Verdict.WARNING, {"ray_variables": ("RAY_REDIS_ADDRESS",)}, "RAY_REDIS_ADDRESS"),
    "a token lying about": ("other Rays", Verdict.WARNING, {"ray_token_file": "/home/u/.ray/auth_token"}, "auth_token"),
    "another Ray": ("other Rays", Verdict.WARNING, {"foreign_ray": 2}, "2 processes"),
    "scratch in memory": ("scratch", Verdict.WARNING, {"scratch": replace(LOCAL, file_system="tmpfs")}, "is memory"),
    "scratch full": ("scratch", Verdict.WARNING, {"scratch": replace(LOCAL, free_bytes=10**8)}, "0.1 GB"),
    "no scratch": (
        "scratch",
        Verdict.FAILURE,
        {"scratch": DirectoryFacts(path="/local", problem="Permission denied")},
        "Permission",
    ),
    "not shared": ("shared directory", Verdict.FAILURE, {"shared_seen": False}, "another directory"),
    "not writable": (
        "shared directory",
        Verdict.FAILURE,
        {"shared": replace(SHARED, problem="Read-only file system")},
        "Read-only",
    ),
    "shared full": ("shared directory", Verdict.WARNING, {"shared": replace(SHARED, free_bytes=10)}, "0.0 GB"),
    "slow disk": ("durable writes", Verdict.WARNING, {"shared": replace(SHARED, syncs_per_s=0.4)}, "0.4 files"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_a_node_is_named_there_and_nowhere_else(fault: str):
    check, verdict, changes, words = FAULTS[fault]
    (found,) = [one for one in complaints(site(changes)) if one.node == "b"]
    assert (found.check, found.verdict) == (check, verdict)
    assert words in found.found
    assert found.advice
    others = [one for one in complaints(site(changes)) if one.node != "b"]
    assert all(one.check == "addresses" for one in others)  # an address that two nodes have is a fault of both


SITE_FAULTS: dict[str, tuple[str, Verdict, dict[str, Any], str]] = {
    "a node is silent": ("nodes answer", Verdict.FAILURE, {"unreachable": {"d": "srun: error"}}, "srun: error"),
    "a firewall": (
        "links",
        Verdict.FAILURE,
        {"links": (Link(source="a", target="b", address="10.0.0.2", problem="Connection refused"),)},
        "refused",
    ),
    "local locks": (
        "locks",
        Verdict.FAILURE,
        {"locks": (LockTrial(holder="a", other="b", granted_after_release=True),)},
        "as well",
    ),
    "no locks": (
        "locks",
        Verdict.FAILURE,
        {"locks": (LockTrial(holder="a", other="b", problem="Function not implemented"),)},
        "Function",
    ),
    "locks that stay": (
        "locks",
        Verdict.WARNING,
        {"locks": (LockTrial(holder="a", other="b", refused_while_held=True),)},
        "gave back",
    ),
    "too many nodes": ("queue", Verdict.FAILURE, {"batch": BatchFacts(system="slurm", max_nodes=2, wanted_nodes=3)}, "3 nodes"),
    "too long": (
        "queue",
        Verdict.FAILURE,
        {"batch": BatchFacts(system="slurm", max_time_s=3600.0, wanted_time_s=90_000.0)},
        "25.0 h",
    ),
    "refused": (
        "queue",
        Verdict.FAILURE,
        {"batch": BatchFacts(system="slurm", test_submission="invalid account")},
        "invalid account",
    ),
    "no answer": (
        "queue",
        Verdict.WARNING,
        {"batch": BatchFacts(system="slurm", problem="scontrol did not answer")},
        "did not answer",
    ),
    "trial failed": ("trial job", Verdict.FAILURE, {"job": JobTrial(events=3, wall_s=1.0, problem="exit code 8")}, "exit code 8"),
    "trial without b": (
        "trial job",
        Verdict.FAILURE,
        {"job": JobTrial(events=3, wall_s=1.0, events_by_node={"a": 1, "c": 2})},
        "no event",
    ),
}


@pytest.mark.parametrize("fault", SITE_FAULTS)
def test_a_fault_of_the_site_is_named(fault: str):
    check, verdict, changes, words = SITE_FAULTS[fault]
    (found,) = complaints(site(**changes))
    assert (found.check, found.verdict) == (check, verdict)
    assert words in found.found
    assert found.advice


def test_every_check_has_a_fault_that_it_finds():
    assert {check for check, *_ in (*FAULTS.values(), *SITE_FAULTS.values())} == {check.name for check in CHECKS}


def calls_that_complain():
    """Where `site_checks` complains: from and to which line of its source."""
    tree = ast.parse(inspect.getsource(site_checks))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    return {(call.lineno, call.end_lineno) for call in calls if call.func.id in {"_fail", "_warn", "complain"}}


def test_every_complaint_has_a_broken_set_up_that_provokes_it(monkeypatch):
    """A new one without a fault in the tables above fails here."""
    heard = set()

    def listening(complain):
        def told(*words):
            heard.add(sys._getframe(1).f_lineno)
            return complain(*words)

        return told

    for name in ("_fail", "_warn"):
        monkeypatch.setattr(site_checks, name, listening(getattr(site_checks, name)))
    for _, _, changes, _ in FAULTS.values():
        examine(site(changes))
    for _, _, changes, _ in SITE_FAULTS.values():
        examine(site(**changes))
    examine(replace(site({"shared": replace(SHARED, mount_options="rw,localflock")}), locks=()))
    calls = calls_that_complain()
    assert len(calls) > 30
    assert [call for call in sorted(calls) if not any(call[0] <= line <= call[1] for line in heard)] == []


def test_every_check_is_a_row_of_the_page_for_sites():
    rows = re.findall(r"^\| ([a-zA-Z, ]+) \| ", PAGE.read_text().partition("| check |")[2].partition("\n\n")[0], re.MULTILINE)
    assert [name for row in rows for name in row.split(", ")] == [check.name for check in CHECKS]


def test_locks_that_were_not_tried_are_judged_by_the_mount():
    alone = replace(site({"shared": replace(SHARED, mount_options="rw,localflock")}), locks=())
    (found,) = complaints(alone)
    assert (found.check, found.node) == ("locks", "b")
    assert "localflock" in found.found


def test_what_was_not_asked_is_skipped_and_no_complaint():
    facts = SiteFacts(nodes=(node("a", 1, shared=DirectoryFacts(path="")),))
    skipped = {one.check for one in examine(facts) if one.verdict is Verdict.SKIPPED}
    assert skipped == {"links", "shared directory", "locks", "durable writes", "queue", "trial job"}
    assert complaints(facts) == []


def test_only_cheap_checks_are_made_at_the_start_of_a_job():
    names = {one.check for one in examine(site(), cheap_only=True)}
    assert names == {check.name for check in CHECKS if check.cheap}
    assert {"versions", "clocks", "sockets"} <= names
    assert not {"imports", "trial job", "queue"} & names


def test_the_worst_of_findings():
    assert worst(examine(site())) is Verdict.OK
    assert worst(examine(site({"import_s": 9.0}))) is Verdict.WARNING
    assert worst(examine(site({"import_s": 99.0, "foreign_ray": 1}))) is Verdict.FAILURE
    assert worst([]) is Verdict.OK
