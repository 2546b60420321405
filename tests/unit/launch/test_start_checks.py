"""What is told of nodes when a job starts: failures only, with the node's name, once."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import msgspec
import pytest

from raythena.domain.site_facts import DirectoryFacts, NodeFacts
from raythena.launch.node_probe import FactsRequest, facts
from raythena.launch.start_checks import StartChecks

VERSIONS = {"python": "3.11.2", "raythena": "0.1.0", "ray": "2.60.0", "libc": "glibc 2.36", "kernel": "6.1"}
DISK = DirectoryFacts(path="/tmp", file_system="ext4", free_bytes=10**11, private=True, syncs_per_s=100.0)


def node(name, address, **more):
    """A node that is well."""
    well = NodeFacts(
        node=name,
        versions=VERSIONS,
        clock_s=1000.0,
        cores_there=8,
        cores_usable=8,
        max_processes=-1,
        max_open_files=-1,
        chosen_address=address,
        socket_directory="/tmp/rt-00000000/ray",
        sockets=DISK,
        scratch=DISK,
        shared=DISK,
        shared_seen=True,
    )
    return replace(well, **more)


HEAD = node("n1", "10.0.0.1")


@pytest.fixture
def told():
    """What is told of a node with this about it, with the head looked at first, or later."""

    def judged(about, *, head_first=True, asked_at=999.0, starts=1):
        lines = []
        checks = StartChecks(lines.append, lambda: 1001.0)
        found = msgspec.to_builtins(node("x", **{"address": "10.0.0.2", **about}))
        steps = [lambda: checks.head_looked(HEAD)]
        steps[len(steps) * head_first : 0] = [lambda: checks.node_looked("n2", found, asked_at)] * starts
        for step in steps:
            step()
        return lines

    return judged


def test_of_a_node_that_is_well_nothing_is_told(told):
    assert told({}) == []


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({"versions": {**VERSIONS, "ray": "2.9.0"}}, "versions: ray 2.9.0, others have 2.60.0"),
        ({"clock_s": 900.0}, "clocks: clock 99.0 s behind"),
        ({"cores_usable": 0}, "cores: no core may be used"),
        ({"max_processes": 100, "processes_now": 50}, "process limits: ulimit -u 100, 50 in use"),
        (
            {"sockets": DirectoryFacts(path="/tmp", problem="Read-only file system")},
            "sockets: /tmp: Read-only",
        ),
        ({"address": "10.0.0.1"}, "addresses: 10.0.0.1 is the address of another node too"),
        (
            {"proxy_problem": "502", "proxies": {"http_proxy": "http://p"}},
            "proxies: traffic to the node's own",
        ),
        (
            {"scratch": DirectoryFacts(path="/scratch", problem="No such file or directory")},
            "scratch: /scratch",
        ),
        (
            {"shared": DirectoryFacts(path="/task", problem="No such file or directory")},
            "shared directory: /task",
        ),
    ],
)
@pytest.mark.parametrize("head_first", [True, False])
def test_what_fails_is_told_with_the_name_of_the_node(told, about, words, head_first):
    lines = told(about, head_first=head_first)
    assert len(lines) == 1, "and the head, which is well, is not named"
    assert lines[0].startswith(f"node n2 fails the check of {words}")
    assert "; " in lines[0], "and what to do"


def test_a_node_that_starts_again_is_not_told_of_again(told):
    assert len(told({"cores_usable": 0}, starts=3)) == 1


def test_a_warning_is_for_doctor(told):
    assert told({"max_open_files": 100, "ray_variables": ["RAY_ADDRESS"]}) == []


def test_a_head_that_fails_is_named_too():
    lines = []
    StartChecks(lines.append).head_looked(replace(HEAD, cores_usable=0))
    assert [line.partition(":")[0] for line in lines] == ["node n1 fails the check of cores"]


@pytest.mark.parametrize("found", [None, {}, {"node": 7}, "facts"])
def test_what_cannot_be_read_is_left_out(found):
    lines = []
    StartChecks(lines.append).node_looked("n2", found, 0.0)
    assert lines == []


# ---- with real probes: each kind of fault is made, and found


def looked(tmp_path, **more):
    """What a real probe on this machine makes of a request; told as of node `n2`."""
    lines = []
    request = FactsRequest(node="n2", measure=False, **{"scratch": str(tmp_path), "shared": str(tmp_path), **more})
    StartChecks(lines.append, lambda: 1e12).node_looked("n2", msgspec.to_builtins(facts(request)), 0.0)
    return lines


def test_this_machine_is_well(tmp_path):
    assert looked(tmp_path) == []


@pytest.mark.parametrize(
    ("request_field", "value", "check"),
    [
        ("scratch", "/no/such/place", "scratch"),
        ("shared", "/no/such/place", "shared directory"),
        ("socket_base", "/no/such/place", "sockets"),
        ("socket_base", "/proc", "sockets"),
        ("interface", "no-such-if", "addresses"),
        ("nonce", "another directory", "shared directory"),
    ],
)
def test_a_fault_that_is_made_is_found(tmp_path, request_field, value, check):
    (line,) = looked(tmp_path, **{request_field: value})
    assert line.startswith(f"node n2 fails the check of {check}: ")


def test_a_path_too_long_for_sockets_is_found(tmp_path):
    deep = tmp_path / ("x" * 60)
    deep.mkdir()
    (line,) = looked(tmp_path, socket_base=str(deep))
    assert "fails the check of sockets: paths of" in line


def test_too_few_processes_are_found(tmp_path):
    """The limit is set for the probe's process only, which is asked as doctor asks it."""
    script = "import resource, runpy; resource.setrlimit(resource.RLIMIT_NPROC, (200, 200)); "
    script += "runpy.run_module('raythena.launch.node_probe', run_name='__main__')"
    request = json.dumps({"do": "facts", "node": "n2", "measure": False}).encode() + b"\n"
    done = subprocess.run([sys.executable, "-c", script], input=request, capture_output=True, timeout=60, check=True)
    found = json.loads(done.stdout.partition(b"raythena-probe: ")[2])["facts"]
    lines = []
    StartChecks(lines.append, lambda: 1e12).node_looked("n2", found, 0.0)
    assert [line.partition(":")[0] for line in lines] == ["node n2 fails the check of process limits"]


def test_a_proxy_that_swallows_local_traffic_is_found(tmp_path, monkeypatch):
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    (line,) = looked(tmp_path)
    assert line.startswith("node n2 fails the check of proxies: traffic to the node's own address does not arrive")
    assert os.environ["http_proxy"] in line
