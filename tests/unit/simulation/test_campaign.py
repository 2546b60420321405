"""Processes that try seeds end with the one that asked for it."""

from __future__ import annotations

import subprocess
import sys
import time

from raythena.runtime.process_guard_main import living_processes

ASKING = """
import multiprocessing, os, time
from concurrent.futures import ProcessPoolExecutor
from raythena.testing.simulation.campaign import end_with_parent

if __name__ == "__main__":
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), end_with_parent) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        pool.submit(time.sleep, 600).result()
"""
PATIENCE_S = 60.0


def is_alive(pid: int) -> bool:
    return any(pid == living for living, _ in living_processes())


def test_a_pool_whose_owner_is_killed_is_gone(tmp_path):
    script = tmp_path / "asking.py"
    script.write_text(ASKING)
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE) as owner:
        worker = int(owner.stdout.readline())
        assert is_alive(worker)
        owner.kill()
    until = time.monotonic() + PATIENCE_S
    while is_alive(worker) and time.monotonic() < until:
        time.sleep(0.05)
    assert not is_alive(worker)
