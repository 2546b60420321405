"""The demo as a job: generated events in, the promised HITS files out.

Some whole input files go into each output file (N→1), or an input is split over several (1→N), as `events_per_output` says.
"""

from __future__ import annotations

from pathlib import Path

from raythena.demo import evnt
from raythena.demo.simulation import setup
from raythena.domain.errors import InvalidInput
from raythena.domain.job import InputFile, Job, MergeSpec, PayloadSpec
from raythena.domain.outputs import OutputMap

DEFAULT_EVENTS = 600
DEFAULT_FILES = 4
DEFAULT_EVENTS_PER_OUTPUT = 300
DEFAULT_SEED = 20240611


def prepare_demo(
    directory: Path,
    *,
    events: int = DEFAULT_EVENTS,
    files: int = DEFAULT_FILES,
    events_per_output: int = DEFAULT_EVENTS_PER_OUTPUT,
    seed: int = DEFAULT_SEED,
    cost: float = 1.0,
    processes: int | None = None,
) -> Job:
    """Generate the EVNT files in `directory` (those that are not there yet) and return the job that simulates them.

    `cost` scales the CPU time of an event, `processes` is how many files are generated at a time. Raises InvalidInput when the
    numbers don't fit each other or the demo's libraries are not installed.
    """
    if files < 1 or events < files or events % files:
        raise InvalidInput(
            "demo", "events", f"{events} events cannot be spread evenly over {files} files", expected="a multiple of it"
        )
    if events_per_output < 1:
        raise InvalidInput("demo", "events_per_output", f"is {events_per_output}", expected="at least 1")
    setup({"cost": cost})
    recipes = evnt.plan(files, events // files, seed)
    paths = evnt.generate(directory.resolve(), files, events // files, seed, processes=processes)
    inputs = tuple(
        InputFile(lfn=recipe.name, pfn=str(path), n_events=recipe.events, guid=recipe.guid, size_bytes=path.stat().st_size)
        for recipe, path in zip(recipes, paths, strict=True)
    )
    n_outputs = OutputMap.plan([file.n_events for file in inputs], events_per_output).n_outputs
    return Job(
        name="demo",
        inputs=inputs,
        outputs=tuple(f"HITS.{number:06d}.root" for number in range(1, n_outputs + 1)),
        payload=PayloadSpec("python", simulation_options(cost)),
        merge=MergeSpec("root"),
        events_per_output=events_per_output,
    )


def simulation_options(cost: float) -> dict[str, object]:
    """Options of payload `python` that make it run the demo's simulation."""
    return {
        "function": "raythena.demo.simulation:process",
        "setup": "raythena.demo.simulation:setup",
        "options": {"cost": cost},
    }
