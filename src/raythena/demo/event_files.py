"""Events in and out of files one at a time, as a job of single events needs them.

Each result of a range is a file of its own, so that an event can be done, lost and done again alone; the merge makes files of
many. Inputs are read a block of events at a time, so that a worker holds a part of a large file and never all of it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import NAMESPACE_URL, UUID, uuid5

import numpy as np

from raythena.demo.tables import Event, Schema, Table, group_of, read_table, table_of, write_table
from raythena.domain.errors import InvalidInput
from raythena.storage.root.columns import Branch
from raythena.storage.root.fast_writer import RootTemplate, template_of

BLOCK_EVENTS = 64
"""Events that are read at a time."""
BLOCKS_KEPT = 4


def write_events(path: Path, schema: Schema, events: Sequence[Event]) -> None:
    """Write events, in the order given, into the new compressed file `path`, which appears complete or not at all."""
    write_table(path, schema, table_of(schema, events), guid=str(_identity(schema, events)))


def _identity(schema: Schema, events: Sequence[Event]) -> UUID:
    """The same events have the same identifier."""
    return uuid5(NAMESPACE_URL, f"{schema.tree}/{len(events)}/" + "/".join("{}.{}".format(*event.number) for event in events[:1]))


class OneEventWriter:
    """Writes files of one event in a tenth of the time `write_events` takes, and does not compress them.

    Compressing costs more than it saves before events lie side by side.
    """

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._mould = _mould(schema)

    def write(self, path: Path, event: Event) -> None:
        """Write one event into the new file `path`."""
        columns = {name: np.array([event.scalars[name]], dtype=code) for name, code in self._schema.scalars.items()}
        for group, fields in self._schema.groups.items():
            columns |= {f"{group}_{name}": event.groups[group][name] for name in fields}
        path.write_bytes(self._mould.cast(columns, _identity(self._schema, [event])))


def _mould(schema: Schema) -> RootTemplate:
    branches = [Branch(name, np.dtype(code)) for name, code in schema.scalars.items()]
    for group, fields in schema.groups.items():
        branches += [Branch(f"{group}_{name}", np.dtype(code), f"n{group}") for name, code in fields.items()]
    scalars = {name: np.zeros(1, dtype=code) for name, code in schema.scalars.items()}
    groups = {name: group_of([{one: np.empty(0) for one in fields}], fields) for name, fields in schema.groups.items()}
    with tempfile.TemporaryDirectory(prefix="raythena-demo-") as directory:
        model = Path(directory, "model.root")
        write_table(model, schema, Table(scalars, groups), compressed=False)
        return template_of(model, tuple(branches))


@dataclass
class EventReader:
    """Finds single events of files that hold a tree, and keeps the blocks it read last."""

    tree: str
    _blocks: dict[tuple[str, int], Table] = field(default_factory=dict)

    def event(self, path: str, number: int) -> Event:
        """Event `number` of a file, counted from 1. Raises InvalidInput when there is no such event, or no such file."""
        block, index = divmod(number - 1, BLOCK_EVENTS)
        table = self._block(path, block) if number > 0 else None
        if table is None or index >= table.n_events:
            raise InvalidInput(path, self.tree, f"there is no event {number}", expected="a number of an event, counted from 1")
        return table.event(index)

    def _block(self, path: str, block: int) -> Table:
        if (path, block) not in self._blocks:
            while len(self._blocks) >= BLOCKS_KEPT:
                self._blocks.pop(next(iter(self._blocks)))
            first = block * BLOCK_EVENTS
            self._blocks[path, block] = read_table(Path(path), self.tree, first, first + BLOCK_EVENTS)
        return self._blocks[path, block]
