"""A node's network link is cut in the middle of a job, and healed: nothing may be lost, and nothing may be overwritten.

A cluster of two nodes on this machine, the second in a network namespace of its own behind a bridge, as if it were another
machine on the same shared file system. The link is cut twice. First for so short a time that only the coordinator gives the node
up: its events are computed by the other node, and when the link heals it comes back with results that are too late, which are
taken range by range or refused. Then for so long that Ray gives the node up as well; healed, its raylet learns of that and ends
itself, or not: the job completes either way. The merged outputs are compared with what is known beforehand, byte by byte, and an
event that was committed before a link healed must be in the ledger as it was.

Needs root and `ip` (Debian: iproute2). Exit code 0 when all that held, 77 when it cannot be tried here.

    python tests/campaigns/cut_link.py
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

CANNOT = 77
LIMIT_S = 120.0
MORE_EVENTS = 20
PORT = 6399
HURRIED = """
import time
from pathlib import Path
from raythena.testing.synthetic import process as compute, setup

def process(event_range, context):
    until = time.monotonic() + 0.1
    while time.monotonic() < until and not Path({hurry!r}).exists():
        time.sleep(0.02)
    return compute(event_range, context)
"""
"""Events that take a tenth of a second at most until everything that was to be seen has been seen, and then none."""


def ip(*words: str) -> None:
    """Run `ip`; raises CalledProcessError with what it said."""
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


class Network:
    """A bridge with this machine on one side, and on the other a namespace whose link can be cut."""

    def __init__(self) -> None:
        token = uuid.uuid4().hex[:6]
        self.bridge, self.link, self.namespace = f"rb{token}", f"rv{token}", f"raythena-{token}"
        prefix = f"10.{random.randint(64, 127)}.{random.randint(0, 255)}"
        self.here, self.there = f"{prefix}.1", f"{prefix}.2"

    def __enter__(self) -> Network:
        ip("link", "add", self.bridge, "type", "bridge")
        ip("addr", "add", f"{self.here}/24", "dev", self.bridge)
        ip("link", "set", self.bridge, "up")
        ip("netns", "add", self.namespace)
        ip("link", "add", self.link, "type", "veth", "peer", "name", "eth0", "netns", self.namespace)
        ip("link", "set", self.link, "master", self.bridge, "up")
        ip("-n", self.namespace, "addr", "add", f"{self.there}/24", "dev", "eth0")
        ip("-n", self.namespace, "link", "set", "eth0", "up")
        ip("-n", self.namespace, "link", "set", "lo", "up")
        return self

    def __exit__(self, *_: object) -> None:
        for words in (("netns", "del", self.namespace), ("link", "del", self.link), ("link", "del", self.bridge)):
            with contextlib.suppress(subprocess.CalledProcessError):
                ip(*words)

    def inside(self, argv: list[str]) -> list[str]:
        """The command line, run behind the link."""
        return ["ip", "netns", "exec", self.namespace, *argv]

    def cut(self) -> None:
        """Nothing gets through any more, and nobody is told."""
        ip("link", "set", self.link, "down")

    def heal(self) -> None:
        """The link is as it was."""
        ip("link", "set", self.link, "up")


def obstacle() -> str:
    """Why this cannot be tried here; empty if it can."""
    if os.geteuid() != 0:
        return "only root may make network namespaces"
    if shutil.which("ip") is None:
        return "there is no `ip` (Debian: apt-get install iproute2)"
    try:
        with Network():
            return ""
    except subprocess.CalledProcessError as problem:
        return f"network namespaces do not work here: {problem.stderr.strip()}"


async def with_cluster(network: Network, base: Path) -> None:
    """Start both nodes, have the job done in a thread, end everything."""
    import ray

    from raythena.launch.ray_environment import start_head, start_node
    from raythena.runtime.process_guard import ProcessGuard
    from raythena.runtime.session_config import NODE_RESOURCE

    process_guard, log, address = ProcessGuard(), base / "ray.log", f"{network.here}:{PORT}"
    head = start_head(network.here, PORT, base / "ray", 1, NODE_RESOURCE)
    node = network.inside(start_node(address, network.there, 1, NODE_RESOURCE))
    try:
        await process_guard.spawn(head, env=dict(os.environ), stdout=log, stderr=log)
        await asyncio.to_thread(connect, address, network.here)
        await process_guard.spawn(node, env=dict(os.environ), stdout=log, stderr=log)
        await asyncio.to_thread(play, network, base)
    finally:
        await asyncio.to_thread(ray.shutdown)
        await process_guard.stop()


def connect(address: str, own: str) -> None:
    """Join the cluster as soon as it is up."""
    import logging

    import ray
    import ray._private.worker as ray_worker

    from job_kit import eventually

    def joined() -> bool:
        try:
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR, _node_ip_address=own)
        except (ConnectionError, RuntimeError):
            return False
        return True

    eventually(joined, "a cluster to join", LIMIT_S)
    ray_worker._worker_logs_enabled = False  # it would print what is meant to happen to its nodes


def play(network: Network, base: Path) -> None:
    """The job, and what befalls its link."""
    from job_kit import LiveSession, SharedCluster, make_job
    from raythena.domain.errors import ExitCode
    from raythena.engine.exchange import ExchangeConfig
    from raythena.launch.launcher import ray_session

    class Joined(SharedCluster):
        """The cluster that `with_cluster` has made, and this process has joined."""

        def __init__(self) -> None:
            self.mark = os.environ["E2E_MARK"]

        def begin(self, config: Any) -> Any:
            return ray_session(config)

    hurry = base / "hurry"
    (base / "hurried.py").write_text(HURRIED.format(hurry=str(hurry)))
    payload = {"python": "hurried:process", "setup": "hurried:setup", "path": [str(base)], "options": {"as_file": False}}
    toy = make_job(base / "job", [3000, 3000], 1000, payload=payload)
    session = LiveSession(Joined(), toy, {}, resume=False)
    session.change(node_exchange=ExchangeConfig(node_timeout_s=2.0))
    with session:
        session.until(lambda progress: sum(node.finished > 0 for node in progress.nodes) == 2, "both nodes at work", LIMIT_S)
        cut_briefly(network, session)
        cut_for_long(network, session)
        hurry.touch()
        result = session.end(LIMIT_S)
    assert result.exit_code is ExitCode.OK, result.reason
    toy.assert_complete(scratch_lost=True)
    print_story(session)


def cut_briefly(network, session) -> None:
    """Only the coordinator gives the node up; it comes back with what it has computed meanwhile."""
    network.cut()
    elsewhere(session)
    with healed(network, session):
        wait_for(session, "registered", 3, or_else="its Ray node is dead")


def cut_for_long(network, session) -> None:
    """Ray gives the node up too."""
    if "its Ray node is dead" not in session.log():
        network.cut()
        wait_for(session, "its Ray node is dead", 1)
        elsewhere(session)
        with healed(network, session):
            session.until_finished(session.progress().finished + MORE_EVENTS)


def elsewhere(session) -> None:
    """Until the node is given up, and other events have been finished since."""
    session.until(lambda progress: any(node.state == "lost" for node in progress.nodes), "the node given up", LIMIT_S)
    session.until_finished(session.progress().finished + MORE_EVENTS)


@contextlib.contextmanager
def healed(network, session) -> Iterator[None]:
    """Heal the link; at the end of the block what had been committed before must be as it was."""
    before = commits(session)
    network.heal()
    yield
    after = commits(session)
    assert {index: after.get(index) for index in before} == before, "a late node has changed what was committed"


def commits(session) -> dict[int, tuple]:
    """Node and start of every committed event."""
    from raythena.storage.ledger_view import LedgerView

    found = {}
    with LedgerView.read(session.toy.task / "ledger.sqlite") as ledger:
        for chunk in ledger.iter_events():
            for row in chunk.events:
                assert int(row["range"]) not in found, "an event was committed twice"
                found[int(row["range"])] = row.tolist()
    return found


def wait_for(session, words: str, times: int, or_else: str = "never written") -> None:
    """Until the coordinator's log has these words so often, or the others."""
    from job_kit import eventually

    eventually(lambda: session.log().count(words) >= times or or_else in session.log(), f"{words} in the log", LIMIT_S)


def print_story(session) -> None:
    """What the coordinator saw of the nodes."""
    for line in session.log().splitlines():
        if "node " in line:
            print(line)


def main() -> int:
    """Make the network, run everything in it; the exit code."""
    if story := obstacle():
        print(f"cannot cut links here: {story}")
        return CANNOT
    # Before Ray is imported, which looks at its environment then. Sockets lie below, so the path must be short.
    from raythena.launch.ray_environment import ray_environment, write_token

    base = Path(tempfile.mkdtemp(prefix="cut-", dir="/tmp"))
    write_token(base / "token")
    os.environ |= {**ray_environment(base / "token"), "E2E_MARK": uuid.uuid4().hex}
    try:
        with Network() as network:
            asyncio.run(with_cluster(network, base))
    finally:
        shutil.rmtree(base, ignore_errors=True)
    print("nothing lost, nothing twice, nothing overwritten")
    return 0


if __name__ == "__main__":
    sys.exit(main())
