"""What a node has left and what processes take, from made-up and real files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from raythena.runtime.node_memory import NodeMemory

MB = 1 << 20
MEMINFO = "MemTotal:  16384 kB\nMemFree:  1024 kB\nMemAvailable:  8192 kB\n"


def made_up(directory, cgroup, files, meminfo=MEMINFO):
    proc, groups = directory / "proc", directory / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "self" / "cgroup").write_text(cgroup)
    (proc / "meminfo").write_text(meminfo)
    (proc / "vmstat").write_text("pgfault 3\noom_kill 7\n")
    for name, text in files.items():
        path = groups / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return NodeMemory(proc, groups)


def test_a_machine_without_control_groups(tmp_path):
    memory = made_up(tmp_path, "", {})
    assert memory.total_and_available() == (16 * MB, 8 * MB)
    assert memory.kills() == 7


V2 = {
    "job/memory.max": f"{4 * MB}\n",
    "job/memory.current": f"{3 * MB}\n",
    "job/memory.stat": f"anon 5\ninactive_file {MB // 2}\n",
    "job/memory.events": "low 0\noom_kill 2\n",
    "job/step/memory.max": "max\n",
    "job/step/memory.current": f"{MB}\n",
    "job/step/memory.events": "oom_kill 1\n",
}


def test_the_limit_of_a_control_group_above_ours_counts(tmp_path):
    memory = made_up(tmp_path, "0::/job/step\n", V2)
    assert memory.total_and_available() == (4 * MB, MB + MB // 2), "files that can be dropped are no memory in use"
    assert memory.kills() == 2


def test_in_a_container_the_uppermost_group_stands_for_all(tmp_path):
    files = {"memory.max": f"{2 * MB}\n", "memory.current": f"{MB}\n"}
    assert made_up(tmp_path, "0::/../elsewhere\n", files).total_and_available() == (2 * MB, MB)


def test_the_first_version_of_control_groups(tmp_path):
    files = {
        "memory/slurm/job_7/memory.limit_in_bytes": f"{5 * MB}\n",
        "memory/slurm/job_7/memory.usage_in_bytes": f"{4 * MB}\n",
        "memory/slurm/job_7/memory.stat": f"cache 1\ntotal_inactive_file {MB}\n",
        "memory/slurm/job_7/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
        "memory/memory.limit_in_bytes": "9223372036854771712\n",
        "memory/memory.usage_in_bytes": f"{12 * MB}\n",
    }
    memory = made_up(tmp_path, "5:cpu:/x\n4:memory:/slurm/job_7\n0::/\n", files)
    assert memory.total_and_available() == (5 * MB, 2 * MB)
    assert memory.kills() == 3


def test_a_group_that_has_taken_too_much_has_nothing_left(tmp_path):
    files = {"memory.max": "100\n", "memory.current": "200\n"}
    assert made_up(tmp_path, "0::/\n", files).total_and_available() == (100, 0)


@pytest.mark.parametrize("text", ["", "garbage\n", "MemTotal: x kB\n"])
def test_files_nobody_understands_are_no_error(tmp_path, text):
    memory = made_up(tmp_path, "0::/\n", {"memory.max": "?", "memory.current": ""}, text)
    assert memory.total_and_available() == (0, None)


def test_nothing_at_all(tmp_path):
    memory = NodeMemory(tmp_path / "no", tmp_path / "none")
    assert memory.total_and_available() == (0, None)
    assert memory.kills() == 0
    assert memory.of_process(1) == 0
    memory.mark_expendable(1)


HUNGRY = "import os, sys; block = bytearray(int(sys.argv[1])); {}; print('up', flush=True); sys.stdin.read()"


def test_a_process_with_all_below_it():
    """Forked copies share what they do not write to; it counts once."""
    code = HUNGRY.format("os.fork()")
    with subprocess.Popen([sys.executable, "-c", code, str(80 * MB)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline(), process.stdout.readline()
        memory = NodeMemory()
        taken = memory.of_trees([process.pid])[process.pid]
        memory.mark_expendable(process.pid)
        assert int(Path(f"/proc/{process.pid}/oom_score_adj").read_text()) > 0
        process.stdin.close()
        process.wait(30)
    assert 80 * MB < taken < 140 * MB
    assert NodeMemory().of_process(process.pid) == 0


def test_this_machine_says_what_it_has():
    total, available = NodeMemory().total_and_available()
    assert 0 < available <= total
    assert NodeMemory().of_process(os.getpid()) > MB
