"""Proton-proton collisions by Pythia as input: one ROOT file per argument, 25 events each.

    python generate.py EVNT.000001.root EVNT.000002.root

The tree `EVNT` has an entry for each event: its number, and the charged particles that live long enough to be seen.
"""

import sys
from pathlib import Path

import awkward as ak
import numpy as np
import pythia8mc
import uproot

EVENTS = 25
FIELDS = ("pdg", "px", "py", "pz", "vx", "vy", "vz")  # GeV and mm


def particles_of(event):
    """The charged stable particles of one event, a column for each of FIELDS."""
    rows = [(p.id(), p.px(), p.py(), p.pz(), p.xProd(), p.yProd(), p.zProd()) for p in event if p.isFinal() and p.isCharged()]
    return dict(zip(FIELDS, np.array(rows, dtype=np.float32).T, strict=True))


def main():
    """Write the files named as arguments; the same names in the same order give the same events."""
    pythia = pythia8mc.Pythia(str(Path(sys.prefix, "share", "Pythia8", "xmldoc")), False)
    for setting in ("Print:quiet = on", "Random:setSeed = on", "Random:seed = 1", "Beams:eCM = 13600.", "HardQCD:all = on"):
        pythia.readString(setting)
    pythia.readString("PhaseSpace:pTHatMin = 30.")
    pythia.init()
    for number, name in enumerate(sys.argv[1:]):
        events = [particles_of(pythia.event) for _ in range(EVENTS) if pythia.next()]
        rows = ak.zip({field: ak.Array([event[field] for event in events]) for field in FIELDS})
        numbers = 1 + number * EVENTS + np.arange(len(events), dtype=np.uint64)
        with uproot.recreate(name) as file:
            tree = file.mktree("EVNT", {"EventNumber": np.uint64, "particle": rows.type})
            tree.extend({"EventNumber": numbers, "particle": rows})


if __name__ == "__main__":
    main()
