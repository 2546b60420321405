"""HITS files: what the simulation leaves behind of every event, its tracks and its calorimeter cells.

Each event is one file of its own, so that it can be done, lost and done again alone; the merge makes files of many. A one-event
file is not compressed: compressing costs more than it saves before the events lie side by side.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from uuid import NAMESPACE_URL, UUID, uuid5

import numpy as np

from raythena.demo.showers import CELL_FIELDS
from raythena.demo.tables import Column, Schema, Table, group_of, write_table
from raythena.demo.tracking import TRACK_FIELDS
from raythena.storage.root.columns import Branch
from raythena.storage.root.fast_writer import RootTemplate, template_of

SCHEMA = Schema(
    tree="HITS",
    scalars={"RunNumber": "u4", "EventNumber": "u8"},
    groups={"track": TRACK_FIELDS, "cell": CELL_FIELDS},
)

Event = tuple[int, int, dict[str, Column], dict[str, Column]]
"""(run number, event number, columns of its tracks, columns of its cells)."""


def write_hits(path: Path, events: Sequence[Event], *, compressed: bool = True) -> None:
    """Write events, in the order given, into the new file `path`, which appears complete or not at all."""
    scalars = {"RunNumber": np.array([event[0] for event in events]), "EventNumber": np.array([event[1] for event in events])}
    groups = {
        "track": group_of([event[2] for event in events], TRACK_FIELDS),
        "cell": group_of([event[3] for event in events], CELL_FIELDS),
    }
    write_table(path, SCHEMA, Table(scalars, groups), compressed=compressed, guid=str(_identity(events)))


def write_one(path: Path, event: Event, template: RootTemplate) -> None:
    """Write one event into the new file `path`: the same as `write_hits`, in a tenth of the time."""
    run, number, track, cell = event
    columns = {"RunNumber": np.array([run]), "EventNumber": np.array([number], dtype=np.uint64)}
    columns |= {f"track_{name}": column for name, column in track.items()}
    columns |= {f"cell_{name}": column for name, column in cell.items()}
    path.write_bytes(template.cast(columns, _identity([event])))


def one_event_mould() -> RootTemplate:
    """The template for `write_one`."""
    groups = {name: group_of([{field: np.empty(0) for field in fields}], fields) for name, fields in SCHEMA.groups.items()}
    branches = [Branch(name, np.dtype(code)) for name, code in SCHEMA.scalars.items()]
    for group, fields in SCHEMA.groups.items():
        branches += [Branch(f"{group}_{field}", np.dtype(code), f"n{group}") for field, code in fields.items()]
    with tempfile.TemporaryDirectory(prefix="raythena-demo-") as directory:
        model = Path(directory, "model.root")
        nothing = {name: np.zeros(1, dtype=code) for name, code in SCHEMA.scalars.items()}
        write_table(model, SCHEMA, Table(nothing, groups), compressed=False)
        return template_of(model, tuple(branches))


def _identity(events: Sequence[Event]) -> UUID:
    """The same events have the same identifier."""
    return uuid5(NAMESPACE_URL, f"HITS/{len(events)}/" + "/".join(f"{run}.{number}" for run, number, _, _ in events[:1]))
