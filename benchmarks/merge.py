"""Merging outputs of single events: ours against ROOT's hadd, on one core.

    python benchmarks/merge.py [--events N] [--repeat N]

The outputs are HITS of the demo with made-up numbers, in groups as nodes store them. Ours reads them there and checks each;
hadd is given files that are unpacked already, which it is not charged for. Each is measured in processor time of its process,
start included, and on the clock; medians, and ratios within one run. What both made is compared, number by number. hadd is
taken from `.venv/root` (`make hadd`) and left out where there is none.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import awkward as ak
import numpy as np
import uproot

from raythena.demo import hits
from raythena.demo.event_files import OneEventWriter
from raythena.demo.tables import Event
from raythena.domain.job import MergeSpec
from raythena.domain.results import ENTRY_DTYPE, GroupReport
from raythena.runtime.merge_task import MergeOrder, merge_output
from raythena.storage.groups import Member, write_group

GROUP_EVENTS = 256
ROWS = {"particle": 250, "measurement": 2000, "collision": 25}
"""Rows of an event of the demo, in the mean."""
ROOT_ZSTD_1, ROOT_NOTHING = "-f501", "-f0"


@dataclass(frozen=True)
class Figure:
    """One way to merge. `mb_per_s` counts what is read."""

    way: str
    cpu_s: float
    wall_s: float
    events_per_cpu_s: float
    mb_per_s: float
    output_mb: float


def write_outputs(directory: Path, events: int) -> list[Path]:
    """One file for each event."""
    writer, dice, paths = OneEventWriter(hits.SCHEMA), np.random.default_rng(1), []
    for number in range(events):
        rows = {group: int(dice.poisson(mean)) for group, mean in ROWS.items()}
        columns = {
            group: {name: dice.normal(0, 100, rows[group]).astype(code) for name, code in fields.items()}
            for group, fields in hits.SCHEMA.groups.items()
        }
        paths.append(directory / f"{number:010d}")
        writer.write(paths[-1], Event({"RunNumber": np.uint32(1), "EventNumber": np.uint64(number)}, columns))
    return paths


def store(task: Path, paths: Sequence[Path]) -> tuple[GroupReport, ...]:
    """The same outputs as nodes store them."""
    groups = []
    for first in range(0, len(paths), GROUP_EVENTS):
        some = paths[first : first + GROUP_EVENTS]
        place = f"staging/{first:06d}.zip"
        written = write_group(task / place, [Member(first + number, path) for number, path in enumerate(some)])
        entries = np.zeros(len(some), ENTRY_DTYPE)
        entries["range"], entries["size"], entries["adler32"] = written.indices, written.sizes, written.adlers
        groups.append(GroupReport(place, "n", 0, place, written.size_bytes, written.adler32, entries))
    return tuple(groups)


def ours(order: MergeOrder) -> None:
    """In a process of its own, that hadd's start and ours are both counted."""
    child = os.fork()
    if child == 0:
        merge_output(order)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        raise SystemExit("our merge failed")


def measure(way: str, merge: Callable[[], Path], input_bytes: int, events: int, repeat: int) -> Figure:
    """Medians of some merges."""
    cpu, wall, output = [], [], Path()
    for _ in range(repeat):
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        output = merge()
        wall.append(time.perf_counter() - began)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    cpu_s, wall_s = statistics.median(cpu), statistics.median(wall)
    return Figure(way, cpu_s, wall_s, events / cpu_s, input_bytes / cpu_s / 1e6, output.stat().st_size / 1e6)


def check_same(one: Path, other: Path) -> None:
    """Both trees hold the same numbers under the same names."""
    with uproot.open(one) as file, uproot.open(other) as another:
        mine, theirs = file[hits.SCHEMA.tree], another[hits.SCHEMA.tree]
        if sorted(mine.keys()) != sorted(theirs.keys()):
            raise SystemExit(f"{one} and {other} have other branches")
        for name in mine.keys():  # noqa: SIM118 (a tree is no mapping)
            if not ak.array_equal(mine[name].array(), theirs[name].array(), dtype_exact=True):
                raise SystemExit(f"branch {name} of {one} and {other} differs")


def compare(directory: Path, events: int, repeat: int) -> list[Figure]:
    """Merge the same outputs in every way."""
    (directory / "in").mkdir()
    paths = write_outputs(directory / "in", events)
    task = directory / "task"
    groups = store(task, paths)
    size = sum(path.stat().st_size for path in paths)
    (directory / "list").write_text("\n".join(map(str, paths)))
    programs = sorted(Path(sys.prefix, "root").glob("lib/python3*/site-packages/ROOT/bin/hadd"))
    figures = []

    def stored(kind: str, name: str, **options: str) -> Path:
        guid = "0B6C2D2E-6E0B-4E5C-8A4C-5B1B6A1C7D11"
        places = (str(task), "s", str(directory))
        ours(MergeOrder(*places, 0, name, guid, MergeSpec(kind, options), groups, events, (), f"outputs/{name}"))
        return task / "outputs" / name

    def hadd(setting: str) -> Path:
        output = directory / f"hadd{setting}.root"
        subprocess.run([str(programs[0]), "-v", "0", setting, str(output), f"@{directory / 'list'}"], check=True)
        return output

    for compression, setting in (("zstd", ROOT_ZSTD_1), ("none", ROOT_NOTHING)):
        name = f"{compression}.root"
        figures.append(
            measure(f"ours, {compression}", lambda c=compression, n=name: stored("root", n, compression=c), size, events, repeat)
        )
        if programs:
            figures.append(measure(f"hadd, {compression}", lambda s=setting: hadd(s), size, events, repeat))
            check_same(task / "outputs" / name, directory / f"hadd{setting}.root")
    return figures


def main() -> None:
    """Print a table, and the same as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--events", type=int, default=1000)
    parser.add_argument("--repeat", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="raythena-bench-") as name:
        figures = compare(Path(name), asked.events, asked.repeat)
    print(f"{asked.events:,} events of the demo's HITS, medians of {asked.repeat}; rates in processor time")
    for figure in figures:
        print(
            f"{figure.way:12} {figure.events_per_cpu_s:8,.0f} events/s {figure.mb_per_s:7,.0f} MB/s "
            f"{figure.wall_s:7.2f} s on the clock, {figure.output_mb:6,.1f} MB"
        )
    rates = {figure.way: figure.events_per_cpu_s for figure in figures}
    for compression in ("zstd", "none"):
        if f"hadd, {compression}" in rates:
            ratio = rates[f"ours, {compression}"] / rates[f"hadd, {compression}"]
            print(f"{compression}: {ratio:.2f} times hadd's rate, contents equal")
    print(json.dumps([asdict(figure) for figure in figures]))


if __name__ == "__main__":
    main()
