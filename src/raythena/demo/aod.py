"""AOD files: what the reconstruction finds in an event, and beside it the truth it is measured against.

    track       at the beam line: `d0`, `z0`, `phi`, `theta`, `charge_over_p` with the errors of three of them; `particle` is the
                row of the particle that made most of its measurements (−1: none made half of them), `purity` its share of them;
                `vertex` is the row of the vertex it comes from, −1 when it is from none
    vertex      found points of collisions, the hardest first: `sum_pt2` is the sum of pT² of its tracks
    jet         anti-kt jets of the tracks of the first vertex, the hardest first
    particle    charged particles, as in HITS, with `d0` and `z0` at the beam line
    collision   true points, as in HITS
    true_jet    anti-kt jets of the charged particles of the hard collision

Units are GeV and millimetres.
"""

from __future__ import annotations

from raythena.demo.tables import Schema

JET_FIELDS = {"pt": "f4", "eta": "f4", "phi": "f4", "m": "f4", "n_tracks": "i4"}
SCHEMA = Schema(
    tree="AOD",
    scalars={"RunNumber": "u4", "EventNumber": "u8"},
    groups={
        "track": {
            "d0": "f4",
            "z0": "f4",
            "phi": "f4",
            "theta": "f4",
            "charge_over_p": "f4",
            "sigma_d0": "f4",
            "sigma_z0": "f4",
            "sigma_charge_over_p": "f4",
            "chi2": "f4",
            "n_measurements": "i4",
            "n_holes": "i4",
            "vertex": "i4",
            "particle": "i4",
            "purity": "f4",
        },
        "vertex": {"x": "f4", "y": "f4", "z": "f4", "n_tracks": "i4", "sum_pt2": "f4"},
        "jet": JET_FIELDS,
        "particle": {
            "pdgId": "i4",
            "charge": "f4",
            "collision": "i4",
            "generation": "i4",
            "pt": "f4",
            "eta": "f4",
            "phi": "f4",
            "d0": "f4",
            "z0": "f4",
            "n_hits": "i4",
        },
        "collision": {"x": "f4", "y": "f4", "z": "f4"},
        "true_jet": JET_FIELDS,
    },
)
