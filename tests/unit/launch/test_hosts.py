"""Hosts of a file: which, how they are reached, and which of them is this machine."""

import socket
import sys
from types import SimpleNamespace

import pytest

from raythena.domain.errors import InvalidInput
from raythena.domain.host_list import Host
from raythena.launch.hosts import PLUGIN, HostCluster, hosts_of, is_this_machine, remote_command
from raythena.launch.launcher import Continuation, LaunchOrder

HERE = socket.gethostname()


def order(environ=None, **fields):
    return LaunchOrder(environ or {}, "", "", **fields)


@pytest.fixture
def host_file(tmp_path):
    def write(text):
        path = tmp_path / "hosts"
        path.write_text(text)
        return str(path)

    return write


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("ssh -T -o BatchMode=yes {host}", ["ssh", "-T", "-o", "BatchMode=yes", "n1"]),
        ("pbs_tmrsh {host}", ["pbs_tmrsh", "n1"]),
        ("pbsdsh -h {host} --", ["pbsdsh", "-h", "n1", "--"]),
        ("ssh -J gate 'me@{host}'", ["ssh", "-J", "gate", "me@n1"]),
    ],
)
def test_the_remote_shell_is_the_sites(template, words):
    command = remote_command(template, "n1")
    assert list(command[: len(words)]) == words
    assert command[len(words) :] == (sys.executable, "-P", "-m", "raythena.launch.node_process")


@pytest.mark.parametrize("template", ["ssh", "", "ssh 'x"])
def test_a_remote_shell_without_a_host_is_none(template):
    with pytest.raises(InvalidInput, match=r"launch\.remote_shell"):
        remote_command(template, "n1")


@pytest.mark.parametrize("name", [HERE, HERE.partition(".")[0], "localhost", "127.0.0.1", f"me@{HERE}"])
def test_this_machine_is_known_by_its_names(name):
    assert is_this_machine(Host(name, 0))


@pytest.mark.parametrize("name", ["192.0.2.7", "no-such-host.invalid"])
def test_others_are_others(name):
    assert not is_this_machine(Host(name, 0))


def test_the_node_file_of_pbs_is_used_where_none_is_named(host_file):
    environ = {"PBS_JOBID": "7.server", "PBS_NODEFILE": host_file("n1\nn1\nn2\nn2\n")}
    assert hosts_of(order(environ)) == (Host("n1", 2), Host("n2", 2))
    assert PLUGIN.is_here(environ)
    assert not PLUGIN.is_here({"PBS_JOBID": "7.server"})
    assert PLUGIN.words(order(environ)) == "2 hosts"
    assert PLUGIN.words(order(environ, nodes=1)) == "1 hosts"


@pytest.mark.parametrize(
    ("path", "words"), [("", "launch.hosts: is not set; expected a file"), ("/nowhere/hosts", "/nowhere/hosts: cannot be read")]
)
def test_no_hosts(path, words):
    with pytest.raises(InvalidInput, match=words):
        HostCluster(order(hosts=path))


def test_this_machine_must_be_among_them(host_file):
    with pytest.raises(InvalidInput, match=rf"launch\.hosts: {HERE} is not among them"):
        HostCluster(order(hosts=host_file("192.0.2.7\n")))


def test_every_other_host_gets_a_node_with_its_own_cores(host_file):
    cluster = HostCluster(order(hosts=host_file(f"192.0.2.7 4\n{HERE} 2\n192.0.2.8\n"), remote_stdin=False))
    assert [(spec.name, spec.cores, spec.by_file) for spec in cluster._specs] == [("192.0.2.7", 4, True), ("192.0.2.8", 0, True)]
    assert cluster._head_cores <= 2


def test_no_more_of_them_than_asked_for(host_file):
    cluster = HostCluster(order(hosts=host_file(f"{HERE}\n192.0.2.7\n192.0.2.8\n"), nodes=2))
    assert [spec.name for spec in cluster._specs] == ["192.0.2.7"]


def test_every_node_is_told_how_to_go_on_without_this_machine(host_file, tmp_path):
    goes_on = Continuation("s", "/task", ("raythena", "run", "--resume"), "/", {})
    hosts = host_file(f"{HERE}\nh1\nh2\n")
    cluster = HostCluster(order(hosts=hosts, continuation=goes_on))
    token = tmp_path / "token"
    token.write_text("secret")
    cluster._head = SimpleNamespace(token_file=token, join_address="h:1", authority=None)
    orders = [cluster._node_order(spec, f"{spec.name}.1") for spec in cluster._specs]
    assert [(order.rank, order.continuation) for order in orders] == [(0, goes_on), (1, goes_on)]
