#!/usr/bin/env python3
"""Sim_tf.py, the stand-in: see README.md one directory up."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))

from athenamp_stand_in.transform import main

sys.exit(main())
