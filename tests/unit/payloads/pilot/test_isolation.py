"""A pilot with process numbers of its own has a /tmp and a /dev/shm of its own; a pilot without meets no leftovers."""

import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from raythena.payloads.pilot import launch
from raythena.payloads.pilot.channel_leftovers import remove_leftovers
from raythena.payloads.pilot.pilot_options import PilotOptions

TMP, SHM = Path("/tmp"), Path("/dev/shm")


@pytest.fixture
def isolated(tmp_path):
    """Runs a script as a pilot is run by default; its output in lines."""
    if problem := launch._namespace_problem(tmp_path):
        pytest.skip(f"no namespaces here: {problem}")

    def run(name, script):
        argv = launch._isolated([sys.executable, "-c", script], tmp_path / name)
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()

    return run


def test_the_default_is_isolation_where_it_can_be_had(tmp_path):
    assert launch.in_namespace(PilotOptions(), {}, tmp_path) == (launch._namespace_problem(tmp_path / "again") == "")


def test_pilots_of_one_number_do_not_meet_each_others_channels(isolated):
    name = f"EventService_EventRanges_{uuid.uuid4().int % 10**9}"
    script = (
        f"import os; from pathlib import Path; fifo, shm = Path('/tmp/fifo_{name}'), Path('/dev/shm/{name}')\n"
        "print(os.getpid(), fifo.exists(), shm.exists()); os.mkfifo(fifo); shm.touch()"
    )
    first, second = isolated("a", script), isolated("b", script)
    assert first == second
    assert first[0].split()[1:] == ["False", "False"]
    assert not (TMP / f"fifo_{name}").exists()
    assert not (SHM / name).exists()


def test_what_is_in_tmp_is_seen_and_can_be_written(isolated, tmp_path):
    place = TMP / f"raythena-test-{uuid.uuid4().hex}"
    place.mkdir()
    try:
        (place / "input").write_text("events")
        script = f"import os; os.chdir({str(place)!r}); open('out', 'w').write('hits'); print(open('input').read())"
        assert isolated("a", script) == ["events"]
        assert (place / "out").read_text() == "hits"
    finally:
        for path in place.iterdir():
            path.unlink()
        place.rmdir()


def test_the_pilot_itself_may_not_mount(isolated):
    if os.getuid() == 0:
        pytest.skip("root keeps its capabilities")
    script = "print([line for line in open('/proc/self/status') if line.startswith('CapEff')][0].split()[1])"
    assert int(isolated("a", script)[0], 16) == 0


def test_leftovers_of_pilots_that_are_gone_are_removed_and_nothing_else(tmp_path):
    gone = subprocess.Popen(["true"])
    gone.wait()
    names = [f"fifo_EventService_EventRanges_{gone.pid}", f"EventService_EventRanges_{gone.pid}_in"]
    kept = [f"fifo_EventService_EventRanges_{os.getpid()}", "fifo_EventService_EventRanges_x", "other"]
    for name in (*names, *kept):
        (tmp_path / name).touch()
    assert sorted(path.name for path in remove_leftovers([tmp_path])) == sorted(names)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)
