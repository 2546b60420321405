"""iDDS in an environment of its own: `make idds` installs it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parents[1])]


@pytest.fixture(scope="session")
def idds_python() -> Path:
    """The Python that imports iDDS."""
    found = Path(sys.prefix, "idds", "bin", "python")
    assert found.exists(), "iDDS is not installed: run `make idds`"
    return found


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.idds)
