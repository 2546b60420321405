"""One image for all tests, and the container engines that are installed here."""

from pathlib import Path

import pytest

from container_image import ENGINES, build_image, in_engine
from needed_programs import need_namespaces


@pytest.fixture(scope="session")
def image(tmp_path_factory):
    """Our root file system."""
    need_namespaces()
    return build_image(tmp_path_factory.mktemp("image") / "root")


@pytest.fixture(params=ENGINES)
def surroundings(request, image):
    """The image in each engine."""
    return in_engine(request.param, image)


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.containers)
