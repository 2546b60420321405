"""The stand-ins, importable."""

import sys
from pathlib import Path

STAND_INS = Path(__file__).parents[2] / "stand_ins"
sys.path.insert(0, str(STAND_INS / "python"))
