"""The Pythons declared: said alike everywhere, and nothing is used that one of them lacks.

`make check` asks mypy (for the oldest and the newest) and vermin, which know what each 3.x brought. What came later within 3.11
they do not know: Debian 12 has 3.11.2, and will not have another. `make bare` tries all of them for real.
"""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DECLARED = [text.rsplit(" ", 1)[1] for text in PROJECT["project"]["classifiers"] if re.search(r":: Python :: \d+\.\d+$", text)]
SOURCES = sorted(path for folder in ("src", "tests", "benchmarks", "examples") for path in (ROOT / folder).rglob("*.py"))

LATER_IN_3_11 = {
    "data_filter": "tarfile, 3.11.4",
    "tar_filter": "tarfile, 3.11.4",
    "fully_trusted_filter": "tarfile, 3.11.4",
    "extraction_filter": "tarfile, 3.11.4",
    "FilterError": "tarfile, 3.11.4",
    "OutsideDestinationError": "tarfile, 3.11.4",
    "AbsolutePathError": "tarfile, 3.11.4",
    "SpecialFileError": "tarfile, 3.11.4",
    "AbsoluteLinkError": "tarfile, 3.11.4",
    "LinkOutsideDestinationError": "tarfile, 3.11.4",
    "LinkFallbackError": "tarfile, 3.11.13",
    "ALLOW_MISSING": "os.path, 3.11.13",
    "SetReparseDeferralEnabled": "xml.parsers.expat, 3.11.9",
    "GetReparseDeferralEnabled": "xml.parsers.expat, 3.11.9",
    "verify_generated_headers": "email.policy, 3.11.10",
    "supports_strict_parsing": "email.utils, 3.11.10",
}
"""Names that came after 3.11.2, with their module and the first release that has them."""
UNPACKING = frozenset(("extractall", "unpack_archive"))
"""Safe with filters only; `raythena.payloads.pilot.unpacking` is safe on every Python."""


def too_new(tree):
    """What a module uses that not every Python declared has, or has safely."""
    for node in ast.walk(tree):
        name = node.attr if isinstance(node, ast.Attribute) else node.name if isinstance(node, ast.alias) else ""
        if name in LATER_IN_3_11 or name in UNPACKING:
            yield f"line {node.lineno}: {name} ({LATER_IN_3_11.get(name, 'not safe before 3.11.4')})"


def test_nothing_is_used_that_came_later_within_3_11():
    assert [f"{path}: {what}" for path in SOURCES for what in too_new(ast.parse(path.read_text()))] == []


@pytest.mark.parametrize(
    "text",
    [
        "import tarfile\ntarfile.open('a').extractall('b', filter='data')",
        "import shutil\nshutil.unpack_archive('a', 'b')",
        "from tarfile import data_filter",
        "import os.path\nos.path.realpath('a', strict=os.path.ALLOW_MISSING)",
    ],
)
def test_what_came_later_is_seen(text):
    assert len(list(too_new(ast.parse(text)))) == 1


def test_the_classifiers_are_what_is_required():
    required = SpecifierSet(PROJECT["project"]["requires-python"])
    assert [f"3.{minor}" for minor in range(8, 40) if f"3.{minor}.2" in required] == DECLARED


def test_the_tools_check_for_the_oldest_and_the_newest():
    oldest, newest = DECLARED[0], DECLARED[-1]
    assert PROJECT["tool"]["mypy"]["python_version"] == oldest
    assert PROJECT["tool"]["ruff"]["target-version"] == f"py{oldest.replace('.', '')}"
    makefile = (ROOT / "Makefile").read_text()
    assert f"mypy --python-version {newest}" in makefile
    assert f"vermin --quiet --no-tips --violations --target={oldest}-" in makefile


@pytest.mark.parametrize("path", ["Makefile", ".ci/run"])
def test_an_interpreter_is_taken_where_it_is_declared(path):
    text = (ROOT / path).read_text()
    assert {f"python{version}" for version in DECLARED} == set(re.findall(r"python3\.\d+", text))
    (low, high) = re.search(r"\((3, \d+)\) <= sys\.version_info < \((3, \d+)\)", text).groups()
    assert (low, high) == (f"3, {DECLARED[0][2:]}", f"3, {int(DECLARED[-1][2:]) + 1}")


@pytest.mark.parametrize("path", ["README.md", "CONTRIBUTING.md"])
def test_people_are_told_the_same(path):
    assert f"Python {', '.join(DECLARED[:-1])} or {DECLARED[-1]}" in " ".join((ROOT / path).read_text().split())
