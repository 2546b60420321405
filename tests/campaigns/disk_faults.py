"""Real file systems that fill up, turn read-only or fail, under real jobs. Takes root: small file systems are mounted.

Disks are images with ext4 on a loop device. An ext4 file system can be told to shut down: from then on every access fails with an
I/O error, what was not synchronised is lost as in a power cut, and mounting it again brings back what was. In each row one disk
goes wrong in the middle of a job (or before), and most of them come back; where the command has to give up, it is run again with
--resume. At the end every event must be in its output once, byte for byte, and nothing that was ever acknowledged may have been
computed again. The exit code is 1 if any row did otherwise.

    python tests/campaigns/disk_faults.py
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from job_kit import Command, ToyJob, eventually, make_job, raythena_processes
from raythena.domain.errors import ExitCode
from raythena.domain.results import FailureKind
from raythena.storage.ledger_view import LedgerView

EVENTS, PER_OUTPUT = 800, 400
LIMIT_S = 300.0
PATIENCE = "runtime.storage_patience_s=6"
_EXT4_SHUTDOWN = 0x8004587D
"""EXT4_IOC_SHUTDOWN: _IOR('X', 125, __u32)."""
_WITHOUT_THE_LOG = 2


@dataclass
class Disk:
    """An ext4 file system in a file, mounted."""

    place: Path
    image: Path = field(init=False)

    def __post_init__(self) -> None:
        self.image = self.place.with_name(f"{self.place.name}.img")

    def make(self, megabytes: int) -> None:
        with self.image.open("wb") as stream:
            stream.truncate(megabytes << 20)
        _run("mkfs.ext4", "-q", "-m", "0", self.image)
        self.mount()
        shutil.rmtree(self.place / "lost+found")

    def mount(self, *options: str) -> None:
        _run("mount", "-o", ",".join(("loop", *options)), self.image, self.place)

    def unmount(self) -> None:
        eventually(lambda: subprocess.run(["umount", self.place], check=False, capture_output=True).returncode == 0, "unmounted")

    def remount(self, mode: str) -> None:
        _run("mount", "-o", f"remount,{mode}", self.place)

    def fail(self) -> None:
        """From now on every access is an I/O error."""
        directory = os.open(self.place, os.O_RDONLY)
        try:
            fcntl.ioctl(directory, _EXT4_SHUTDOWN, struct.pack("I", _WITHOUT_THE_LOG))
        finally:
            os.close(directory)

    def fill(self) -> None:
        with (self.place / "ballast").open("wb", buffering=0) as stream:
            for size in (1 << 20, 1 << 16, 1 << 12, 512, 1):
                with contextlib.suppress(OSError):
                    while stream.write(bytes(size)) == size:
                        pass

    def free(self) -> None:
        (self.place / "ballast").unlink()


def _run(*command: object) -> None:
    done = subprocess.run([str(word) for word in command], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise OSError(f"{command[0]}: {done.stderr.strip()}")


@dataclass
class Life:
    """A job with its task directory and its scratch directory on disks of their own."""

    toy: ToyJob
    mark: str
    shared: Disk
    scratch: Disk

    def command(self, *options: str) -> Command:
        return Command(self.mark, self.toy, "--cores", "2", "--set", PATIENCE, *options)

    def resume(self) -> Command:
        return self.command("--resume")


def until(command: Command, condition: Callable[[dict[str, Any]], bool], what: str) -> None:
    """Wait for a state of the job, for as long as a busy machine may take to start a cluster."""

    def reached() -> bool:
        assert command.running, f"the command ended before: {what}\n{command.errors}"
        progress = command.last_progress()
        return bool(progress) and condition(progress)

    eventually(reached, what, LIMIT_S)


def until_finished(command: Command, events: int) -> None:
    until(command, lambda progress: progress["stored"] + progress["merged"] >= events, f"{events} events committed")


Act = Callable[[Life], Command]
"""Runs a job with its fault; the command that must end it well."""


def given_up(command: Command, words: str) -> None:
    """The command must end by itself, with a clear error."""
    code = command.wait(LIMIT_S)
    assert code == ExitCode.STORAGE, f"exit code {code}: {command.errors[-500:]}"
    story = command.errors + "".join(map(str, command.lines()))
    assert words in story, story[-1000:]
    assert "Traceback" not in command.errors, command.errors


def shared_full_for_a_while(life: Life) -> Command:
    command = life.command("--set", "runtime.storage_patience_s=300")
    until_finished(command, 100)
    life.shared.fill()
    until(command, lambda progress: "disk refuses" in progress["message"], "the job says so")
    life.shared.free()
    return command


def shared_full_for_good(life: Life) -> Command:
    command = life.command()
    until_finished(command, 100)
    life.shared.fill()
    given_up(command, "No space left")
    life.shared.free()
    return life.resume()


def shared_fails(life: Life) -> Command:
    command = life.command()
    until_finished(command, 100)
    life.shared.fail()
    given_up(command, "Input/output error")
    life.shared.unmount()
    life.shared.mount()
    return life.resume()


def shared_read_only(life: Life) -> Command:
    life.shared.remount("ro")
    given_up(life.command(), "Read-only file system")
    life.shared.remount("rw")
    return life.command()


def scratch_full_again_and_again(life: Life) -> Command:
    command = life.command("--set", "runtime.storage_patience_s=300")
    for goal in (50, 200, 350):
        until_finished(command, goal)
        life.scratch.fill()
        until(command, lambda progress: any(node["state"] == "stalled" for node in progress["nodes"]), "the nodes say so")
        life.scratch.free()
    return command


def scratch_full_for_good(life: Life) -> Command:
    command = life.command()
    until_finished(command, 100)
    life.scratch.fill()
    given_up(command, "scratch disk has refused")
    life.scratch.free()
    return life.resume()


def scratch_fails(life: Life) -> Command:
    command = life.command()
    until_finished(command, 100)
    life.scratch.fail()
    given_up(command, "Input/output error")
    life.scratch.unmount()
    life.scratch.mount()
    return life.resume()


def scratch_read_only_at_first(life: Life) -> Command:
    life.scratch.remount("ro")
    command = life.command("--set", "runtime.storage_patience_s=300")
    until(command, lambda progress: "disk refuses" in progress["message"], "the job says so")
    life.scratch.remount("rw")
    return command


CASES: dict[str, Act] = {
    "task directory full for a while": shared_full_for_a_while,
    "task directory stays full": shared_full_for_good,
    "task directory: I/O errors, file system mounted anew": shared_fails,
    "task directory read-only": shared_read_only,
    "scratch full again and again": scratch_full_again_and_again,
    "scratch stays full": scratch_full_for_good,
    "scratch: I/O errors, file system mounted anew": scratch_fails,
    "scratch read-only at first": scratch_read_only_at_first,
}


@contextlib.contextmanager
def life_in(base: Path) -> Iterator[Life]:
    """A job on two small disks, and nothing left of them afterwards."""
    options = {"wall_s": 0.05, "output_bytes": 2000}
    toy = make_job(base, [EVENTS], PER_OUTPUT, options)
    toy.task.mkdir()
    life = Life(toy, uuid.uuid4().hex, Disk(toy.task), Disk(toy.scratch))
    with contextlib.ExitStack() as stack:
        for disk in (life.shared, life.scratch):
            disk.make(24)
            stack.callback(subprocess.run, ["umount", "--lazy", str(disk.place)], check=False, capture_output=True)
        stack.callback(lambda: [process.kill() for process in raythena_processes(life.mark)])
        yield life


def run(act: Act, base: Path) -> str:
    """One row: what is wrong, or what there is to say."""
    began = time.monotonic()
    with life_in(base) as life:
        command = act(life)
        code = command.wait(LIMIT_S)
        assert code == ExitCode.OK, f"exit code {code}: {command.errors[-500:]}"
        toy = life.toy
        assert toy.contents() == toy.expected(), "an event is lost, doubled or altered"
        assert sorted(toy.committed()) == list(range(EVENTS))
        assert not raythena_processes(life.mark), "a process is left"
        with LedgerView.read(toy.task / "ledger.sqlite") as ledger:
            kinds = [failure.kind for failure in ledger.failures()]
            final = sum(failure.final for failure in ledger.failures())
        assert not final, f"{final} events were given up"
        assert set(kinds) <= {FailureKind.SCRATCH_REFUSED, FailureKind.NODE_LOST}, f"charged: {set(kinds)}"
        sessions = len(toy.summary().sessions)
    return f"identical; {sessions} session(s), {len(kinds)} losses charged, {time.monotonic() - began:.0f} s"


def main() -> int:
    """Run the campaign; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="only rows with this in their name")
    options = parser.parse_args()
    wrong = 0
    for name, act in CASES.items():
        if options.only not in name:
            continue
        base = Path(tempfile.mkdtemp(prefix="raythena-disk-"))
        try:
            verdict = run(act, base)
            shutil.rmtree(base)
        except Exception as problem:  # noqa: BLE001 (whatever went wrong is this row's verdict, the others go on)
            verdict = f"WRONG: {type(problem).__name__}: {problem} ({base})"
            wrong += 1
        print(f"{name:<55} {verdict}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
