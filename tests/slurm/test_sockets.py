"""Every socket of ours that listens on a node, and what it answers to a client without the secret: nothing of substance."""

import re
import subprocess
import sys

import pytest
from slurm_kit import assert_nothing_left, hurry, run_toy, toy_job, until_all_compute

from slurm_cluster.nodes import eventually

EXPECTED = re.compile(r"gcs_server|raylet|ray::|dashboard|runtime_env|node_process|raythena|python|srun")
CONTROL = {4, 6, 7, 8}
"""SETTINGS, PING, GOAWAY, WINDOW_UPDATE: what gRPC says to everybody, before and instead of an answer."""
ASK = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5) as link:
    link.settimeout(3)
    link.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    try:
        sys.stdout.buffer.write(link.recv(400))
    except OSError:
        pass
"""
JOIN = """
import os, sys
os.environ.update({name: value for name, value in (pair.split("=") for pair in sys.argv[2:])})
import ray
ray.init(sys.argv[1], logging_level="error")
print("joined", ray.nodes())
"""


def frames(said):
    """Types of the frames of HTTP/2 in what was said; None for what is no frame."""
    types = set()
    while said:
        types.add(said[3] if len(said) >= 9 else None)
        said = said[9 + int.from_bytes(said[:3], "big") :]
    return types


def listening(cluster, node):
    """(address, port, process) of every TCP socket of ours that listens on a node."""
    out = subprocess.run(cluster.nodes[node].inside(["ss", "-Hltnp"]), capture_output=True, text=True, check=True).stdout
    for line in out.splitlines():
        local, users = line.split()[3], line.partition("users:")[2]
        address, _, port = local.rpartition(":")
        if users and '"slurm' not in users:
            yield address, int(port), users


def answer(cluster, node, port):
    """What a socket says to a stranger on another node."""
    argv = [sys.executable, "-c", ASK, cluster.nodes[node].address, str(port)]
    other = "n4" if node != "n4" else "n3"
    return subprocess.run(cluster.nodes[other].inside(argv), capture_output=True, timeout=30, check=False).stdout


@pytest.mark.slow
def test_nothing_answers_a_stranger(cluster):
    toy = toy_job(cluster)
    job = run_toy(cluster, toy)
    until_all_compute(toy, "n1", "n2", "n3", "n4")
    table = {(node, port): (address, users) for node in cluster.nodes for address, port, users in listening(cluster, node)}
    assert {node for node, _ in table} == set(cluster.nodes)
    for (node, port), (address, users) in sorted(table.items()):
        assert EXPECTED.search(users), (node, port, users)
        said = b"" if address.startswith(("127.", "[::1]")) else answer(cluster, node, port)
        print(f"{node} {address}:{port} {users[:60]} {said[:30]!r}")
        assert frames(said) <= CONTROL, (node, port, users, said)
    (head,) = [port for (node, port), (_, users) in table.items() if "gcs_server" in users][:1]
    for secret in ("RAY_AUTH_MODE=disabled", "RAY_AUTH_MODE=token RAY_AUTH_TOKEN=0123456789abcdef0123456789abcdef"):
        argv = [sys.executable, "-c", JOIN, f"{cluster.nodes['n1'].address}:{head}", *secret.split()]
        stranger = subprocess.run(cluster.nodes["n3"].inside(argv), capture_output=True, text=True, timeout=120, check=False)
        assert stranger.returncode != 0
        assert "joined" not in stranger.stdout
    hurry(toy)
    assert job.ended() == "COMPLETED", job
    toy.assert_complete()
    eventually(lambda: not any(True for node in cluster.nodes for _ in listening(cluster, node)), "no socket left")
    assert_nothing_left(*cluster.nodes.values())
