"""EVNT and HITS files small enough for tests, whose content proves which event is which.

An EVNT file has a tree `EVNT` with `RunNumber` and `EventNumber`. The HITS of an event have the same two numbers, and hits that
depend on the event number alone: the demo's merger and `raythena validate` take them as they take any other ROOT file.
"""

import tempfile
from pathlib import Path
from uuid import NAMESPACE_URL, UUID, uuid5

import numpy as np
import uproot

from raythena.demo.tables import Schema, Table, group_of, write_table
from raythena.storage.root.columns import Branch
from raythena.storage.root.fast_writer import template_of

RUN_NUMBER = 450000
EVNT = Schema("EVNT", {"RunNumber": "u4", "EventNumber": "u8"}, {})
HIT = {"energy": "f4", "layer": "i4"}
HITS = Schema("HITS", {"RunNumber": "u4", "EventNumber": "u8"}, {"hit": HIT})


def write_evnt(path, numbers, guid=""):
    """Write an EVNT file with these event numbers; its GUID follows from its name unless given. Returns the GUID."""
    guid = guid or str(uuid5(NAMESPACE_URL, f"EVNT/{Path(path).name}")).upper()
    numbers = np.asarray(list(numbers), dtype="u8")
    write_table(Path(path), EVNT, Table({"RunNumber": np.full(len(numbers), RUN_NUMBER), "EventNumber": numbers}), guid=guid)
    return guid


def event_numbers(path):
    """The event numbers of an EVNT file, in order."""
    with uproot.open(path, handler=uproot.MemmapSource) as file:
        return np.asarray(file["EVNT"]["EventNumber"].array(library="np"))


def hits_of(number):
    """The hits of an event, as columns."""
    count = 1 + number % 5
    return {"energy": np.sqrt(np.arange(count) + float(number)).astype("f4"), "layer": np.arange(count, dtype="i4")}


def hits_mould():
    """What the HITS file of one event is cast from; made before the workers are forked."""
    nothing = {name: np.zeros(1, dtype=code) for name, code in HITS.scalars.items()}
    empty = group_of([{name: np.empty(0) for name in HIT}], HIT)
    branches = [Branch(name, np.dtype(code)) for name, code in HITS.scalars.items()]
    branches += [Branch(f"hit_{name}", np.dtype(code), "nhit") for name, code in HIT.items()]
    with tempfile.TemporaryDirectory(prefix="athenamp-stand-in-") as directory:
        model = Path(directory, "model.root")
        write_table(model, HITS, Table(nothing, {"hit": empty}), compressed=False)
        return template_of(model, tuple(branches))


def hits_file(template, number):
    """The bytes of the HITS file of one event; the same event has the same bytes."""
    columns = {"RunNumber": np.array([RUN_NUMBER], dtype="u4"), "EventNumber": np.array([number], dtype="u8")}
    columns |= {f"hit_{name}": column for name, column in hits_of(number).items()}
    return template.cast(columns, UUID(int=0x450000 << 96 | int(number)))
