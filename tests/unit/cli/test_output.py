"""Standard output that is closed, full, or left by its reader; and other refusals of the system."""

from __future__ import annotations

import errno
import io
import subprocess
import sys

import pytest

from raythena.cli import config
from raythena.cli.output import GuardedStream, OutputRefused
from raythena.domain.errors import ExitCode

RAYTHENA = f"{sys.executable} -c 'from raythena.cli import main; main()'"


def shell(line, **more):
    return subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=200, check=False, **more)


@pytest.mark.parametrize("command", ["config show", "config show --json", "--help", "simulate --seeds 1"])
def test_a_full_disk_behind_standard_output_is_told_by_name(command):
    found = shell(f"{RAYTHENA} {command} > /dev/full")
    assert found.returncode == ExitCode.STORAGE
    assert found.stderr.count("standard output cannot be written: No space left on device") == 1
    assert "defect" not in found.stderr
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-", "> /dev/full 2> /dev/full"])
def test_closed_descriptors_are_no_defect(closed):
    found = shell(f"{RAYTHENA} config show {closed}")
    assert found.returncode == (ExitCode.STORAGE if "full" in closed else ExitCode.OK)
    assert found.stderr == ""


def test_the_number_of_a_closed_descriptor_is_not_given_to_a_file(tmp_path):
    """Or what is printed would be written into it."""
    code = (
        "from raythena.cli.output import take_descriptors; import os; take_descriptors(); "
        'number = os.open("file", os.O_CREAT | os.O_RDWR); open("number", "w").write(str(number))'
    )
    shell(f"{sys.executable} -c '{code}' <&- >&- 2>&-", cwd=tmp_path)
    assert int((tmp_path / "number").read_text()) > 2


def test_a_reader_that_has_seen_enough_is_no_error():
    found = shell(f"({RAYTHENA} config show; echo code $? >&2) | true")
    assert "code 0" in found.stderr
    assert "rror" not in found.stderr


class Refusing(io.StringIO):
    def __init__(self, problem):
        super().__init__()
        self.problem, self.asked = problem, 0

    def write(self, text):
        self.asked += 1
        raise self.problem


def test_a_patient_stream_bears_it_and_asks_no_more():
    behind = Refusing(OSError(errno.ENOSPC, "No space left on device"))
    stream = GuardedStream(behind, patient=True)
    for _ in range(3):
        assert stream.write("text") == 4
    stream.flush()
    assert behind.asked == 1
    assert stream.failure.errno == errno.ENOSPC


@pytest.mark.parametrize(
    ("problem", "error"), [(OSError(errno.EIO, "Input/output error"), OutputRefused), (BrokenPipeError(), BrokenPipeError)]
)
def test_another_stream_says_what_is_wrong(problem, error):
    with pytest.raises(error):
        GuardedStream(Refusing(problem)).write("text")


def test_a_stream_that_is_closed_or_was_never_there_is_one_that_nobody_reads():
    stream = GuardedStream(closed := io.StringIO())
    closed.close()
    stream.write("x"), stream.flush()
    absent = GuardedStream(None)
    absent.write("x"), absent.flush()
    assert not absent.isatty()
    assert absent.encoding == "utf-8"


def test_characters_the_encoding_has_not_are_replaced():
    behind = io.TextIOWrapper(raw := io.BytesIO(), encoding="ascii")
    stream = GuardedStream(behind)
    stream.write("a→b")
    stream.flush()
    assert raw.getvalue() == b"a?b"


@pytest.mark.parametrize(
    ("problem", "code", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/tmp/x"), ExitCode.STORAGE, "/tmp/x: No space left on device"),
        (OSError(errno.EROFS, "Read-only file system", "/tmp/x"), ExitCode.STORAGE, "Read-only file system"),
        (PermissionError(errno.EACCES, "Permission denied", "/a"), ExitCode.STORAGE, "/a: Permission denied"),
        (OSError(errno.EMFILE, "Too many open files"), ExitCode.CLUSTER, "ulimit"),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), ExitCode.CLUSTER, "ulimit"),
        (OSError("odd"), ExitCode.STORAGE, "odd"),
    ],
)
def test_what_the_system_refuses_is_no_defect(run, monkeypatch, problem, code, words):
    def refused(*_):
        raise problem

    monkeypatch.setattr(config, "settings_from", refused)
    ran = run("config", "show")
    assert ran.code == code
    assert words in ran.err
    assert "defect" not in ran.err
    assert "Traceback" not in ran.err


def test_a_command_works_in_a_directory_that_was_removed(tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    found = shell(f"cd {gone} && rmdir {gone} && {RAYTHENA} --version")
    assert found.returncode == ExitCode.OK, found.stderr
