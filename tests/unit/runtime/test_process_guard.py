"""Nothing a process guard starts outlives the agent, the process guard, or a stop: shown with real processes and real signals."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from raythena.runtime import process_guard_main
from raythena.runtime.process_guard import MARK, ProcessGuard, marked_processes
from raythena.runtime.process_guard_main import descendants, living_processes

FAMILY = "sleep 1000 & setsid sleep 1001 & (setsid sh -c 'sleep 1002 & sleep 1003' &) ; sleep 1004"
"""A shell with children of every kind: plain, in a session of its own, and orphaned on purpose."""
MEMBERS = {f"sleep {seconds}" for seconds in range(1000, 1005)}


@contextlib.contextmanager
def marked_environment():
    """An environment by which all processes of one test can be found again; none may be left."""
    word = f"TEST_FAMILY={os.getpid()}-{time.monotonic_ns()}"
    name, _, value = word.partition("=")

    def family():
        return [pid for pid, _ in living_processes() if word.encode() in read_environment(pid)]

    try:
        yield {**os.environ, name: value}, family
    finally:
        left = family()
        for pid in left:
            os.kill(pid, signal.SIGKILL)
    assert not left


def read_environment(pid):
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def command_line(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()
    except OSError:
        return ""


def grown(family):
    return {command_line(pid) for pid in family()} >= MEMBERS


def wait_for(condition, timeout_s=60.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


async def eventually(condition, timeout_s=60.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.01)


def with_guard(scene):
    async def run():
        process_guard = ProcessGuard()
        await process_guard.start()
        try:
            await scene(process_guard)
        finally:
            await process_guard.stop()

    asyncio.run(run())


@pytest.mark.parametrize(("script", "status"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", -9), ("kill -SEGV $$", -11)])
def test_exits_are_told(script, status):
    async def scene(process_guard):
        told = []
        pid = await process_guard.spawn(["sh", "-c", script], env=dict(os.environ), on_exit=told.append)
        assert pid > 1
        await eventually(lambda: told)
        assert told == [status]

    with_guard(scene)


def test_environment_directory_and_output(tmp_path):
    async def scene(process_guard):
        told = []
        (tmp_path / "log").write_text("before\n")
        script = (
            "echo $COLOUR $PWD; echo oops >&2; cat; id -u >/dev/null; echo $(ps -o sid= -p $$ 2>/dev/null || true) >/dev/null"
        )
        await process_guard.spawn(
            ["sh", "-c", script],
            env={"COLOUR": "blue", "PATH": os.environ["PATH"]},
            cwd=tmp_path,
            stdout=tmp_path / "log",
            stderr=tmp_path / "log",
            on_exit=told.append,
        )
        await eventually(lambda: told)
        assert (tmp_path / "log").read_text() == f"before\nblue {tmp_path}\noops\n"

    with_guard(scene)


def test_children_inherit_nothing_but_the_standard_streams():
    async def scene(process_guard):
        told = []
        script = "import os, sys; sys.exit(len([fd for fd in os.listdir('/proc/self/fd') if int(fd) > 2]))"
        await process_guard.spawn([sys.executable, "-c", script], env=dict(os.environ), on_exit=told.append)
        await eventually(lambda: told)
        assert told == [1], "one descriptor is that of the listing itself"

    with_guard(scene)


@pytest.mark.parametrize(("program", "error"), [("/no/such/program", FileNotFoundError), ("/etc/passwd", PermissionError)])
def test_a_program_that_cannot_run_is_an_oserror(program, error):
    async def scene(process_guard):
        with pytest.raises(error, match=program):
            await process_guard.spawn([program], env={})

    with_guard(scene)


def test_stop_leaves_nothing():
    with marked_environment() as (environment, family):

        async def scene(process_guard):
            told = []
            await process_guard.spawn(["sh", "-c", FAMILY], env=environment, on_exit=told.append)
            await eventually(lambda: grown(family))
            await process_guard.stop()
            assert family() == []
            assert told == []
            await process_guard.stop()

        with_guard(scene)


LEADERLESS = """
import ctypes, threading, time
threading.Thread(target=time.sleep, args=(1000,)).start()
ctypes.CDLL(None).syscall({exit})
"""
"""A program whose first thread ends while another one goes on: its entry in /proc says zombie."""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the number of the system call is that of one architecture")
def test_a_process_whose_first_thread_has_ended_is_alive():
    async def scene(process_guard):
        program = LEADERLESS.format(exit=60)
        pid = await process_guard.spawn([sys.executable, "-c", program], env=dict(os.environ))
        status = Path(f"/proc/{pid}/stat")
        await eventually(lambda: status.read_text().rpartition(")")[2].split()[0] == "Z")
        assert pid in descendants(os.getpid())
        await process_guard.stop()
        await eventually(lambda: not status.exists(), timeout_s=0.1)

    with_guard(scene)


def test_kill_reaches_the_group():
    with marked_environment() as (environment, family):

        async def scene(process_guard):
            told = []
            pid = await process_guard.spawn(["sh", "-c", "sleep 1000 & sleep 1000"], env=environment, on_exit=told.append)
            await eventually(lambda: len(family()) == 3)
            process_guard.kill(pid)
            await eventually(lambda: told and not family())
            assert told == [-9]
            process_guard.kill(pid)

        with_guard(scene)


def test_what_is_left_of_a_group_is_swept_on_request():
    with marked_environment() as (environment, family):

        async def scene(process_guard):
            for sweep, left in ((True, 0), (False, 1)):
                told = []
                await process_guard.spawn(
                    ["sh", "-c", "sleep 1000 & exit 3"], env=environment, on_exit=told.append, sweep_group=sweep
                )
                await eventually(lambda told=told: told)
                await eventually(lambda left=left: len(family()) == left)

        with_guard(scene)


def test_the_process_guard_killed():
    """Its children and what they started are killed, their exits told; the next spawn has a new process guard."""
    with marked_environment() as (environment, family):

        async def scene(process_guard):
            told = []
            await process_guard.spawn(["sh", "-c", FAMILY], env=environment, on_exit=told.append)
            await eventually(lambda: grown(family))
            first = process_guard.pid
            os.kill(first, signal.SIGKILL)
            await eventually(lambda: told and not family())
            assert told == [-9]
            pids = await asyncio.gather(*(process_guard.spawn(["sleep", "1000"], env=environment) for _ in range(4)))
            assert len(set(pids)) == 4
            assert process_guard.pid not in (first, None)
            assert [pid for pid, parent in living_processes() if parent == process_guard.pid] == sorted(pids)

        with_guard(scene)


AGENT = """
import asyncio, os, sys
from raythena.runtime.process_guard import ProcessGuard
async def main():
    process_guard = ProcessGuard()
    await process_guard.spawn(["sh", "-c", sys.argv[1]], env=dict(os.environ))
    print(process_guard.pid, flush=True)
    await asyncio.sleep(1000)
asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_agent_killed(number):
    with marked_environment() as (environment, family):
        with subprocess.Popen([sys.executable, "-c", AGENT, FAMILY], env=environment, stdout=subprocess.PIPE) as agent:
            assert int(agent.stdout.readline()) > 1
            wait_for(lambda: grown(family))
            agent.send_signal(number)
            agent.wait(10)
        wait_for(lambda: not family())


def test_agent_and_process_guard_killed_together():
    """Direct children follow through the kernel's parent-death signal."""
    with marked_environment() as (environment, family):
        with subprocess.Popen([sys.executable, "-c", AGENT, "exec sleep 1000"], env=environment, stdout=subprocess.PIPE) as agent:
            process_guard = int(agent.stdout.readline())
            wait_for(lambda: len(family()) >= 3)
            os.kill(process_guard, signal.SIGSTOP)
            agent.kill()
            agent.wait(10)
            os.kill(process_guard, signal.SIGKILL)
        wait_for(lambda: not family())


def test_sigterm_to_the_process_guard_ends_everything():
    with marked_environment() as (environment, family):

        async def scene(process_guard):
            told = []
            await process_guard.spawn(["sh", "-c", FAMILY], env=environment, on_exit=told.append)
            await eventually(lambda: grown(family))
            os.kill(process_guard.pid, signal.SIGTERM)
            await eventually(lambda: told and not family())

        with_guard(scene)


def test_marked_processes_are_those_of_one_process_guard():
    async def scene(process_guard):
        other = ProcessGuard()
        pid = await process_guard.spawn(["sleep", "1000"], env={**os.environ, MARK: "somebody else's"})
        stranger = await other.spawn(["sleep", "1000"], env=dict(os.environ))
        assert marked_processes(process_guard._mark) == [pid]
        assert stranger in descendants(os.getpid())
        await other.stop()

    with_guard(scene)


def test_the_guards_process_is_light():
    """It is started without site packages, and imports nothing that takes long."""
    place = str(Path(process_guard_main.__file__).parent)
    script = f"import sys; sys.path.insert(0, {place!r}); import process_guard_main; print(*sys.modules)"
    answer = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True)
    assert not {"asyncio", "subprocess", "numpy", "raythena"} & set(answer.stdout.split())


DIRECTORY_MAKER = """
import asyncio, os, sys
from pathlib import Path
from raythena.runtime.process_guard import ProcessGuard

async def work():
    guard = ProcessGuard()
    guard.remove_at_end(Path(sys.argv[1]))
    writer = "i=0; while :; do i=$((i+1)); mkdir -p $0/d$i; echo x > $0/d$i/f; done"
    await guard.spawn(["sh", "-c", writer, sys.argv[1]], env=dict(os.environ))
    print("up", flush=True)
    await asyncio.sleep(1000)

asyncio.run(work())
"""
"""Dies with a directory that is written to without end."""


def killed_maker(directory):
    directory.mkdir()
    process = subprocess.Popen([sys.executable, "-c", DIRECTORY_MAKER, directory], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"up\n"
    wait_for(lambda: any(directory.iterdir()))
    return process


def test_a_directory_goes_with_the_process_that_had_it_made(tmp_path):
    directory = tmp_path / "private"
    process = killed_maker(directory)
    process.kill()
    process.wait()
    wait_for(lambda: not directory.exists())


def test_a_directory_goes_when_the_guard_is_told_to_end(tmp_path):
    """A batch system signals every process of a job, the guard too."""
    directory = tmp_path / "private"
    process = killed_maker(directory)
    guards = [pid for pid in descendants(process.pid) if "process_guard_main" in command_line(pid)]
    assert len(guards) == 1
    os.kill(guards[0], signal.SIGTERM)
    wait_for(lambda: not directory.exists())
    process.kill()
    process.wait()


def test_a_directory_stays_until_the_guard_ends(tmp_path):
    directory = tmp_path / "private"
    directory.mkdir()

    async def scene(guard):
        guard.remove_at_end(directory)
        await guard.spawn(["true"], env={})
        assert directory.exists()
        await guard.stop()
        assert not directory.exists()

    with_guard(scene)


def test_a_second_guard_knows_the_directories_of_the_first(tmp_path):
    directory = tmp_path / "private"
    directory.mkdir()

    async def scene(guard):
        guard.remove_at_end(directory)
        os.kill(guard.pid, signal.SIGKILL)
        await eventually(lambda: guard.pid is None)
        await guard.spawn(["sleep", "1000"], env={})
        await guard.stop()
        assert not directory.exists()

    with_guard(scene)
