"""ROOT's own programs, in an environment of their own: `make hadd` installs them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def root_bin() -> Path:
    """The directory of ROOT's programs."""
    found = sorted(Path(sys.prefix, "root").glob("lib/python3*/site-packages/ROOT/bin"))
    assert found, "ROOT is not installed: run `make hadd`"
    return found[0]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.root)
