"""A page beside a command: it is there, and it goes with the command, however that goes."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from raythena.cli.page_beside import page_beside

PATIENCE_S = 60.0


def answers(address):
    try:
        with urllib.request.urlopen(address.partition("?")[0], timeout=PATIENCE_S) as answer:
            return answer.status
    except urllib.error.HTTPError as refusal:
        return refusal.code
    except OSError:
        return None


def wait_until_gone(address):
    until = time.monotonic() + PATIENCE_S
    while answers(address) is not None:
        assert time.monotonic() < until, "the page is still there"
        time.sleep(0.1)


def test_it_is_told_of_and_ends_with_the_block(computed):
    told = queue.Queue()
    with page_beside(computed.root, told.put):
        line = told.get(timeout=PATIENCE_S)
        address = line.removeprefix("page: ")
        assert answers(address) == 403, "without its token"
    wait_until_gone(address)


def test_it_ends_with_a_command_that_is_killed(computed):
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom raythena.cli.page_beside import page_beside\n"
        f"with page_beside(Path({str(computed.root)!r}), lambda line: print(line, flush=True)):\n    time.sleep(600)\n"
    )
    command = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    address = command.stdout.readline().strip().removeprefix("page: ")
    assert answers(address) == 403
    os.kill(command.pid, signal.SIGKILL)
    command.wait()
    command.stdout.close()
    wait_until_gone(address)


def test_a_page_that_cannot_be_started_is_no_reason_to_stop(computed, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    told = []
    with page_beside(computed.root, told.append):
        pass
    assert told == ["there is no page: No such file or directory"]


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_that_is_none_is_refused(run, computed, port):
    assert run("monitor", computed.root, "--port", port).code == 2
