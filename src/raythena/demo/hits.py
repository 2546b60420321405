"""HITS files: what the simulation leaves behind of every event.

    particle      charged particles that were simulated, those made in the detector included; momentum and place are those of
                  their birth, `collision` and `generation` say where they come from, `n_hits` how many sensors they crossed
    measurement   what the sensors saw: `sensor` is ACTS's geometry identifier, `local0` and `local1` are coordinates in its
                  plane, `particle` is the row of the particle that caused it
    collision     the true points of the proton-proton collisions of this bunch crossing, the hard one first

Units are GeV and millimetres.
"""

from __future__ import annotations

from raythena.demo.tables import Schema

SCHEMA = Schema(
    tree="HITS",
    scalars={"RunNumber": "u4", "EventNumber": "u8"},
    groups={
        "particle": {
            "pdgId": "i4",
            "charge": "f4",
            "collision": "i4",
            "generation": "i4",
            "px": "f4",
            "py": "f4",
            "pz": "f4",
            "vx": "f4",
            "vy": "f4",
            "vz": "f4",
            "n_hits": "i4",
        },
        "measurement": {"sensor": "u8", "local0": "f4", "local1": "f4", "particle": "i4"},
        "collision": {"x": "f4", "y": "f4", "z": "f4"},
    },
)
