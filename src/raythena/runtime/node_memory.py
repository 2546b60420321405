"""How much memory a node has left, and how much its processes take. Reads /proc and /sys, never raises for what is not there.

What a node has is what its machine has, or less where the batch system or a container has put us into a control group with a
limit, of either version and at any level. Pages of files that can be dropped at once count as available. What a process takes is
its share of memory that is no file: pages that forked workers share are divided among them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from raythena.runtime.process_guard_main import living_processes

_EXPENDABLE = "800"
_UNLIMITED = 1 << 60
"""Version 1 has no word for it, only a very large number."""


@dataclass(frozen=True, slots=True)
class _Version:
    """How the files of a version of control groups are called."""

    limit: str
    used: str
    droppable: str
    events: str


_V1 = _Version("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file", "memory.oom_control")
_V2 = _Version("memory.max", "memory.current", "inactive_file", "memory.events")


class NodeMemory:
    """The memory of the machine this process runs on."""

    def __init__(self, proc: Path = Path("/proc"), control_groups: Path = Path("/sys/fs/cgroup")) -> None:
        self._proc = proc
        self._control_groups = control_groups

    def total_and_available(self) -> tuple[int, int | None]:
        """Bytes that may be used altogether, and how many of them are left; 0 and None where that is not known."""
        machine = _table(self._proc / "meminfo", 1024)
        total, available = machine.get("MemTotal", 0), machine.get("MemAvailable")
        for directory, version in self._groups():
            limit, used = _number(directory / version.limit), _number(directory / version.used)
            if limit is None or used is None or limit >= _UNLIMITED:
                continue
            left = max(0, limit - used + _table(directory / "memory.stat").get(version.droppable, 0))
            total, available = min(total or limit, limit), left if available is None else min(available, left)
        return total, available

    def kills(self) -> int:
        """How often the kernel has killed for want of memory: in our control groups, or on the machine if there are none."""
        counts = [_table(directory / version.events).get("oom_kill", 0) for directory, version in self._groups()]
        return max(counts, default=0) or _table(self._proc / "vmstat").get("oom_kill", 0)

    def of_trees(self, roots: Iterable[int]) -> dict[int, int]:
        """Bytes that each process takes, with all below it."""
        children: dict[int, list[int]] = {}
        for pid, parent in living_processes():
            children.setdefault(parent, []).append(pid)
        return {root: sum(self.of_process(pid) for pid in _below(root, children)) for root in roots}

    def of_process(self, pid: int) -> int:
        """Bytes that a process takes; 0 when it is gone or not ours."""
        sizes = _table(self._proc / str(pid) / "smaps_rollup", 1024)
        if "Pss_Anon" in sizes:  # Linux 5.4 and later
            return sizes["Pss_Anon"] + sizes.get("Pss_Shmem", 0) + sizes.get("SwapPss", 0)
        return sizes.get("Pss", 0) + sizes.get("SwapPss", 0)

    def mark_expendable(self, pid: int) -> None:
        """Should the kernel have to kill, it takes this process before those that keep the job going."""
        with contextlib.suppress(OSError):
            (self._proc / str(pid) / "oom_score_adj").write_text(_EXPENDABLE)

    def _groups(self) -> Iterator[tuple[Path, _Version]]:
        """Our control group and those above it; in a container the uppermost one that can be seen stands for all."""
        for line in _text(self._proc / "self" / "cgroup").splitlines():
            number, controllers, path = line.split(":", 2)
            if number != "0" and "memory" not in controllers.split(","):
                continue
            version = _V2 if number == "0" else _V1
            base = self._control_groups if version is _V2 else self._control_groups / "memory"
            inner = [part for part in path.split("/") if part not in ("", "..")]
            for depth in range(len(inner), -1, -1):
                directory = base.joinpath(*inner[:depth])
                if (directory / version.used).exists():
                    yield directory, version


def _below(root: int, children: dict[int, list[int]]) -> list[int]:
    found = [root]
    for pid in found:
        found.extend(children.get(pid, ()))
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdigit() else None


def _table(path: Path, unit: int = 1) -> dict[str, int]:
    """Lines of a name and a number."""
    rows = (line.replace(":", " ").split() for line in _text(path).splitlines())
    return {row[0]: int(row[1]) * unit for row in rows if len(row) > 1 and row[1].isdigit()}
