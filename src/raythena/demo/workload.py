"""The demo as two jobs: generated events in, HITS out; HITS in, AOD out.

Some whole input files go into each HITS file (N→1), or an input is split over several (1→N), as `events_per_output` says. The
second job takes the merged outputs of the first one, as its ledger knows them.
"""

from __future__ import annotations

from pathlib import Path

from raythena.demo import evnt
from raythena.demo.extra import optional
from raythena.domain.errors import InvalidInput
from raythena.domain.job import InputFile, Job, MergeSpec, PayloadSpec
from raythena.domain.outputs import OutputMap
from raythena.storage.ledger import Ledger
from raythena.storage.taskdir import TaskDirectory

DEFAULT_EVENTS = 400
DEFAULT_FILES = 4
DEFAULT_EVENTS_PER_OUTPUT = 200
DEFAULT_SEED = 20240611
NEEDED = ("acts.examples", "fastjet")
"""What the jobs will import in other processes, beside what generates the events."""


def prepare_demo(
    directory: Path,
    *,
    events: int = DEFAULT_EVENTS,
    files: int = DEFAULT_FILES,
    events_per_output: int = DEFAULT_EVENTS_PER_OUTPUT,
    seed: int = DEFAULT_SEED,
    pileup: float = evnt.DEFAULT_PILEUP,
    processes: int | None = None,
) -> Job:
    """Generate the EVNT files in `directory` (those that are not there yet) and return the job that simulates them.

    `pileup` is the mean number of soft collisions in an event and sets what it costs, `processes` is how many files are generated
    at a time. Raises InvalidInput when the numbers don't fit each other or the demo's libraries are not installed.
    """
    if files < 1 or events < files or events % files:
        raise InvalidInput(
            "demo", "events", f"{events} events cannot be spread evenly over {files} files", expected="a multiple of it"
        )
    if events_per_output < 1:
        raise InvalidInput("demo", "events_per_output", f"is {events_per_output}", expected="at least 1")
    recipes = evnt.plan(files, events // files, seed, pileup=pileup)
    for module in NEEDED:
        optional(module)
    paths = evnt.generate(directory.resolve(), files, events // files, seed, pileup=pileup, processes=processes)
    inputs = tuple(
        InputFile(lfn=recipe.name, pfn=str(path), n_events=recipe.events, guid=recipe.guid, size_bytes=path.stat().st_size)
        for recipe, path in zip(recipes, paths, strict=True)
    )
    return _job("simulation", "HITS", inputs, events_per_output)


def reconstruction_job(simulation: Job, task: TaskDirectory) -> Job:
    """The job that reconstructs what `simulation` left in its task directory. Raises StorageError, LedgerError."""
    with Ledger.read(task.ledger) as view:
        merged = {one.output: one for one in view.outputs() if one.stream == 0}
    inputs = tuple(
        InputFile(
            lfn=simulation.outputs[number],
            pfn=str(task.outputs / simulation.outputs[number]),
            n_events=one.n_events,
            guid=one.guid,
            size_bytes=one.size_bytes,
            checksum=f"ad:{one.adler32:08x}",
        )
        for number, one in sorted(merged.items())
        if one.n_events
    )
    return _job("reconstruction", "AOD", inputs, simulation.events_per_output)


def _job(step: str, kind: str, inputs: tuple[InputFile, ...], events_per_output: int) -> Job:
    n_outputs = OutputMap.plan([file.n_events for file in inputs], events_per_output).n_outputs
    return Job(
        name=f"demo-{step}",
        inputs=inputs,
        outputs=tuple(f"{kind}.{number:06d}.root" for number in range(1, n_outputs + 1)),
        payload=PayloadSpec("python", {"function": f"raythena.demo.{step}:process", "setup": f"raythena.demo.{step}:setup"}),
        merge=MergeSpec("root"),
        events_per_output=events_per_output,
    )
