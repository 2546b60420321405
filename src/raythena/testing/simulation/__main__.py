"""`python -m raythena.testing.simulation SEED...`: run these seeds and say how they went."""

from __future__ import annotations

import sys

from raythena.testing.simulation.judge import PromiseBroken
from raythena.testing.simulation.site import simulate


def main(arguments: list[str]) -> int:
    """Run the seeds; 1 if a promise was broken."""
    failures = 0
    for seed in map(int, arguments):
        try:
            print(simulate(seed))
        except PromiseBroken as broken:
            failures += 1
            print(f"seed {seed}: {broken}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
