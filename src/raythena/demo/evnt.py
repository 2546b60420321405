"""EVNT files: proton-proton collisions from Pythia 8, as the demo's input.

Hard QCD scattering at 13.6 TeV with charm, beauty and jets above 30 GeV, with showers, underlying event and hadronisation. What
a detector could see of an event, its stable particles, goes into one entry of tree `EVNT`. Units are GeV and millimetres.

Rules: a file depends on the seed and its own number only, so files can be generated side by side and a lost one again by
itself; event numbers are unique over all files of a task and rise with them; a file that is there and matches the manifest is not
made again.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import zlib
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import numpy as np

from raythena.demo.extra import optional
from raythena.demo.tables import Schema, Table, group_of, write_table
from raythena.domain.errors import InvalidInput

SCHEMA = Schema(
    tree="EVNT",
    scalars={"RunNumber": "u4", "EventNumber": "u8", "GeneratorSeed": "i4", "ProcessCode": "i4", "Weight": "f8"},
    groups={
        "particle": {"pdgId": "i4", "px": "f4", "py": "f4", "pz": "f4", "e": "f4", "vx": "f4", "vy": "f4", "vz": "f4"},
    },
)
DEFAULT_RUN_NUMBER = 450000
PHYSICS = ("Beams:eCM = 13600.", "HardQCD:all = on", "PhaseSpace:pTHatMin = 30.")
MANIFEST = "EVNT.manifest.json"
_LARGEST_PYTHIA_SEED = 900_000_000


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything the content of one EVNT file depends on. `number` counts the files of the task from 1."""

    number: int
    events: int
    seed: int
    run_number: int
    physics: tuple[str, ...] = PHYSICS

    @property
    def name(self) -> str:
        """LFN of the file."""
        return f"EVNT.{self.number:06d}.root"

    @property
    def guid(self) -> str:
        """The same recipe has the same GUID, wherever it is cooked."""
        return str(uuid5(NAMESPACE_URL, json.dumps(asdict(self), sort_keys=True))).upper()

    @property
    def generator_seed(self) -> int:
        """Pythia's own seed: between 1 and 900,000,000, where 0 would mean the clock."""
        drawn = int(np.random.SeedSequence([self.seed, self.number]).generate_state(1)[0])
        return 1 + drawn % (_LARGEST_PYTHIA_SEED - 1)

    @property
    def first_event_number(self) -> int:
        """EventNumber of the first event."""
        return 1 + (self.number - 1) * self.events


def generate(
    directory: Path,
    files: int,
    events_per_file: int,
    seed: int,
    *,
    run_number: int = DEFAULT_RUN_NUMBER,
    processes: int | None = None,
) -> list[Path]:
    """Make sure that `files` EVNT files of `events_per_file` events each are in `directory`, and return their paths in order.

    `processes` files are generated at the same time, by default one for each core. Raises InvalidInput for impossible numbers and
    when Pythia is not installed.
    """
    recipes = plan(files, events_per_file, seed, run_number)
    directory.mkdir(parents=True, exist_ok=True)
    known = _read_manifest(directory)
    missing = [recipe for recipe in recipes if not _is_there(directory, recipe, known)]
    for recipe, checksum in zip(missing, _cook_all(directory, missing, processes), strict=True):
        known[recipe.name] = {"guid": recipe.guid, "adler32": checksum}
    if missing:
        _write_manifest(directory, known)
    return [directory / recipe.name for recipe in recipes]


def plan(files: int, events_per_file: int, seed: int, run_number: int = DEFAULT_RUN_NUMBER) -> list[Recipe]:
    """The recipes of a task. Raises InvalidInput for impossible numbers."""
    for name, value, least in (("files", files, 1), ("events_per_file", events_per_file, 1), ("seed", seed, 0)):
        if value < least:
            raise InvalidInput("demo", name, f"is {value}", expected=f"at least {least}")
    return [Recipe(number, events_per_file, seed, run_number) for number in range(1, files + 1)]


def _cook_all(directory: Path, recipes: Sequence[Recipe], processes: int | None) -> list[int]:
    if recipes:
        optional("pythia8mc")
    paths = [directory / recipe.name for recipe in recipes]
    workers = min(len(recipes), processes or len(os.sched_getaffinity(0)))
    if workers <= 1:
        return [cook(recipe, path) for recipe, path in zip(recipes, paths, strict=True)]
    # Fresh interpreters, not forks: the caller may be drawing a live display from another thread.
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        return list(pool.map(cook, recipes, paths))


def cook(recipe: Recipe, path: Path) -> int:
    """Generate one file and return its adler32."""
    pythia = _pythia(recipe)
    events = [_next_event(pythia) for _ in range(recipe.events)]
    numbers = recipe.first_event_number + np.arange(recipe.events)
    scalars = {
        "RunNumber": np.full(recipe.events, recipe.run_number),
        "EventNumber": numbers,
        "GeneratorSeed": np.full(recipe.events, recipe.generator_seed),
        "ProcessCode": np.array([code for code, _, _ in events]),
        "Weight": np.array([weight for _, weight, _ in events]),
    }
    fields = SCHEMA.groups["particle"]
    rows = [dict(zip(fields, particles, strict=True)) for _, _, particles in events]
    write_table(path, SCHEMA, Table(scalars, {"particle": group_of(rows, fields)}), guid=recipe.guid)
    return zlib.adler32(path.read_bytes())


def _pythia(recipe: Recipe) -> Any:
    settings = ("Print:quiet = on", "Random:setSeed = on", f"Random:seed = {recipe.generator_seed}", *recipe.physics)
    pythia = optional("pythia8mc").Pythia(str(_particle_data()), False)
    for setting in settings:
        if not pythia.readString(setting):
            raise InvalidInput("demo", "physics", f"Pythia does not understand {setting!r}")
    if not pythia.init():
        raise InvalidInput("demo", "physics", "Pythia could not be initialised", hint="its own messages are above")
    return pythia


def _particle_data() -> Path:
    """Pythia's data files, which its wheel installs beside the packages and does not find by itself."""
    place = Path(os.environ.get("PYTHIA8DATA") or Path(sys.prefix, "share", "Pythia8", "xmldoc"))
    if not (place / "Index.xml").is_file():
        raise InvalidInput(str(place), "", "Pythia's data files are not there", hint="say where in the environment: PYTHIA8DATA")
    return place


def _next_event(pythia: Any) -> tuple[int, float, np.ndarray[Any, np.dtype[np.float64]]]:
    """(process code, weight, one row per column of `particle`) of the next event.

    Pythia gives up on one event in thousands; on a hundred in a row only when its settings make no sense: InvalidInput.
    """
    if not any(pythia.next() for _ in range(100)):
        raise InvalidInput("demo", "physics", "Pythia fails to generate events", hint="its own messages are above")
    stable = [(p.id(), p.px(), p.py(), p.pz(), p.e(), p.xProd(), p.yProd(), p.zProd()) for p in pythia.event if p.status() > 0]
    info = pythia.infoPython()
    return info.code(), info.weight(), np.array(stable, dtype=np.float64).T


def _is_there(directory: Path, recipe: Recipe, known: dict[str, Any]) -> bool:
    entry, path = known.get(recipe.name), directory / recipe.name
    if not isinstance(entry, dict) or entry.get("guid") != recipe.guid or not path.is_file():
        return False
    return bool(entry.get("adler32") == zlib.adler32(path.read_bytes()))


def _read_manifest(directory: Path) -> dict[str, Any]:
    """A manifest that cannot be read is as good as none: the files are made again."""
    try:
        document = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _write_manifest(directory: Path, known: dict[str, Any]) -> None:
    scratch = directory / f".{MANIFEST}.{os.getpid()}"
    scratch.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    scratch.replace(directory / MANIFEST)
