"""The measures of the house, which live with the benchmarks because they can be printed."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def house():
    """`benchmarks/house.py` as a module."""
    spec = importlib.util.spec_from_file_location("house_measures", ROOT / "benchmarks" / "house.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def measures(house):
    return house.measure()
