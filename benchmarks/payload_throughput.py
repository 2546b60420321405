"""How many zero-cost events per second a payload passes, and what each costs: agent's side and workers' side.

    python benchmarks/payload_throughput.py [--events N] [--cores N] [--agents N]

Prints one line per kind of payload. An agent is a process of its own here, as in a real job; nothing is written but the
workers' outputs. The C++ figures need g++.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raythena.domain.ranges import EventRange
from raythena.runtime.payload_interface import Done, LeasedRange, PayloadContext, Started, payload_plugin

ROOT = Path(__file__).resolve().parents[1]
PYTHON_PROGRAM = "from raythena.client import EventServer\nfor event in EventServer(): event.done_bytes(b'0123456789')\n"


def process_bytes(event_range: EventRange, context: Any) -> bytes:
    """An event that costs nothing and goes into the spool."""
    return b"0123456789"


def process_file(event_range: EventRange, context: Any) -> Path:
    """An event that costs nothing but a file of its own."""
    path: Path = context.new_output()
    path.write_bytes(b"0123456789")
    return path


@dataclass(frozen=True)
class Figures:
    """What one agent measured."""

    events: int
    wall_s: float
    agent_cpu_s: float
    worker_cpu_s: float


async def drive(kind: str, options: dict[str, Any], events: int, cores: int, directory: Path) -> Figures:
    """Pass `events` events through one payload; outputs are removed as an agent would."""
    payload = payload_plugin(kind).factory()
    await payload.start(PayloadContext("bench", cores, directory / "scratch", options, "bench", directory / "logs"))
    fed = done = 0
    begin, cpu = time.perf_counter(), time.process_time()
    while done < events:
        count = min(payload.appetite, events - fed)
        if count:
            payload.feed(
                [LeasedRange(n, EventRange(f"EVNT-{n}", "EVNT", "/EVNT", "guid", n, n)) for n in range(fed, fed + count)]
            )
            fed += count
        outcomes = [outcome for outcome in await payload.poll(1.0) if not isinstance(outcome, Started)]
        failures = [outcome for outcome in outcomes if not isinstance(outcome, Done)]
        if failures:
            raise SystemExit(f"an event came to grief: {failures[0]}")
        for outcome in outcomes:
            if outcome.whole_file:
                outcome.path.unlink()
        payload.collected([outcome.path for outcome in outcomes if not outcome.whole_file])
        done += len(outcomes)
    wall_s, agent_cpu_s = time.perf_counter() - begin, time.process_time() - cpu
    await payload.drain(10.0)
    await payload.stop()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Figures(events, wall_s, agent_cpu_s, used.ru_utime + used.ru_stime)


def agent(kind: str, options: dict[str, Any], events: int, cores: int) -> Figures:
    """One agent process."""
    with tempfile.TemporaryDirectory() as directory:
        return asyncio.run(drive(kind, options, events, cores, Path(directory)))


def measure(kind: str, options: dict[str, Any], settings: argparse.Namespace) -> tuple[float, float, float]:
    """(events per second of all agents together, agent's microseconds per event, workers' microseconds per event)."""
    share = settings.events // settings.agents
    context = multiprocessing.get_context("spawn")
    with context.Pool(settings.agents, maxtasksperchild=1) as pool:
        figures = pool.starmap(agent, [(kind, options, share, settings.cores)] * settings.agents, chunksize=1)
    total = sum(figure.events for figure in figures)
    rate = total / max(figure.wall_s for figure in figures)
    return rate, *(1e6 * sum(column) / total for column in zip(*((f.agent_cpu_s, f.worker_cpu_s) for f in figures), strict=True))


def subjects(directory: Path) -> list[tuple[str, str, dict[str, Any]]]:
    """(name, kind, options) of everything measured."""
    place = str(Path(__file__).parent)
    found: list[tuple[str, str, dict[str, Any]]] = [
        ("python, bytes", "python", {"function": "payload_throughput:process_bytes", "path": [place]}),
        ("python, files", "python", {"function": "payload_throughput:process_file", "path": [place]}),
        ("process, Python client, spool", "process", {"command": [sys.executable, "-c", PYTHON_PROGRAM]}),
    ]
    if shutil.which("g++"):
        program = directory / "event_loop"
        include = ROOT / "src/raythena/payloads/include"
        source = ROOT / "examples/cpp/event_loop.cpp"
        subprocess.run(["g++", "-std=c++17", "-O2", f"-I{include}", "-o", str(program), str(source), "-pthread"], check=True)
        for mode in ("spool", "file"):
            found.append((f"process, C++ client, {mode}", "process", {"command": [str(program), "--mode", mode]}))
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--cores", type=int, default=1, help="workers per agent")
    parser.add_argument("--agents", type=int, default=2, help="payloads side by side")
    settings = parser.parse_args(arguments)
    print(f"{settings.agents} agents with {settings.cores} workers each, {settings.events:,} events")
    print(f"{'payload':32} {'events/s':>10} {'agent µs':>9} {'worker µs':>10}")
    with tempfile.TemporaryDirectory() as directory:
        for name, kind, options in subjects(Path(directory)):
            rate, agent_us, worker_us = measure(kind, options, settings)
            print(f"{name:32} {rate:10,.0f} {agent_us:9.1f} {worker_us:10.1f}", flush=True)


if __name__ == "__main__":
    main()
