"""How many nodes the batch job has: whether anything of ours may be alive on another one when the command is gone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

_COUNTS = ("SLURM_JOB_NUM_NODES", "SLURM_NNODES")
_LIST = "PBS_NODEFILE"
"""Names a file with a line for each core or node."""


def batch_nodes(environ: Mapping[str, str]) -> int:
    """Nodes of the batch job this process is in, as the batch system says; 1 where none does."""
    for name in _COUNTS:
        if environ.get(name, "").isdecimal():
            return int(environ[name])
    try:
        lines = Path(environ[_LIST]).read_text().split()
    except (KeyError, OSError):
        return 1
    return max(1, len(set(lines)))
