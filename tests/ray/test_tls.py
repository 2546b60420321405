"""With TLS: two nodes of real Ray find each other, and a stranger hears nothing that is not TLS."""

import subprocess
import sys

import pytest

pytest.importorskip("cryptography")

TWO_NODES = """
import asyncio, os, socket, ssl
from raythena.launch.local import LocalCluster

PREFACE = b"PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n" + bytes(3) + bytes([4, 0, 0, 0, 0, 0])

def heard(address, safely):
    with socket.create_connection(address, timeout=10) as link:
        if safely:
            names = (os.environ[f"RAY_TLS_{name}"] for name in ("SERVER_CERT", "SERVER_KEY"))
            context = ssl.create_default_context(cafile=os.environ["RAY_TLS_CA_CERT"])
            context.load_cert_chain(*names)
            context.set_alpn_protocols(["h2"])
            link = context.wrap_socket(link, server_hostname=address[0])
        link.settimeout(10)
        link.sendall(PREFACE)
        try:
            return link.recv(9)
        except OSError:
            return b""

def is_settings(said):
    return len(said) == 9 and said[3] == 4

async def main():
    cluster = LocalCluster(2, 1, encrypted=True)
    await cluster.start()
    try:
        await cluster.add_nodes()
        import ray
        nodes = [node for node in ray.nodes() if node["Alive"]]
        @ray.remote(num_cpus=1)
        def here():
            return ray.get_runtime_context().get_node_id()
        placed = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        asked = [here.options(scheduling_strategy=placed(node["NodeID"], soft=False)).remote() for node in nodes]
        found = set(await asyncio.to_thread(ray.get, asked, timeout=60))
        host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
        ports = [(host, int(port)), *((node["NodeManagerAddress"], node["NodeManagerPort"]) for node in nodes)]
        print("nodes", len(found), "ports", len(ports))
        print("safely", [is_settings(heard(each, True)) for each in ports])
        print("plainly", [is_settings(heard(each, False)) for each in ports])
    finally:
        await cluster.stop()

asyncio.run(main())
"""


def test_nodes_talk_tls_and_nothing_else():
    done = subprocess.run([sys.executable, "-c", TWO_NODES], capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    told = ["nodes 2 ports 3", "safely [True, True, True]", "plainly [False, False, False]"]
    assert done.stdout.splitlines() == told, done.stderr
