"""A node's link is cut and healed; in a process of its own, because Ray can be joined to one cluster at a time."""

import subprocess
import sys
from pathlib import Path

import pytest

CAMPAIGN = Path(__file__).parents[1] / "campaigns" / "cut_link.py"
CANNOT = 77


def test_a_link_that_is_cut_and_healed():
    """The node is given up, its work done elsewhere, and what it brings when it is back changes nothing that was committed."""
    done = subprocess.run([sys.executable, CAMPAIGN], check=False, capture_output=True, text=True)
    if done.returncode == CANNOT:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stdout + done.stderr
    assert "lost: silent" in done.stdout
    assert "nothing lost, nothing twice, nothing overwritten" in done.stdout
