"""EVNT files: bunch crossings with proton-proton collisions from Pythia 8, as the demo's input.

An event is one hard QCD scattering at 13.6 TeV with jets above 30 GeV, and in the same crossing any number of soft collisions,
the pile-up. How many is a Poisson number, whose mean varies from event to event between none and twice the mean that was asked
for, as it does from bunch to bunch and in the course of a fill. The collisions lie apart along the beam. What a detector could
see of them, their stable particles, goes into one entry of tree `EVNT`, and so do their points. Units are GeV and millimetres.

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
from uuid import NAMESPACE_URL, uuid5

import numpy as np
import numpy.typing as npt

from raythena.demo.extra import LibraryObject, optional
from raythena.demo.tables import Event, Schema, table_of, write_table
from raythena.domain.errors import InvalidInput

SCHEMA = Schema(
    tree="EVNT",
    scalars={"RunNumber": "u4", "EventNumber": "u8", "GeneratorSeed": "i4", "ProcessCode": "i4", "Weight": "f8"},
    groups={
        "collision": {"process": "i4", "x": "f4", "y": "f4", "z": "f4"},
        "particle": {
            "collision": "i4",
            "pdgId": "i4",
            "px": "f4",
            "py": "f4",
            "pz": "f4",
            "e": "f4",
            "vx": "f4",
            "vy": "f4",
            "vz": "f4",
        },
    },
)
DEFAULT_RUN_NUMBER = 450000
DEFAULT_PILEUP = 4.0
BEAMS = "Beams:eCM = 13600."
HARD = (BEAMS, "HardQCD:all = on", "PhaseSpace:pTHatMin = 30.")
SOFT = (BEAMS, "SoftQCD:nonDiffractive = on")
BEAM_SPOT_MM = (0.012, 0.012, 45.0)
"""Standard deviations of where collisions happen, in x, y and z."""
MOST_PILEUP = 200.0
MANIFEST = "EVNT.manifest.json"
_LARGEST_PYTHIA_SEED = 900_000_000


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything the content of one EVNT file depends on. `number` counts the files of the task from 1."""

    number: int
    events: int
    seed: int
    run_number: int
    pileup: float = DEFAULT_PILEUP
    """Mean number of soft collisions in an event."""
    hard: tuple[str, ...] = HARD
    soft: tuple[str, ...] = SOFT

    @property
    def name(self) -> str:
        """LFN of the file."""
        return f"EVNT.{self.number:06d}.root"

    @property
    def guid(self) -> str:
        """The same recipe has the same GUID, wherever it is cooked."""
        return str(uuid5(NAMESPACE_URL, json.dumps(asdict(self), sort_keys=True))).upper()

    @property
    def generator_seeds(self) -> tuple[int, int]:
        """Pythia's own seeds for hard and soft collisions: between 1 and 900,000,000, where 0 would mean the clock."""
        drawn = np.random.SeedSequence([self.seed, self.number]).generate_state(2)
        hard, soft = (1 + int(one) % (_LARGEST_PYTHIA_SEED - 1) for one in drawn)
        return hard, soft

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
    pileup: float = DEFAULT_PILEUP,
    run_number: int = DEFAULT_RUN_NUMBER,
    processes: int | None = None,
) -> list[Path]:
    """Make sure that `files` EVNT files of `events_per_file` events each are in `directory`, and return their paths in order.

    `processes` files are generated at the same time, by default one for each core. Raises InvalidInput for impossible numbers and
    when Pythia is not installed.
    """
    recipes = plan(files, events_per_file, seed, pileup=pileup, run_number=run_number)
    directory.mkdir(parents=True, exist_ok=True)
    known = _read_manifest(directory)
    missing = [recipe for recipe in recipes if not _is_there(directory, recipe, known)]
    for recipe, checksum in zip(missing, _cook_all(directory, missing, processes), strict=True):
        known[recipe.name] = {"guid": recipe.guid, "adler32": checksum}
    if missing:
        _write_manifest(directory, known)
    return [directory / recipe.name for recipe in recipes]


def plan(
    files: int, events_per_file: int, seed: int, *, pileup: float = DEFAULT_PILEUP, run_number: int = DEFAULT_RUN_NUMBER
) -> list[Recipe]:
    """The recipes of a task. Raises InvalidInput for impossible numbers."""
    for name, value, least in (("files", files, 1), ("events_per_file", events_per_file, 1), ("seed", seed, 0)):
        if value < least:
            raise InvalidInput("demo", name, f"is {value}", expected=f"at least {least}")
    if not 0 <= pileup <= MOST_PILEUP:
        raise InvalidInput("demo", "pileup", f"is {pileup:g}", expected=f"a number of collisions from 0 to {MOST_PILEUP:g}")
    return [Recipe(number, events_per_file, seed, run_number, float(pileup)) for number in range(1, files + 1)]


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
    collider = _Collider(recipe)
    table = table_of(SCHEMA, [collider.event(number) for number in range(recipe.events)])
    write_table(path, SCHEMA, table, guid=recipe.guid)
    return zlib.adler32(path.read_bytes())


class _Collider:
    """Brings bunches together: two Pythias, one for hard collisions and one for soft ones."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        hard, soft = recipe.generator_seeds
        self._hard = _pythia(recipe.hard, hard)
        self._soft = _pythia(recipe.soft, soft) if recipe.pileup else None
        self._random = np.random.default_rng([recipe.seed, recipe.number])

    def event(self, index: int) -> Event:
        """The next crossing, event `index` of the file, counted from 0."""
        pileup = drawn_pileup(self._random, self._recipe.pileup)
        points = self._random.normal(0.0, BEAM_SPOT_MM, (1 + pileup, 3))
        collisions = [_collide(self._hard), *(_collide(self._soft) for _ in range(pileup))]
        stable = [_placed(one.particles, number, points[number]) for number, one in enumerate(collisions)]
        scalars = {
            "RunNumber": self._recipe.run_number,
            "EventNumber": self._recipe.first_event_number + index,
            "GeneratorSeed": self._recipe.generator_seeds[0],
            "ProcessCode": collisions[0].process,
            "Weight": collisions[0].weight,
        }
        at = {"process": np.array([one.process for one in collisions])} | dict(zip("xyz", points.T, strict=True))
        particles = dict(zip(SCHEMA.groups["particle"], np.concatenate(stable, axis=1), strict=True))
        return Event(scalars, {"collision": at, "particle": particles})


def drawn_pileup(random: np.random.Generator, mean: float) -> int:
    """How many soft collisions are in the next event."""
    return int(random.poisson(random.uniform(0.0, 2.0 * mean)))


@dataclass(frozen=True)
class _Collision:
    """What came out of one collision: one row of `particles` for each column of the group `particle` but the first."""

    process: int
    weight: float
    particles: npt.NDArray[np.float64]


def _placed(particles: npt.NDArray[np.float64], number: int, point: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Rows for all columns of `particle`, of collision `number`, which happened at a point."""
    particles[-3:] += point[:, None]
    return np.concatenate((np.full((1, particles.shape[1]), number, dtype=np.float64), particles))


def _pythia(physics: Sequence[str], seed: int) -> LibraryObject:
    settings = ("Print:quiet = on", "Random:setSeed = on", f"Random:seed = {seed}", *physics)
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


def _collide(pythia: LibraryObject) -> _Collision:
    """The next collision.

    Pythia gives up on one in thousands; on a hundred in a row only when its settings make no sense: InvalidInput.
    """
    if not any(pythia.next() for _ in range(100)):
        raise InvalidInput("demo", "physics", "Pythia fails to generate events", hint="its own messages are above")
    stable = [(p.id(), p.px(), p.py(), p.pz(), p.e(), p.xProd(), p.yProd(), p.zProd()) for p in pythia.event if p.status() > 0]
    info = pythia.infoPython()
    return _Collision(info.code(), info.weight(), np.array(stable, dtype=np.float64).T)


def _is_there(directory: Path, recipe: Recipe, known: dict[str, object]) -> bool:
    entry, path = known.get(recipe.name), directory / recipe.name
    if not isinstance(entry, dict) or entry.get("guid") != recipe.guid or not path.is_file():
        return False
    return bool(entry.get("adler32") == zlib.adler32(path.read_bytes()))


def _read_manifest(directory: Path) -> dict[str, object]:
    """A manifest that cannot be read is as good as none: the files are made again."""
    try:
        document = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _write_manifest(directory: Path, known: dict[str, object]) -> None:
    scratch = directory / f".{MANIFEST}.{os.getpid()}"
    scratch.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    scratch.replace(directory / MANIFEST)
