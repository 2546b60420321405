"""A disk that breaks under the coordinator: nothing is acknowledged that is not there when the disk is back.

The disk is an ext4 file system in a file. It can be told to shut down: then every access is an I/O error and what was not
synchronised is gone, as in a power cut. That takes root and a loop device. The coordinator lives in a process of its own, because
a dead file system is kept busy by whoever has a file open on it.
"""

from __future__ import annotations

import asyncio
import fcntl
import multiprocessing
import os
import struct
import subprocess

import numpy as np
import pytest

from needed_programs import need
from raythena.domain.errors import ExitCode
from raythena.domain.job import InputFile, Job, MergeSpec, PayloadSpec
from raythena.engine.node_messages import NodeMessage
from raythena.runtime.coordinator import Coordinator
from raythena.runtime.session_config import SessionConfig
from raythena.storage.ledger import Ledger
from raythena.testing.simulation.samples import group_of

EXT4_SHUTDOWN = 0x8004587D
"""EXT4_IOC_SHUTDOWN: _IOR('X', 125, __u32)."""
WITHOUT_THE_LOG = 2
NOTHING = np.empty(0, dtype=np.int64)
JOB = Job("toy", (InputFile("f.evnt", "/f.evnt", 100),), ("OUT",), PayloadSpec("python"), MergeSpec(), 100)


class BrittleDisk:
    """An ext4 file system that can be made to fail, and mounted anew."""

    def __init__(self, directory):
        self.place, self._image = directory / "task", directory / "image"

    def make(self):
        with self._image.open("wb") as stream:
            stream.truncate(16 << 20)
        self.place.mkdir()
        self._run("mkfs.ext4", "-q", self._image)
        self.mount()

    def mount(self):
        self._run("mount", "-o", "loop", self._image, self.place)

    def unmount(self):
        self._run("umount", self.place)

    def fail(self):
        directory = os.open(self.place, os.O_RDONLY)
        try:
            fcntl.ioctl(directory, EXT4_SHUTDOWN, struct.pack("I", WITHOUT_THE_LOG))
        finally:
            os.close(directory)

    def _run(self, *command):
        subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def disk(tmp_path):
    need("mkfs.ext4", "mount")
    brittle = BrittleDisk(tmp_path)
    try:
        brittle.make()
    except (OSError, subprocess.CalledProcessError) as problem:
        pytest.skip(f"no file system can be made and mounted here: {getattr(problem, 'stderr', problem)}")
    yield brittle
    brittle.unmount()


async def work_until_it_breaks(disk):
    """Groups are reported one by one; the disk breaks after the third. Those acknowledged, how much was leased then, the end."""
    config = SessionConfig("s1", str(disk.place), JOB, commit_interval_s=0.0, storage_patience_s=2.0)

    async def no_merge(order):
        raise AssertionError("nothing is to be merged here")

    coordinator = await Coordinator.take_over(config, no_merge)
    coordinator.register("n.1", 1, NOTHING)
    acknowledged, leased_after = [], 0
    for sequence in range(1, 10**6):
        groups = (group_of(f"g{sequence}", "n.1", 0, [sequence - 1]),) if sequence <= 5 else ()
        reply = coordinator.exchange(
            NodeMessage(
                node="n.1",
                sequence=sequence,
                groups=groups,
                failures=(),
                returned=NOTHING,
                queued=0,
                running=(),
                waiting=(),
                unreported=1,
            )
        )
        acknowledged += reply.acknowledged
        if sequence > 10 and coordinator.progress().message.startswith("the disk refuses"):
            leased_after += sum(map(len, reply.leases))
        if coordinator.over:
            break
        while sequence <= 3 and len(acknowledged) + coordinator.progress().stored < 2 * sequence - 1:  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # one group after the other
        if sequence == 3:
            disk.fail()
        await asyncio.sleep(0.01)
    return acknowledged, leased_after, await coordinator.ended()


def in_a_process(disk, told):
    acknowledged, leased_after, result = asyncio.run(work_until_it_breaks(disk))
    told.put((acknowledged, leased_after, result.exit_code, result.reason))


def test_what_was_acknowledged_is_there_when_the_disk_is_back(disk):
    context = multiprocessing.get_context("spawn")
    told = context.Queue()
    process = context.Process(target=in_a_process, args=(disk, told))
    process.start()
    acknowledged, leased_after, exit_code, reason = told.get(timeout=120)
    process.join(60)
    assert exit_code is ExitCode.STORAGE
    assert "refused" in reason
    assert leased_after == 0
    disk.unmount()
    disk.mount()
    ledger = Ledger.open(disk.place / "ledger.sqlite", JOB)
    stored = {group.name for group in ledger.restore().groups}
    ledger.close()
    assert {"g1", "g2"} <= stored <= {"g1", "g2", "g3"}
    assert set(acknowledged) <= stored
