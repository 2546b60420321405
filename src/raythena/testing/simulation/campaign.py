"""Very many seeds, on all cores of this machine, and what came of them.

Seeds are tried in portions by processes of their own; what a portion comes to is a `Tally`, and tallies add up. A seed that
breaks a promise is told in full, with a simpler site that breaks it too.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice

from raythena.testing.simulation.draw import Size, draw
from raythena.testing.simulation.judge import PromiseBroken
from raythena.testing.simulation.plan import pasted
from raythena.testing.simulation.shrink import shrink
from raythena.testing.simulation.site import simulate
from raythena.testing.simulation.site_parts import Parts

_PORTION = 50
_SHRUNK_PER_PORTION = 2
"""More would only repeat the same mistake, slowly."""


@dataclass(frozen=True)
class Broken:
    """A seed that broke a promise, and its story."""

    seed: int
    story: str


@dataclass
class Tally:
    """What many schedules came to. `cpu_s` is processor time, `virtual_s` simulated time, both in seconds."""

    schedules: int = 0
    events: int = 0
    merged: int = 0
    failed: int = 0
    sessions: int = 0
    steps: int = 0
    virtual_s: float = 0.0
    cpu_s: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    broken: list[Broken] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Count the schedules of `other` too."""
        for name in ("schedules", "events", "merged", "failed", "sessions", "steps", "virtual_s", "cpu_s"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.faults.update(other.faults)
        self.broken += other.broken


def run_campaign(
    first: int, count: int, size: Size, processes: int, on_progress: Callable[[Tally], None] = lambda tally: None
) -> Tally:
    """Try the seeds `first` to `first + count - 1`. `on_progress` is called with what there is so far, now and then."""
    portions = ((start, min(_PORTION, first + count - start), size) for start in range(first, first + count, _PORTION))
    total = Tally()
    for tally in _worked_off(portions, min(processes, -(-count // _PORTION))):
        total.add(tally)
        on_progress(total)
    total.broken.sort(key=lambda broken: broken.seed)
    return total


def _worked_off(portions: Iterator[tuple[int, int, Size]], processes: int) -> Iterator[Tally]:
    if processes <= 1:
        yield from (try_seeds(*portion) for portion in portions)
        return
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), end_with_parent) as pool:
        running = {pool.submit(try_seeds, *portion) for portion in islice(portions, 2 * processes)}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            running |= {pool.submit(try_seeds, *portion) for portion in islice(portions, len(done))}
            yield from (future.result() for future in done)


def end_with_parent() -> None:
    """Have this process end when the one that started it does, however that ends: a pool by itself would work on for nobody."""
    threading.Thread(target=_outlive_nobody, daemon=True).start()


def _outlive_nobody() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def try_seeds(first: int, count: int, size: Size, parts: Parts | None = None) -> Tally:
    """Try some seeds here and now."""
    began = time.process_time()
    tally = Tally()
    for seed in range(first, first + count):
        tally.schedules += 1
        plan = draw(seed, size)
        try:
            result = simulate(seed, plan, parts)
        except PromiseBroken as broken:
            tally.broken.append(Broken(seed, _story(seed, size, broken, parts, shorten=len(tally.broken) < _SHRUNK_PER_PORTION)))
            continue
        tally.events += result.events
        tally.merged += result.merged
        tally.failed += result.failed
        tally.sessions += result.sessions
        tally.steps += result.steps
        tally.virtual_s += result.makespan_s
        tally.faults.update(result.faults)
    tally.cpu_s = time.process_time() - began
    return tally


def _story(seed: int, size: Size, broken: PromiseBroken, parts: Parts | None, *, shorten: bool) -> str:
    plan, again = draw(seed, size), command_for(seed, size)
    if not shorten:
        return f"{broken.promise}\n\nAgain: {again}"
    simplest_seed, smaller, simplest = shrink(seed, plan, broken, parts)
    told = str(simplest).rpartition("\n\nAgain: ")[0]
    line = f"from raythena.testing.simulation import *; simulate({simplest_seed}, {pasted(smaller)})"
    return f"{told}\n\nAgain: {again}\nSimpler, the story above: python -c '{line}'"


def command_for(seed: int, size: Size) -> str:
    """The shell command that tries this seed once more."""
    options = [f" --{name} {value}" for name in ("nodes", "cores", "events") if (value := getattr(size, name))]
    faults = "" if set(size.kinds) == set(Size().kinds) else f" --faults {','.join(size.kinds) or 'none'}"
    return f"raythena simulate --first {seed} --seeds 1{''.join(options)}{faults}"
